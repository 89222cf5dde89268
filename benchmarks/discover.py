"""Measure how much time `discover` takes beside the forward pass.

    python benchmarks/discover.py [IMAGES] [--repeats 3]

Floors are the forward passes of the networks that the method needs (both for lmpnet, one for parts), and of the first
look at the whole image, on tensors that are already in memory, with the same batches and precision: bare, as the
networks were trained, and with batch norms folded into the convolutions, as `discover` runs them. Floors and command
take turns in this process. The figures are median ratios; 1.00 of the folded floor would be a `discover` that costs
nothing else. The last line says how much the part head adds to the forward pass.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from program import run_program
from timing import Floors, bare_forward, ready_batches, take_turns
from torch import Tensor

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.export.onnx import export_onnx
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.runtime import resolve_workers
from lmpnet_cli.keypoints import positions_in_image

IMAGE_SIZE = (640, 480)  # of the images that the part head is timed on, in pixels


def part_head_alone(runner: ModelRunner, batches: Sequence[Tensor]) -> Callable[[], None]:
    """Return a function that runs the part head, and the conversion to pixels, on maps that are already computed.

    Raises:
        CheckpointError: when the model has no part head.
    """
    if runner.model.part_head is None:
        raise CheckpointError("The model has no parts. Learn them with `lmpnet parts DATA`.")
    outputs = [runner.run(batch) for batch in batches]

    @torch.inference_mode()
    def run() -> None:
        for output in outputs:
            found = runner.model.parts(output)
            for positions in found.positions.double().numpy():
                positions_in_image(positions, found.map_size, IMAGE_SIZE)

    return run


def measure(images: Path, repeats: int = 3) -> tuple[list[str], dict[str, str]]:
    """Return lines for the document, and the figures that have goals."""
    files = list_images([images])
    config = DiscoverConfig(images=(images,), device="cpu")
    both = open_runner(config)

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
        "| method | overlays | decoding processes | bare forward, images/s | folded | discover | discover / bare | "
        "discover / folded |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    figures: dict[str, str] = {}
    default = resolve_workers(None, both.device)
    for method in ("lmpnet", "parts"):
        floors = Floors.of(config, files, replica=method == "lmpnet", looks_twice=True)
        for overlays, workers in ((True, default), (False, default), *((True, each) for each in {0, 1, 2} - {default})):
            ratios = floors.in_turn(partial(by_pytorch, overlays, method, workers), repeats)
            drawn = "on" if overlays else "off"
            lines.append(f"| {method} | {drawn} | {workers} | {ratios.cells(len(files))} |")
            if workers == default:
                figures[f"{method}, overlays {drawn}"] = f"{ratios.bare:.2f} ({ratios.folded:.2f})"

        with tempfile.TemporaryDirectory() as folder:
            onnx_model = export_onnx(Path(folder) / "model.onnx", method=method).path
            ratios = floors.in_turn(partial(by_onnxruntime, onnx_model), repeats)
        lines.append(f"| {method}, onnxruntime | on | {default} | {ratios.cells(len(files))} |")
        figures[f"{method}, onnx"] = f"{ratios.bare:.2f}"

    alone = open_runner(config, both.model, replica=False)
    batches = ready_batches(alone, files)
    forward = bare_forward(alone, batches)
    times = take_turns({"forward": forward, "part head": part_head_alone(alone, batches)}, 7)
    added = 100 * times["part head"] / times["forward"]
    figures["part head adds"] = f"{added:.1f} %"
    lines += ["", f"The part head adds {added:.1f} % to the forward pass of its network."]
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
