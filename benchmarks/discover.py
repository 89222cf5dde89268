"""Measure how much time `discover` takes beside the forward pass.

    python benchmarks/discover.py [IMAGES] [--repeats 3]

The floor is the bare forward pass of the networks that the method needs (both for lmpnet, one for parts), and of the
first look at the whole image, on tensors that are already in memory, with the same batches and precision. Floor and
command take turns in this process. The figure is the median ratio; 1.00 would be a `discover` that costs nothing else.
The last line says how much the part head adds to the forward pass.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from program import run_program
from timing import bare_forward, in_turn, ready_batches, speeds
from torch import Tensor

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.export.onnx import export_onnx
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.inference.windows import first_look_of
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.runtime import resolve_workers
from lmpnet_cli.keypoints import positions_in_image

IMAGE_SIZE = (640, 480)  # of the images that the part head is timed on, in pixels


def part_head_timer(runner: ModelRunner, batches: Sequence[Tensor]) -> Callable[[], float]:
    """Return a function that times the part head, and the conversion to pixels, on maps that are already computed.

    Raises:
        CheckpointError: when the model has no part head.
    """
    if runner.model.part_head is None:
        raise CheckpointError("The model has no parts. Learn them with `lmpnet parts DATA`.")
    outputs = [runner.run(batch) for batch in batches]

    def seconds() -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            for output in outputs:
                found = runner.model.parts(output)
                for positions in found.positions.double().numpy():
                    positions_in_image(positions, found.map_size, IMAGE_SIZE)
        return time.perf_counter() - started

    return seconds


def measure(images: Path, repeats: int = 3) -> tuple[list[str], dict[str, str]]:
    """Return lines for the document, and the figures that have goals."""
    files = list_images([images])
    config = DiscoverConfig(images=(images,), device="cpu")
    both = open_runner(config)
    alone = open_runner(config, both.model, replica=False)
    batches = ready_batches(both, files)
    first = first_look_of(alone)

    def by_pytorch(overlays: bool, method: str, workers: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            result = discover(
                images, model=both.model, out=out, overlays=overlays, method=method, workers=workers, device="cpu"
            )
            return result.seconds

    def by_onnxruntime(onnx_model: Path) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return discover(images, checkpoint=onnx_model, out=Path(folder) / "out", device="cpu").seconds

    lines = [
        "## discover",
        "",
        "| method | overlays | decoding processes | forward, images/s | discover, images/s | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    figures: dict[str, str] = {}
    default_workers = resolve_workers(None, both.device)
    for runner, method in ((both, "lmpnet"), (alone, "parts")):
        floor = bare_forward(runner, batches, first)
        for overlays in (True, False):
            for workers in sorted({0, 1, 2, default_workers}):
                pairs = in_turn(floor, partial(by_pytorch, overlays, method, workers), repeats)
                ratio = statistics.median(floor / whole for floor, whole in pairs)
                drawn = "on" if overlays else "off"
                lines.append(f"| {method} | {drawn} | {workers} | {speeds(pairs, len(files))} | {ratio:.2f} |")
                if workers == default_workers:
                    figures[f"{method}, overlays {drawn}"] = f"{ratio:.2f}"

        with tempfile.TemporaryDirectory() as folder:
            onnx_model = export_onnx(Path(folder) / "model.onnx", method=method).path
            pairs = in_turn(floor, partial(by_onnxruntime, onnx_model), repeats)
        ratio = statistics.median(floor / whole for floor, whole in pairs)
        lines.append(f"| {method}, onnxruntime | on | {default_workers} | {speeds(pairs, len(files))} | {ratio:.2f} |")
        figures[f"{method}, onnx"] = f"{ratio:.2f}"

    pairs = in_turn(bare_forward(alone, batches), part_head_timer(alone, batches), 7)
    added = statistics.median(part_head / floor for floor, part_head in pairs)
    figures["part head adds"] = f"{100 * added:.1f} %"
    lines += ["", f"The part head adds {100 * added:.1f} % to the forward pass of its network."]
    return lines, figures


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("\n".join(measure(given.images, given.repeats)[0]))


if __name__ == "__main__":
    run_program(main)
