"""Measure how much time `discover` takes beside the forward pass.

    python benchmarks/discover.py [IMAGES] [--repeats 5]

The floor is the bare forward pass of the networks that are needed (both for lmpnet, one for parts) on tensors that are
ready in memory, with the same batches and precision. Both are timed in turn in this process. The figure is the median
ratio; 1.00 would be a `discover` that costs nothing else. The last line is what the part head adds to the forward pass.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from lmpnet_cli.inference.parts import places
from timing import in_turn, ready_batches, speeds
from torch import Tensor

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.export.onnx import export_onnx
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.runtime import resolve_workers
from lmpnet_cli.model.part_head import soft_argmax


def reading(runner: ModelRunner, batches: Sequence[Tensor]) -> Callable[[], float]:
    """Return a function that times the part head on maps that are already computed."""
    part_head = runner.model.part_head
    assert part_head is not None, "the model needs parts"
    maps = [runner.maps(batch).maps for batch in batches]

    def read() -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            for each in maps:
                found = soft_argmax(part_head(each)[:, :-1])
                places(found, (each.shape[2], each.shape[3]), [(640, 480)] * len(each))
        return time.perf_counter() - started

    return read


def measure(images: Path, repeats: int = 5) -> tuple[list[str], dict[str, str]]:
    """Return lines for the document, and the figures that have goals."""
    files = list_images([images])
    config = DiscoverConfig(images=(images,), device="cpu")
    both = open_runner(config)
    alone = open_runner(config, both.model, replica=False)
    batches = ready_batches(both, files)

    def command(overlays: bool, method: str, workers: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            return discover(
                images, model=both.model, out=out, overlays=overlays, method=method, workers=workers, device="cpu"
            ).seconds

    lines = [
        "## discover",
        "",
        "| method | overlays | decoding processes | forward, images/s | discover, images/s | ratio |",
    ]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    figures: dict[str, str] = {}
    for runner, method in ((both, "lmpnet"), (alone, "parts")):
        for overlays in (True, False):
            for workers in (0, 1, 2):
                pairs = in_turn(runner, batches, partial(command, overlays, method, workers), repeats)
                ratio = statistics.median(floor / whole for floor, whole in pairs)
                drawn = "on" if overlays else "off"
                lines.append(f"| {method} | {drawn} | {workers} | {speeds(pairs, len(files))} | {ratio:.2f} |")
                if workers == resolve_workers(None, both.device):
                    figures[f"{method}, overlays {drawn}"] = f"{ratio:.2f}"
        with tempfile.TemporaryDirectory() as folder:
            onnx_model = export_onnx(Path(folder) / "model.onnx", method=method).path

            def by_onnx(onnx_model: Path = onnx_model) -> float:
                with tempfile.TemporaryDirectory() as out:
                    return discover(images, checkpoint=onnx_model, out=Path(out) / "out", device="cpu").seconds

            pairs = in_turn(runner, batches, by_onnx, repeats)
        ratio = statistics.median(floor / whole for floor, whole in pairs)
        lines.append(f"| {method}, onnxruntime | on | 0 | {speeds(pairs, len(files))} | {ratio:.2f} |")
        figures[f"{method}, onnx"] = f"{ratio:.2f}"
    added = statistics.median(part / floor for floor, part in in_turn(alone, batches, reading(alone, batches), 7))
    figures["part head adds"] = f"{100 * added:.1f} %"
    lines += ["", f"The part head adds {100 * added:.1f} % to the forward pass of its network."]
    return lines, figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("\n".join(measure(given.images, given.repeats)[0]))
