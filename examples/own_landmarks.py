"""Learn your own landmarks from a few annotated images, find them on the others, and score them.

    python examples/own_landmarks.py [DATA] [--images 10] [--out own-landmarks]

DATA is a folder in the layout of CUB-200-2011; without it the program draws 4 species of birds first. Images to learn
from are drawn from its training split, and the test split is scored.
"""

import argparse
from pathlib import Path

from draw_birds import write_cub

import lmpnet_cli as lmpnet


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=10, help="annotated images to learn from")
    parser.add_argument("--out", type=Path, default=Path("own-landmarks"))
    given = parser.parse_args()

    data = given.data
    if data is None:
        data = given.out / "drawn"
        write_cub(data, per_species=40, seed=5, size=256, species=4)

    fitted = lmpnet.fit(data, images=given.images, out=given.out / "model", overwrite=True)
    checked = fitted.document["cross_validation"]["landmarks"]
    print(f"{fitted.images} images, {len(fitted.names)} landmarks; cross-validated {checked['pck']:.1f} %")

    metrics = lmpnet.evaluate(
        data, checkpoint=given.out / "model", method="landmarks", out=given.out / "scores", overwrite=True
    ).metrics
    scores = metrics["landmarks"]
    print(f"on {metrics['images']} test images: {scores['pck']:.1f} % within {scores['alpha']:.0%} of the box")
    for name, row in scores["by_landmark"].items():
        print(f"  {name}: {row['pck']} %, mean error {row['error']} % of the box")


if __name__ == "__main__":
    main()
