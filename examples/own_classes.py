"""Train on your own folders, one for each class, and view the result.

    python examples/own_classes.py [DATA] [--out own] [--epochs 30]

Without DATA the program draws 4 species of birds first. The network is very small and starts from random weights, so
that this takes a few minutes without a GPU. For a real network (timm's pretrained ResNet-50) pass `recipe="laptop"` in
place of the options from `backbone` to `learning_rate`.
"""

import argparse
from pathlib import Path

from draw_birds import write_cub

import lmpnet_cli as lmpnet


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, help="one folder of images for each class")
    parser.add_argument("--out", type=Path, default=Path("own"))
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()

    data = given.data
    if data is None:
        write_cub(given.out / "drawn", per_species=60, seed=5, size=96, species=4)
        data = given.out / "drawn" / "images"  # class folders; the annotations beside them are not used

    result = lmpnet.train(
        data,
        out=given.out / "model",
        overwrite=True,
        backbone="resnet18",
        layer="layer3",
        init="none",
        size=96,
        epochs=given.epochs,
        batch_size=32,
        learning_rate=0.05,
        parts=4,
    )
    print(f"held-out accuracy: {result.accuracy}")

    checkpoint = given.out / "model" / "lmpnet.safetensors"
    found = lmpnet.discover(
        data, checkpoint=checkpoint, method="parts", out=given.out / "found", overwrite=True, report=True
    )
    print(f"{len(found.keypoints)} images, keypoints {', '.join(found.names)}: open {given.out}/found/report.html")


if __name__ == "__main__":
    main()
