"""How keypoints are found: the one place that knows that there are two methods.

A `Finder` opens what it needs, reads pictures and answers batch by batch; everything around it (files, overlays,
scores, tables) is the same for all.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.images import ListedImage
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.lmp.network import LMPNet
from lmpnet_cli.lmpnet_finder import LmpnetFinder
from lmpnet_cli.pictures import PictureReader, Prepared
from lmpnet_cli.progress import Progress
from lmpnet_cli.saliency_finder import SaliencyFinder


class Answer(Protocol):
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


class Finder(Protocol):
    """A method with its networks, ready to work."""

    @property
    def reader(self) -> PictureReader:
        """Where pictures come from, and which were skipped."""

    @property
    def device(self) -> torch.device:
        """Where the networks run."""

    @property
    def classes(self) -> Sequence[str]:
        """Names that a prediction chooses from."""

    @property
    def bfloat16(self) -> bool:
        """Whether convolutions run in bfloat16."""

    def record(self) -> dict[str, Any]:
        """What finds the keypoints, for the results."""

    def thresholds(self, given: Sequence[float]) -> Sequence[float | None]:
        """Those of the given erasing distances that make a difference; None stands for a method without one."""

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[Prepared], Answer]]:
        """Readable pictures with what the method says of them, in order."""


def open_finder(config: KeypointConfig, model: LMPNet | None = None) -> Finder:
    """The method that `config` names.

    Args:
        model: takes the place of the checkpoint that `config` names.

    Raises:
        LmpnetError: when something that it needs is not there.
    """
    return LmpnetFinder(config, model) if config.method == "lmpnet" else SaliencyFinder(config, model)
