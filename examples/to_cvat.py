"""From an annotation team's folder of photographs to a CVAT import, in Python.

    python examples/to_cvat.py [PHOTOS] [--out for-cvat]

Without PHOTOS it takes the drawn birds beside it. The command line does the same:

    lmpnet discover PHOTOS --export cvat --report
"""

import argparse
from pathlib import Path

import lmpnet_cli as lmpnet

BIRDS = Path(__file__).parent / "birds" / "images"


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="?", type=Path, default=BIRDS)
    parser.add_argument("--out", type=Path, default=Path("for-cvat"))
    given = parser.parse_args()
    # the bundled model: name the parts after looking at parts.png of `lmpnet parts`
    names = "breast,crown,beak,tail,wing"
    named = lmpnet.part_head(names=names, out=given.out / "model", overwrite=True)
    assert named.out is not None
    model = lmpnet.load_checkpoint(named.out / "lmpnet.safetensors")
    found = lmpnet.discover(
        given.photos, model=model, out=given.out, overwrite=True, export="cvat", report=True, overlays=False
    )
    # what annotators should look at first: pictures on which a part is missing, or nothing is certain
    worst = sorted(found.keypoints, key=lambda each: each.scores[each.found].sum())
    print(f"{len(found.keypoints)} pictures, {sum(int(each.found.sum()) for each in found.keypoints)} keypoints")
    print("Look at these first:", ", ".join(each.file_name for each in worst[:5]))
    print(f"In CVAT: Raw label of {given.out}/exports/cvat/labels.json, then upload annotations.zip beside it.")
    print(f"Look at {given.out}/report.html.")


if __name__ == "__main__":
    main()
