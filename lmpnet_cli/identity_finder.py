"""Keypoints by the vocabulary of an LMPNet: index i is the same part in every image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import ModelConfig
from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.inference import Engine
from lmpnet_cli.keypoints import Keypoints, positions_in_image
from lmpnet_cli.listing import ListedImage
from lmpnet_cli.lmp.network import LMPNet, PairMaps
from lmpnet_cli.lmp.vocabulary import Located, Vocabulary, locate
from lmpnet_cli.pictures import Prepared
from lmpnet_cli.progress import Progress


def places(located: Located, map_size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> list[NDArray[np.float64]]:
    """(k, 2) pixels of every part for each picture of (width, height), seen or not."""
    positions = located.positions.cpu().double().numpy()
    return [positions_in_image(each, map_size, size) for each, size in zip(positions, sizes, strict=True)]


@dataclass(frozen=True)
class IdentityAnswer:
    """A batch of pictures, its maps, and the vocabulary that reads them."""

    pair: PairMaps
    pictures: Sequence[Prepared]
    vocabulary: Vocabulary
    classes: Sequence[str]
    relevance: None = None

    @property
    def maps(self) -> Tensor:
        """(B, C, H, W) maps of the network."""
        return self.pair.maps

    @property
    def logits(self) -> Mapping[str, Tensor | None]:
        """Of the network, by the name of what they are scored as."""
        return {"accuracy": self.pair.logits}

    def keypoints(self, thresholds: Sequence[Any]) -> list[list[Keypoints]]:
        """The same for each erasing distance: there is none."""
        parts = self.vocabulary(self.maps)[:, : self.vocabulary.spec.k]
        located = locate(parts)
        sizes = [(picture.width, picture.height) for picture in self.pictures]
        scores = located.scores.cpu().double().numpy()
        best = self.pair.logits[:, : len(self.classes)].float().softmax(1).max(1)
        results = []
        for index, xy in enumerate(places(located, (parts.shape[2], parts.shape[3]), sizes)):
            seen = scores[index] >= self.vocabulary.spec.threshold
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


class IdentityFinder:
    """Finds keypoints by the vocabulary. The replica is not needed: half the time of the paper's order."""

    order = "identity"

    def __init__(self, config: ModelConfig, model: LMPNet | None = None) -> None:
        """
        Args:
            model: takes the place of the checkpoint that `config` names.

        Raises:
            CheckpointError, DeviceError: when there is no such model or device, or the model has no vocabulary.
        """
        self.engine = Engine(config, model, replica=False)
        self.reader, self.device = self.engine.reader, self.engine.device
        self.model = self.engine.model
        self.classes: Sequence[str] = self.engine.model.spec.classes
        if self.engine.model.vocabulary is None:
            source = self.engine.checkpoint
            option = f" -c {source}" if source else ""
            raise CheckpointError(
                f"{source or 'This model'} has no keypoint vocabulary. `lmpnet vocabulary DATA{option}` makes one."
            )
        self.vocabulary = self.engine.model.vocabulary
        self.names: Sequence[str] = self.vocabulary.spec.names

    def record(self) -> dict[str, Any]:
        """What found the keypoints, for the results."""
        return {"checkpoint": self.engine.checkpoint_record()}

    @property
    def bfloat16(self) -> bool:
        """Whether convolutions ran in bfloat16."""
        return self.engine.bfloat16

    def thresholds(self, given: Sequence[float]) -> Sequence[float]:
        """As given, though none makes a difference."""
        return given[:1]

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[Prepared], IdentityAnswer]]:
        """Readable pictures with what the network says of them."""
        for pictures, pair in self.engine.batches(images, progress, preview):
            yield pictures, IdentityAnswer(pair, pictures, self.vocabulary, self.classes)
            del pictures, pair  # as in `Engine.batches`
