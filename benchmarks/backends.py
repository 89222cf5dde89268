"""Compare the backends: PyTorch, compiled PyTorch, onnxruntime (also with 8 bits), and OpenVINO where it is installed.

    python benchmarks/backends.py [IMAGES] [--repeats 5]

The batches are already in memory, and each backend computes keypoints from their bytes. All backends take turns in this
process. The keypoints of each are compared with those of PyTorch.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from program import run_program
from timing import ready_batches, take_turns

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.export.int8 import quantize
from lmpnet_cli.inference.lmpnet import open_lmpnet_predictor
from lmpnet_cli.inference.onnx import export_predictor
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput
from lmpnet_cli.model.onnx_module import OnnxModule
from lmpnet_cli.model.reading import DEFAULT_READING, Reading

IMAGES = 64  # largest number of images that are measured

Batch = NDArray[np.uint8]
Backend = Callable[[Batch], Sequence[NDArray[np.float32]]]
"""Map (B, 3, S, S) bytes to the outputs of `OnnxModule`."""


class CompiledLMPNet(LMPNet):
    """An LMPNet whose networks are compiled; what reads keypoints from their maps stays as it is."""

    def __init__(self, model: LMPNet) -> None:
        super().__init__(model.spec, model.network, model.replica, model.part_head)
        self.compiled = torch.compile(model)

    def forward(self, images: torch.Tensor, reading: Reading = DEFAULT_READING) -> LMPNetOutput:
        output: LMPNetOutput = self.compiled(images, reading)
        return output


def pytorch_backend(module: OnnxModule) -> Backend:
    """Return a backend that runs PyTorch with channels last and inference mode."""

    def run(pixels: Batch) -> Sequence[NDArray[np.float32]]:
        with torch.inference_mode():
            images = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
            return [output.numpy() for output in module(images)]

    return run


def onnxruntime_backend(path: Path) -> Backend:
    """Return a backend that runs an ONNX model by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options)
    return lambda pixels: session.run(None, {"pixels": pixels})


def openvino_backend(path: Path) -> Backend | None:
    """Return a backend that runs an ONNX model by OpenVINO in float32; None where OpenVINO is not installed."""
    try:
        import openvino
    except ImportError:
        return None

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(path, "CPU", settings)

    def run(pixels: Batch) -> Sequence[NDArray[np.float32]]:
        outputs = compiled([pixels])
        return [outputs[index] for index in range(len(outputs))]

    return run


def open_backends(method: Literal["lmpnet", "parts"], folder: Path, batches: Sequence[Batch]) -> dict[str, Backend]:
    """Open every backend that works on this machine, PyTorch first.

    Args:
        folder: where the ONNX model is written; it must exist until the last run.
        batches: what the model of 8 bits is calibrated with.
    """
    config = DiscoverConfig(images=(), device="cpu", method=method)
    predictor = open_lmpnet_predictor(config)
    options: dict[str, Any] = {}
    if method == "lmpnet":
        options = {"k": config.k, "thr": config.thr, "reading": predictor.runner.reading}
    model = predictor.model.eval()
    backends = {"PyTorch": pytorch_backend(OnnxModule(model, method, **options).eval())}

    compiled = pytorch_backend(OnnxModule(CompiledLMPNet(model), method, **options).eval())
    size = predictor.loader.size
    try:
        compiled(np.zeros((2, 3, size, size), np.uint8))
        backends["PyTorch, networks compiled"] = compiled
    except Exception as error:  # no compiler on this machine
        print(f"torch.compile does not work here: {str(error).splitlines()[0][:200]}")

    path = folder / "model.onnx"
    export_predictor(predictor, path)
    backends["onnxruntime"] = onnxruntime_backend(path)
    quantize(path, folder / "int8.onnx", [torch.from_numpy(batch) for batch in batches])
    backends["onnxruntime, 8 bits"] = onnxruntime_backend(folder / "int8.onnx")
    openvino = openvino_backend(path)
    if openvino is not None:
        backends["OpenVINO"] = openvino
    return backends


def run_all(backend: Backend, batches: Sequence[Batch]) -> list[NDArray[np.float32]]:
    """Return the positions of the keypoints of every batch."""
    return [backend(batch)[0] for batch in batches]


def largest_difference(expected: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]]) -> float:
    """Return the largest difference between the positions of two backends, in cells of the map."""
    return max(float(np.nanmax(np.abs(a - b))) for a, b in zip(expected, found, strict=True))


def measure(images: Path, repeats: int = 5) -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal."""
    files = list_images([images])[:IMAGES]
    runner = open_runner(DiscoverConfig(images=(), device="cpu"))
    batches = [batch.numpy() for batch in ready_batches(runner, files)]

    lines = ["## Backends", "", "| method | backend | images/s | times as fast | largest difference, cells |"]
    lines.append("| --- | --- | --- | --- | --- |")
    figures = []
    methods: tuple[Literal["lmpnet", "parts"], ...] = ("lmpnet", "parts")
    for method in methods:
        with tempfile.TemporaryDirectory() as folder:
            backends = open_backends(method, Path(folder), batches)
            times = take_turns({name: partial(run_all, each, batches) for name, each in backends.items()}, repeats)
            expected = run_all(backends["PyTorch"], batches)
            apart = {name: largest_difference(expected, run_all(each, batches)) for name, each in backends.items()}

        for name, seconds in times.items():
            faster = times["PyTorch"] / seconds
            lines.append(f"| {method} | {name} | {len(files) / seconds:.1f} | {faster:.2f} | {apart[name]:.1e} |")
            if name.startswith("onnxruntime"):
                figures.append(f"{name} {faster:.2f} ({method})")
    return lines, ", ".join(figures)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print("\n".join(measure(given.images, given.repeats)[0]))


if __name__ == "__main__":
    run_program(main)
