"""Measure how much time `train` takes beside the forward and backward passes.

    python benchmarks/training.py [IMAGES] [--epochs 3]

The floor is a training step of the same network on one batch that is in memory: forward, backward, optimiser.
`lmpnet train` also decodes and augments every image, from files or, with `--preload`, in memory. It trains on links to
the images in two classes; the figures are those of the last epoch, validation excluded.
"""

import argparse
import csv
import tempfile
from functools import partial
from pathlib import Path

import torch
from gpu_speed import training_rate
from program import run_program
from timing import linked

from lmpnet_cli import train
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.io.bundled import bundled_examples

BATCH, SIZE, STEPS = 16, 224, 8


def rate(images: Path, epochs: int, preload: bool) -> float:
    """Return images a second of the last epoch of a training from random weights."""
    files = [file.path for file in list_images([images])]
    with tempfile.TemporaryDirectory() as folder:
        out, data = Path(folder) / "out", Path(folder) / "data"
        data.mkdir()
        for name in ("one", "other"):
            linked(files, data / name, BATCH * STEPS // 2)
        train(
            data,
            out=out,
            init="none",
            epochs=epochs,
            replica_epochs=0,
            batch_size=BATCH,
            size=SIZE,
            stride_in_1x1=True,
            preload=preload,
            follow_links=True,
            val_fraction=0.0,
            device="cpu",
        )
        with (out / "history.csv").open(newline="") as file:
            *_, last = csv.DictReader(file)
    return float(last["images_per_second"])


def measure(images: Path, epochs: int = 3) -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal."""
    bare = partial(training_rate, torch.device("cpu"), SIZE, BATCH, 5)
    lines = [
        "## Training",
        "",
        f"ResNet-50, {SIZE} pixels, {BATCH} images a step, float32.",
        "",
        "| | bare steps, images/s | train | train / bare |",
        "| --- | --- | --- | --- |",
    ]
    figures = []
    for name, preload in (("files", False), ("`--preload`", True)):
        before, whole = bare(), rate(images, epochs, preload)
        floor = (before + bare()) / 2
        figures.append(f"{whole / floor:.2f}")
        lines.append(f"| {name} | {floor:.2f} | {whole:.2f} | {figures[-1]} |")
    return lines, f"{figures[0]}, with `--preload` {figures[1]}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    print("\n".join(measure(given.images, given.epochs)[0]))


if __name__ == "__main__":
    run_program(main)
