"""Compare the backends: PyTorch, compiled PyTorch, onnxruntime, and OpenVINO where it is installed.

    python benchmarks/backends.py [IMAGES] [--repeats 5]

Batches are ready in memory, and each backend computes keypoints from bytes. The keypoints are compared with those of
PyTorch. All backends take turns in this process.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from timing import ready_batches, take_turns

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.inference.onnx import export_predictor
from lmpnet_cli.inference.predictor import open_predictor
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.model.onnx_module import OnnxModule, OnnxSpec

Batches = Sequence[NDArray[np.uint8]]
Run = Callable[[NDArray[np.uint8]], Sequence[NDArray[np.float32]]]


def by_torch(module: torch.nn.Module) -> Run:
    """Run PyTorch with channels last and inference mode."""

    def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        with torch.inference_mode():
            images = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
            return [each.numpy() for each in module(images)]

    return run


def by_openvino(path: Path) -> Run | None:
    """Run OpenVINO in float32; None where it is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(path, "CPU", settings)

    def run(pixels: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        outputs = compiled([pixels])
        return [outputs[index] for index in range(len(outputs))]

    return run


def runners(method: str, folder: Path) -> dict[str, Run]:
    """Return every backend that works on this machine, for one method (lmpnet or parts)."""
    config = DiscoverConfig(images=(), device="cpu", method=method)
    predictor = open_predictor(config)
    path = folder / "model.onnx"
    export_predictor(predictor, config, path)  # type: ignore[arg-type]
    assert predictor.model is not None
    spec = OnnxSpec(method == "parts", len(predictor.names), config.thr, config.filters)
    module = OnnxModule(predictor.model, spec).eval()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options)
    found: dict[str, Run | None] = {
        "PyTorch": by_torch(module),
        "PyTorch, networks compiled": None,
        "onnxruntime": lambda pixels: session.run(None, {"pixels": pixels}),
        "OpenVINO": by_openvino(path),
    }
    try:
        run = by_torch(OnnxModule(_Compiled(predictor.model), spec).eval())  # type: ignore[arg-type]
        run(np.zeros((2, 3, predictor.reader.size, predictor.reader.size), np.uint8))
        found["PyTorch, networks compiled"] = run
    except Exception as error:  # no compiler on this machine
        print(f"torch.compile does not work here: {str(error).splitlines()[0][:200]}")
    return {name: run for name, run in found.items() if run is not None}


class _Compiled(torch.nn.Module):
    """Compile the networks and leave everything else unchanged."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.networks = torch.compile(model)
        self.spec, self.part_head, self.normalize = model.spec, model.part_head, model.normalize

    def forward(self, images: torch.Tensor) -> object:
        return self.networks(images)


def measure(images: Path, repeats: int = 5) -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal."""
    files = list_images([images])[:64]
    batches = [each.numpy() for each in ready_batches(open_runner(DiscoverConfig(images=(), device="cpu")), files)]
    lines = ["## Backends", "", "| method | backend | images/s | times as fast | largest difference, cells |"]
    lines.append("| --- | --- | --- | --- | --- |")
    figures = []
    for method in ("lmpnet", "parts"):
        with tempfile.TemporaryDirectory() as folder:
            runs = runners(method, Path(folder))
        times = take_turns(
            {name: lambda run=run: [run(each) for each in batches] for name, run in runs.items()},  # type: ignore[misc]
            repeats,
        )
        expected = [runs["PyTorch"](each)[0] for each in batches]
        for name, seconds in times.items():
            found = [runs[name](each)[0] for each in batches]
            away = max(float(np.nanmax(np.abs(a - b))) for a, b in zip(expected, found, strict=True))
            faster = times["PyTorch"] / seconds
            lines.append(f"| {method} | {name} | {len(files) / seconds:.1f} | {faster:.2f} | {away:.1e} |")
            if name == "onnxruntime":
                figures.append(f"{faster:.2f} ({method})")
    return lines, "onnxruntime " + ", ".join(figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print("\n".join(measure(options.images, options.repeats)[0]))
