"""Keypoints by the vocabulary of an LMPNet: index i is the same part in every image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import ModelConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.inference.runner import ModelRunner
from lmpnet_cli.keypoints import Keypoints, positions_in_image
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput
from lmpnet_cli.model.part_head import Located, PartHead, soft_argmax
from lmpnet_cli.progress import Progress


def places(located: Located, map_size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.float64]]:
    """(k, 2) pixels of every part for each picture of (width, height), seen or not."""
    positions = located.positions.cpu().double().numpy()
    return [positions_in_image(each, map_size, size) for each, size in zip(positions, sizes, strict=True)]


@dataclass(frozen=True)
class PartPredictions:
    """A batch of pictures, its maps, and the vocabulary that reads them."""

    output: LMPNetOutput
    pictures: Sequence[LoadedImage]
    part_head: PartHead
    classes: Sequence[str]
    relevance: None = None

    @property
    def maps(self) -> Tensor:
        """(B, C, H, W) maps of the network."""
        return self.output.maps

    @property
    def logits(self) -> Mapping[str, Tensor | None]:
        """Of the network, by the name of what they are scored as."""
        return {"accuracy": self.output.logits}

    def keypoints(self, thresholds: Sequence[Any]) -> list[list[Keypoints]]:
        """The same for each erasing distance: there is none."""
        parts = self.part_head(self.maps)[:, : self.part_head.spec.k]
        located = soft_argmax(parts)
        sizes = [(picture.width, picture.height) for picture in self.pictures]
        scores = located.scores.cpu().double().numpy()
        best = self.output.logits[:, : len(self.classes)].float().softmax(1).max(1)
        results = []
        for index, xy in enumerate(places(located, (parts.shape[2], parts.shape[3]), sizes)):
            seen = scores[index] >= self.part_head.spec.threshold
            results.append(
                Keypoints(
                    self.pictures[index].name,
                    *sizes[index],
                    np.where(seen[:, None], xy, np.nan),
                    np.where(seen, np.minimum(scores[index], 1.0), np.nan),
                    class_name=self.classes[int(best.indices[index])],
                    class_score=float(best.values[index]),
                )
            )
        return [results for _ in thresholds]


class PartPredictor:
    """Finds keypoints by the vocabulary. The replica is not needed: half the time of the paper's order."""

    order = "identity"

    def __init__(self, config: ModelConfig, model: LMPNet | None = None) -> None:
        """
        Args:
            model: takes the place of the checkpoint that `config` names.

        Raises:
            CheckpointError, DeviceError: when there is no such model or device, or the model has no vocabulary.
        """
        self.runner = ModelRunner(config, model, replica=False)
        self.reader, self.device = self.runner.reader, self.runner.device
        self.model = self.runner.model
        self.classes: Sequence[str] = self.runner.model.spec.classes
        if self.runner.model.part_head is None:
            source = self.runner.checkpoint
            option = f" -c {source}" if source else ""
            raise CheckpointError(
                f"{source or 'This model'} has no keypoint vocabulary. `lmpnet parts DATA{option}` makes one."
            )
        self.part_head = self.runner.model.part_head
        self.names: Sequence[str] = self.part_head.spec.names

    def record(self) -> dict[str, Any]:
        """What found the keypoints, for the results."""
        return {"checkpoint": self.runner.checkpoint_record()}

    @property
    def bfloat16(self) -> bool:
        """Whether convolutions ran in bfloat16."""
        return self.runner.bfloat16

    def thresholds(self, given: Sequence[float | None]) -> Sequence[float | None]:
        """As given, though none makes a difference."""
        return given[:1]

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], PartPredictions]]:
        """Readable pictures with what the network says of them."""
        for pictures, output in self.runner.batches(images, progress, preview):
            yield pictures, PartPredictions(output, pictures, self.part_head, self.classes)
            del pictures, output  # as in `Engine.batches`
