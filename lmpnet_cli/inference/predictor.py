"""How keypoints are found: the one place that knows that there are two methods, and two orders of the first.

A `Finder` opens what it needs, reads pictures and answers batch by batch; everything around it (files, overlays,
scores, tables) is the same for all.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import DiscoverConfig, KeypointConfig, ModelConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import ImageLoader, LoadedImage
from lmpnet_cli.errors import OptionError
from lmpnet_cli.inference.lmpnet import LMPNetPredictor
from lmpnet_cli.inference.onnx import OnnxPredictor
from lmpnet_cli.inference.parts import PartPredictor
from lmpnet_cli.inference.saliency import SaliencyPredictor
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.checkpoints import part_head_spec, read_header
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.model.part_head import PartHeadSpec
from lmpnet_cli.progress import Progress


class Predictions(Protocol):
    """What a method says of one batch of pictures."""

    @property
    def maps(self) -> Tensor | None:
        """(B, C, H, W) maps that made the keypoints, where there are such."""

    @property
    def logits(self) -> Mapping[str, Tensor | None]:
        """(B, classes or more) by the name of the accuracy that they are scored as."""

    @property
    def relevance(self) -> Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]] | None:
        """For each picture its coarse and fine relevance map, where there are such."""

    def keypoints(self, thresholds: Sequence[Any]) -> list[list[Keypoints]]:
        """For each threshold the keypoints of every picture."""


class Predictor(Protocol):
    """A method with its networks, ready to work."""

    @property
    def order(self) -> str:
        """What the index of a keypoint means: its `prominence` in its image, or its `identity` in all."""

    @property
    def names(self) -> Sequence[str]:
        """Of the keypoints, in their order."""

    @property
    def reader(self) -> ImageLoader:
        """Where pictures come from, and which were skipped."""

    @property
    def device(self) -> torch.device:
        """Where the networks run."""

    @property
    def model(self) -> LMPNet | None:
        """The LMPNet that finds them, where it is one."""

    @property
    def classes(self) -> Sequence[str]:
        """Names that a prediction chooses from."""

    @property
    def bfloat16(self) -> bool:
        """Whether convolutions run in bfloat16."""

    def record(self) -> dict[str, Any]:
        """What finds the keypoints, for the results."""

    def thresholds(self, given: Sequence[float | None]) -> Sequence[float | None]:
        """Those of the given erasing distances that make a difference; None stands for a method without one."""

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], Predictions]]:
        """Readable pictures with what the method says of them, in order."""


def open_predictor(config: KeypointConfig, model: LMPNet | None = None) -> Predictor:
    """The method that `config` names.

    Args:
        model: takes the place of the checkpoint that `config` names.

    Raises:
        LmpnetError: when something that it needs is not there.
    """
    if config.method == "saliency":
        return SaliencyPredictor(config, model)
    if isinstance(config, DiscoverConfig) and config.onnx_model:
        if model is not None:
            raise OptionError(f"Both a model and the ONNX model {config.checkpoint} were given; remove one of them.")
        return OnnxPredictor(config, None)

    if config.method == "parts":
        _check_parts(config, model)
    predictor = PartPredictor(config, model) if config.method == "parts" else LMPNetPredictor(config, model)
    if isinstance(config, DiscoverConfig) and config.backend_used == "onnx":
        return OnnxPredictor(config, predictor)
    return predictor


def _check_parts(config: KeypointConfig, model: LMPNet | None) -> None:
    """Raise `OptionError` where `--k` is given and the model has another number of parts."""
    spec = known_vocabulary(config, model)
    if spec is not None and config.k not in (None, spec.k):
        raise OptionError(
            f"--k {config.k} differs from the {spec.k} parts of this model. Remove --k, or learn other parts with "
            f"`lmpnet parts DATA --k {config.k}`."
        )


def known_vocabulary(config: ModelConfig, model: LMPNet | None) -> PartHeadSpec | None:
    """What the model's vocabulary is, or None; of a checkpoint only the header is read.

    Raises:
        CheckpointError: when there is no such checkpoint, or it describes no vocabulary that this version knows.
    """
    if model is not None:
        return None if model.part_head is None else model.part_head.spec
    return part_head_spec(read_header(config.checkpoint or bundled_checkpoint()))
