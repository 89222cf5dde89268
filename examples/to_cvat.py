"""Make a CVAT import from a folder of photos.

    python examples/to_cvat.py [PHOTOS] [--out for-cvat]

Without PHOTOS the program uses the drawn birds beside it. The command line does the same:

    lmpnet discover PHOTOS --method parts --export cvat --report
"""

import argparse
from pathlib import Path

import lmpnet_cli as lmpnet

BIRDS = Path(__file__).parent / "birds" / "images"


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="?", type=Path, default=BIRDS)
    parser.add_argument("--out", type=Path, default=Path("for-cvat"))
    given = parser.parse_args()

    # the parts of the bundled model have names; to name those of another one, look at the parts.png of `lmpnet parts`
    found = lmpnet.discover(
        given.photos,
        method="parts",
        out=given.out,
        overwrite=True,
        export="cvat",
        report=True,
        overlays=False,
    )

    # annotators should begin with the images where a part is missing or the scores are low
    worst = sorted(found.keypoints, key=lambda each: each.scores[each.found].sum())
    print(f"{len(found.keypoints)} images, {sum(int(each.found.sum()) for each in found.keypoints)} keypoints")
    print("Check these first:", ", ".join(each.file_name for each in worst[:5]))
    print(f"In CVAT: paste {given.out}/exports/cvat/labels.json as raw labels, then upload annotations.zip beside it.")
    print(f"Open {given.out}/report.html.")


if __name__ == "__main__":
    main()
