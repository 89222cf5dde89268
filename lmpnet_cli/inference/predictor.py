"""Predictors: how keypoints are found, one predictor for each method.

A `Predictor` opens what it needs, reads images and gives `Predictions` batch by batch; everything around it (files,
overlays, scores, tables) is the same for all methods. A new method is a class with these members and a line in
`open_predictor`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import DiscoverConfig, KeypointConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import ImageLoader, LoadedImage
from lmpnet_cli.inference.lmpnet import open_lmpnet_predictor
from lmpnet_cli.inference.onnx import open_onnx_predictor
from lmpnet_cli.inference.saliency import open_saliency_predictor
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput
from lmpnet_cli.progress import Progress


class Predictions(Protocol):
    """What a method says about one batch of images."""

    @property
    def output(self) -> LMPNetOutput | None:
        """Return the maps that made the keypoints, where there are such."""

    @property
    def logits(self) -> Mapping[str, Tensor | None]:
        """Return (B, classes or more) logits by the name of the accuracy that they are scored as."""

    @property
    def relevance(self) -> Sequence[tuple[NDArray[np.float32], ...]] | None:
        """Return the coarse, the fine and the combined relevance map of each image, where there are such."""

    def keypoints(self) -> list[Keypoints]:
        """Return the keypoints of every image, at the first threshold of the predictor."""

    def sweep(self) -> list[list[Keypoints]]:
        """Return the keypoints of every image for each threshold of the predictor."""


class Predictor(Protocol):
    """A method with its networks, ready to work."""

    @property
    def method(self) -> str:
        """Return lmpnet (ranks in each image), parts (the same part in every image) or saliency."""

    @property
    def names(self) -> Sequence[str]:
        """Return the names of the keypoints, in their order; empty where each image has a number of its own."""

    @property
    def thresholds(self) -> Sequence[float | None]:
        """Return the erasing distances of `Predictions.sweep`; a single None for a method without one."""

    @property
    def loader(self) -> ImageLoader:
        """Return what reads the images and knows which were skipped."""

    @property
    def device(self) -> torch.device:
        """Return where the networks run."""

    @property
    def model(self) -> LMPNet | None:
        """Return the LMPNet that finds the keypoints, where it is one."""

    @property
    def classes(self) -> Sequence[str]:
        """Return the names that a prediction chooses from."""

    @property
    def bfloat16(self) -> bool:
        """Tell whether convolutions run in bfloat16."""

    def record(self) -> dict[str, Any]:
        """Return what finds the keypoints, for the results."""

    def options(self) -> dict[str, Any]:
        """Return the options of the method that decide where keypoints are, as they turned out."""

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], Predictions]]:
        """Yield readable images with what the method says about them, in order."""


def open_predictor(config: KeypointConfig, model: LMPNet | None = None) -> Predictor:
    """Open the predictor of the method that `config` names.

    Args:
        model: a loaded model, in place of the checkpoint that `config` names.

    Raises:
        LmpnetError: when something that it needs is missing.
    """
    if config.method == "saliency":
        return open_saliency_predictor(config, model)
    if isinstance(config, DiscoverConfig) and config.backend_used == "onnx":
        return open_onnx_predictor(config, model)

    return open_lmpnet_predictor(config, model)
