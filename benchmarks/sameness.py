"""Test whether keypoints depend on the batch size, the decoding processes, or the threads.

python benchmarks/sameness.py [IMAGES]
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.coco import coco_text
from lmpnet_cli.keypoints import Keypoints


def measure(images: Path) -> tuple[list[str], str]:
    """Return lines for the document, and in how many of the settings a byte differs."""
    model, threads = load_checkpoint(), torch.get_num_threads()
    settings = [(16, 0, threads), (1, 0, threads), (7, 0, threads), (64, 0, threads), (16, 2, threads), (16, 0, 1)]
    lines = ["## The same keypoints whatever the settings", ""]
    lines.append(
        "| method | batch | decoding processes | threads | bytes of the file | keypoints that move | at most |"
    )
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    differing = 0
    for method in ("lmpnet", "parts"):
        first: list[Keypoints] = []
        for batch, workers, used in settings:
            torch.set_num_threads(used)
            found = discover(
                images, model=model, method=method, batch_size=batch, workers=workers, device="cpu"
            ).keypoints
            first = first or found
            same = list(coco_text(found, {}, ())) == list(coco_text(first, {}, ()))
            differing += not same
            before, after = (np.concatenate([each.xy for each in every]) for every in (first, found))
            away = np.nan_to_num(np.linalg.norm(before - after, axis=1))
            lost = int((np.isnan(before) != np.isnan(after)).any(1).sum())
            moved = f"{int((away > 0.01).sum())} of {len(away)}" + (f", {lost} appear or vanish" if lost else "")
            lines.append(
                f"| {method} | {batch} | {workers} | {used} | {'the same' if same else 'different'} | {moved} | "
                f"{away.max():.2f} pixels |"
            )
    torch.set_num_threads(threads)
    return lines, f"{differing} of {2 * len(settings) - 2} settings give other bytes"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    print("\n".join(measure(parser.parse_args().images)[0]))
