"""Keypoints by an ONNX graph: `--backend onnx`, by onnxruntime on the CPU.

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
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import ImageLoader, LoadedImage
from lmpnet_cli.errors import CheckpointError, DeviceError, OptionError, missing_package
from lmpnet_cli.inference.lmpnet import LMPNetPredictor
from lmpnet_cli.inference.parts import PartPredictor
from lmpnet_cli.io.onnx_file import OnnxHeader, parse_header, write_onnx
from lmpnet_cli.keypoints import Keypoints, positions_in_image
from lmpnet_cli.model.onnx_module import OnnxSpec
from lmpnet_cli.progress import Progress

Run = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]


@dataclass(frozen=True)
class OnnxPredictions:
    """A batch of pictures with their keypoints."""

    found: list[Keypoints]
    maps: None = None
    logits: Mapping[str, Tensor | None] = field(default_factory=dict)
    relevance: None = None

    def keypoints(self, thresholds: Sequence[Any]) -> list[list[Keypoints]]:
        """The same for each erasing distance: it is fixed in the graph."""
        return [self.found] * len(thresholds)


class OnnxPredictor:
    """Finds keypoints by a graph that was exported, or that is made of a finder's model for this run."""

    bfloat16 = False
    model = None

    def __init__(self, config: DiscoverConfig, predictor: LMPNetPredictor | PartPredictor | None) -> None:
        """
        Args:
            finder: whose model to take; None where the checkpoint that `config` names is a graph.

        Raises:
            OptionError: when a package is missing, or an option differs from what the graph was made with.
            CheckpointError: when the file is no graph of lmpnet.
            DeviceError: when another device than the CPU is asked for.
        """
        if config.device not in ("auto", "cpu"):
            raise DeviceError(f"A graph runs on the CPU: leave --device {config.device} out.")
        self.device = torch.device("cpu")
        if predictor is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"graph{ONNX_SUFFIX}"
                export_predictor(predictor, config, path)
                self.run, self.header = _open(path)
        else:
            assert config.checkpoint is not None
            self.run, self.header = _open(config.checkpoint)
            _check_options(config, self.header)
        self.order, self.names, self.classes = self.header.order, self.header.names, self.header.classes
        self.reader = ImageLoader(config, self.header.input_size, self.device)

    def record(self) -> dict[str, Any]:
        """What found the keypoints, for the results."""
        return {"checkpoint": self.header.checkpoint}

    def thresholds(self, given: Sequence[float | None]) -> Sequence[float | None]:
        """The one that the graph was made with."""
        return [self.header.options["thr"]]

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], OnnxPredictions]]:
        """Readable pictures with their keypoints."""
        for pictures, pixels in self.reader.batches(images, progress, preview):
            yield pictures, OnnxPredictions(list(self._keypoints(pictures, pixels)))

    def _keypoints(self, pictures: Sequence[LoadedImage], pixels: Tensor) -> Iterator[Keypoints]:
        try:
            positions, scores, shares, classes = self.run(pixels.numpy())
        except Exception as error:  # onnxruntime has no type for memory that ran out
            raise DeviceError(
                f"onnxruntime failed on {len(pixels)} pictures ({str(error).splitlines()[0][:200]}). Try a lower "
                "--batch-size."
            ) from error
        for index, picture in enumerate(pictures):
            size = (picture.width, picture.height)
            best = int(classes[index].argmax())
            yield Keypoints(
                picture.name,
                *size,
                positions_in_image(positions[index].astype(np.float64), self.header.map_size, size),
                scores[index].astype(np.float64),
                None if self.order == "identity" else shares[index].astype(np.float64),
                self.classes[best],
                float(classes[index, best]),
            )


def export_predictor(predictor: LMPNetPredictor | PartPredictor, config: DiscoverConfig, path: Path) -> OnnxHeader:
    """The model of a finder, with the options that it finds by, as a graph file."""
    identity = predictor.order == "identity"
    options = config.method_options()
    k = len(predictor.names)
    spec = (
        OnnxSpec(identity, k)
        if identity
        else OnnxSpec(identity, k, options["thr"], options["filters"], options["margin"])
    )
    fixed = {name: getattr(config, name) for name in FIXED_IN_ONNX}
    fixed |= {"k": k, "size": predictor.reader.size}  # as they turned out
    facts = {
        "input_size": predictor.reader.size,
        "names": tuple(predictor.names),
        "classes": tuple(predictor.classes),
        "order": predictor.order,
        "options": fixed,
        "checkpoint": predictor.record()["checkpoint"],
    }
    return write_onnx(predictor.model, spec, path, facts)


def _check_options(config: DiscoverConfig, header: OnnxHeader) -> None:
    for name in FIXED_IN_ONNX:
        given, fixed = getattr(config, name), header.options.get(name)
        if given not in (None, fixed):
            raise OptionError(
                f"--{name} {given} differs from {fixed}, with which {config.checkpoint} was exported. Leave it out, or "
                "export again."
            )


def _open(path: Path) -> tuple[Run, OnnxHeader]:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package(error, "onnx") from error
    if not path.is_file():
        raise CheckpointError(f"There is no graph {path}. Check the spelling, or make it with `lmpnet export`.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has an exception of its own for each kind of damage
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(f"onnxruntime cannot read {path} ({reason}). Export it again.") from error
    header = parse_header(path, session.get_modelmeta().custom_metadata_map.get("lmpnet"))
    return lambda pixels: session.run(None, {"pixels": pixels}), header
