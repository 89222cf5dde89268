"""The predictor of an ONNX model: `--backend onnx`, which runs by onnxruntime on the CPU.

OpenVINO is no faster (docs/results/speed.md) and counts in 32 bits, which is too few for the votes.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import FIXED_IN_ONNX, ONNX_SUFFIX, DiscoverConfig
from lmpnet_cli.config.options import written
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import ImageLoader, LoadedImage
from lmpnet_cli.errors import CheckpointError, DeviceError, OptionError, missing_package
from lmpnet_cli.inference.lmpnet import LMPNetPredictor, open_lmpnet_predictor, to_keypoints
from lmpnet_cli.inference.windows import (
    FirstLook,
    GivenWindows,
    WiderWindows,
    WindowFinder,
    first_look_side,
    margin_of,
    second_look,
)
from lmpnet_cli.io.onnx_file import OnnxHeader, first_look_path, parse_header, write_first_look, write_onnx
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

Run = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]


@dataclass(frozen=True)
class OnnxPredictions:
    """A batch of images with their keypoints."""

    found: list[Keypoints]
    output: None = None
    logits: Mapping[str, Tensor | None] = field(default_factory=dict)
    relevance: None = None

    def keypoints(self) -> list[Keypoints]:
        """Return the keypoints of every image."""
        return self.found

    def sweep(self) -> list[list[Keypoints]]:
        """Return the keypoints of every image once: the erasing distance is fixed in the model."""
        return [self.found]


class OnnxPredictor:
    """Finds keypoints by an exported ONNX model."""

    bfloat16 = False
    model = None

    def __init__(self, run: Run, header: OnnxHeader, loader: ImageLoader, finder: WindowFinder | None = None) -> None:
        """
        Args:
            run: maps (B, 3, S, S) bytes to the outputs of `OnnxModule`.
            header: what the model file says about itself.
            finder: finds the windows that the model sees in place of whole images.
        """
        self.finder = finder
        self._run, self.header, self.loader, self.device = run, header, loader, loader.device
        self.method, self.names, self.classes = header.method, header.names, header.classes
        thr = header.options["thr"]
        self.thresholds: Sequence[float | None] = (None if thr is None else float(thr),)

    def record(self) -> dict[str, Any]:
        """Return what finds the keypoints, for the results."""
        return {"checkpoint": self.header.checkpoint}

    def options(self) -> dict[str, Any]:
        """Return the options of the method that decide where keypoints are."""
        names = set(FIXED_IN_ONNX).difference(("method", "k", "thr", "size"))
        if self.method != "lmpnet":
            names = {"objects", "max_objects"}
        return {name: self.header.options.get(name) for name in FIXED_IN_ONNX if name in names}

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], OnnxPredictions]]:
        """Yield readable images with their keypoints."""
        for whole, whole_pixels in self.loader.batches(images, progress, preview):
            for loaded, pixels in second_look(self.finder, whole, whole_pixels, self.loader.batch_size):
                yield loaded, OnnxPredictions(self._keypoints(loaded, pixels))

    def _keypoints(self, images: Sequence[LoadedImage], pixels: Tensor) -> list[Keypoints]:
        try:
            positions, scores, shares, probabilities = self._run(pixels.numpy())
        except Exception as error:  # onnxruntime has no exception type for memory that ran out
            reason = str(error).splitlines()[0][:200]
            raise DeviceError(
                f"onnxruntime failed on {len(pixels)} images ({reason}). Try a lower --batch-size."
            ) from error

        best = probabilities.argmax(1)
        return to_keypoints(
            images,
            positions.astype(np.float64),
            scores.astype(np.float64),
            self.header.map_size,
            shares.astype(np.float64) if self.method == "lmpnet" else None,
            [self.classes[index] for index in best],
            [float(row[index]) for row, index in zip(probabilities, best, strict=True)],
        )


def open_onnx_predictor(config: DiscoverConfig, model: LMPNet | None = None) -> OnnxPredictor:
    """Open the ONNX model that `config` names, or export the model of its checkpoint for this run.

    Raises:
        OptionError: when a package is missing, or an option differs from the one that the model was made with.
        CheckpointError: when the file is not an ONNX model of lmpnet.
        DeviceError: when a device other than the CPU is asked for.
    """
    if config.device not in ("auto", "cpu"):
        raise DeviceError(f"ONNX models run on the CPU; remove --device {config.device}.")

    path = config.checkpoint
    if path is not None and path.suffix == ONNX_SUFFIX:
        if model is not None:
            raise OptionError(f"Both a model and the ONNX model {path} were given; remove one of them.")
        run, header = _open(path)
        _check_options(config, header)
        finder = _finder(config, path, header)
    else:
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / f"model{ONNX_SUFFIX}"
            export_predictor(open_lmpnet_predictor(config, model), exported)
            run, header = _open(exported)
            finder = _finder(config, exported, header)

    loader = ImageLoader(
        header.input_size,
        torch.device("cpu"),
        batch_size=config.batch_size,
        workers=config.workers,
        max_pixels=config.max_pixels,
        scenes=finder is not None,
    )
    return OnnxPredictor(run, header, loader, finder)


def _finder(config: DiscoverConfig, path: Path, header: OnnxHeader) -> WindowFinder | None:
    """Return what finds the windows for an ONNX model; None for one that takes the whole image.

    Raises:
        OptionError: for boxes, where it takes the whole image.
        CheckpointError: when the ONNX model of the first look is missing.
    """
    objects = header.options.get("objects")
    most = (header.options.get("max_objects") or 1) if objects == "all" else 1
    if config.boxes is not None:
        if header.first_look is None:
            raise OptionError(f"{path} was exported with --objects none, so --boxes cannot be used. Export it again.")
        return WiderWindows(GivenWindows(most), header.margin)
    if header.first_look is None:
        return None

    run, first = _open(first_look_path(path))

    def look(pixels: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        cells, inside = run(pixels.numpy())
        return cells, inside

    finder = FirstLook(look, first.input_size, header.first_look == "object_head", most)
    return WiderWindows(finder, header.margin)


def export_predictor(predictor: LMPNetPredictor, path: Path) -> OnnxHeader:
    """Write the model of a predictor, with its method and options, as an ONNX file."""
    options: dict[str, Any] = {"k": len(predictor.names), "thr": predictor.thresholds[0], **predictor.options()}
    fixed = {name: options.get(name) for name in FIXED_IN_ONNX}
    fixed |= {"method": predictor.method, "size": predictor.loader.size}
    reads_keypoints = {"k": options["k"], "thr": options["thr"], "reading": predictor.runner.reading}

    looks = options["objects"] != "none"
    header = write_onnx(
        predictor.model,
        path,
        predictor.method,
        reads_keypoints if predictor.method == "lmpnet" else {},
        {
            "input_size": predictor.loader.size,
            "names": tuple(predictor.names),
            "classes": tuple(predictor.classes),
            "options": fixed,
            "checkpoint": predictor.record()["checkpoint"],
            "margin": margin_of(predictor.model, predictor.method),
            "first_look": ("response" if predictor.model.object_head is None else "object_head") if looks else None,
        },
    )
    if looks:
        side = first_look_side(predictor.model, predictor.loader.size, options["max_objects"] or 1)
        write_first_look(predictor.model, path, side, header)
    return header


def _check_options(config: DiscoverConfig, header: OnnxHeader) -> None:
    fixed = {**header.options, "method": header.method}
    for name in FIXED_IN_ONNX:
        given = getattr(config, name)
        if given is not None and given != fixed.get(name):
            raise OptionError(
                f"{config.checkpoint} was exported with {written(name, fixed.get(name))}, so {written(name, given)} "
                "cannot be used. Remove that option, or export the model again."
            )


def _open(path: Path) -> tuple[Run, OnnxHeader]:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package(error, "onnx") from error
    if not path.is_file():
        raise CheckpointError(f"ONNX model {path} not found. Check the spelling, or create it with `lmpnet export`.")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception of its own for each kind of damage
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(f"onnxruntime cannot read {path} ({reason}). Export it again.") from error

    header = parse_header(path, session.get_modelmeta().custom_metadata_map.get("lmpnet"))
    return lambda pixels: session.run(None, {"pixels": pixels}), header
