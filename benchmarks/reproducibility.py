"""Test whether keypoints depend on the batch size, the decoding processes, or the threads.

python benchmarks/reproducibility.py [IMAGES]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from program import run_program

from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.coco import coco_text
from lmpnet_cli.keypoints import Keypoints


def moved(before: Sequence[Keypoints], after: Sequence[Keypoints]) -> tuple[str, float]:
    """Return how many keypoints of the same images differ, in words, and by how many pixels at most."""
    xy_before, xy_after = (np.concatenate([image.xy for image in run]) for run in (before, after))
    distances = np.nan_to_num(np.linalg.norm(xy_before - xy_after, axis=1))
    appeared = int((np.isnan(xy_before) != np.isnan(xy_after)).any(1).sum())

    words = f"{int((distances > 0.01).sum())} of {len(distances)}"
    if appeared:
        words += f", {appeared} appear or vanish"
    return words, float(distances.max())


def measure(images: Path) -> tuple[list[str], str]:
    """Return lines for the document, and the number of settings in which a byte differs."""
    threads = torch.get_num_threads()
    settings = [(16, 0, threads), (1, 0, threads), (7, 0, threads), (64, 0, threads), (16, 2, threads), (16, 0, 1)]
    lines = [
        "## The same keypoints whatever the settings",
        "",
        "| method | batch | decoding processes | threads | bytes of the file | keypoints that move | at most |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]

    differing = 0
    for method in ("lmpnet", "parts"):
        first: list[Keypoints] = []
        for batch, workers, used in settings:
            torch.set_num_threads(used)
            result = discover(images, method=method, batch_size=batch, workers=workers, device="cpu")
            found = result.keypoints
            first = first or found

            same = list(coco_text(found, {}, ())) == list(coco_text(first, {}, ()))
            differing += not same
            words, distance = moved(first, found)
            lines.append(
                f"| {method} | {batch} | {workers} | {used} | {'the same' if same else 'different'} | {words} | "
                f"{distance:.2f} pixels |"
            )

    torch.set_num_threads(threads)
    return lines, f"{differing} of {2 * len(settings) - 2} settings give other bytes"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    print("\n".join(measure(parser.parse_args().images)[0]))


if __name__ == "__main__":
    run_program(main)
