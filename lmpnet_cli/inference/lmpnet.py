"""Keypoints by LMPNet: the maps of both networks, and the keypoint branch on them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.inference.runner import ModelRunner
from lmpnet_cli.keypoints import Keypoints, keypoint_names, positions_in_image
from lmpnet_cli.model.fusion import Detections, ballot, fuse_sweep
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput
from lmpnet_cli.progress import Progress


def find_keypoints(
    output: LMPNetOutput,
    pictures: Sequence[LoadedImage],
    config: KeypointConfig,
    thresholds: Sequence[float],
    classes: Sequence[str],
) -> list[list[Keypoints]]:
    """The keypoint branch for a batch: maps of both networks in, keypoints in image pixels out.

    Args:
        pictures: the readable pictures that the maps belong to.
        thresholds: erasing distances in cells of a 14 x 14 grid over the image.

    Returns:
        For each threshold the keypoints of every picture.
    """
    options = config.method_options()
    votes = ballot(output, options["filters"], options["margin"])
    best = output.logits[:, : len(classes)].float().softmax(1).max(1)
    labels = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return [
        [
            Keypoints(name, width, height, xy, scores, shares, classes[label], score)
            for (name, width, height, xy, scores, shares), (label, score) in zip(
                _to_pixels(detections, pictures), labels, strict=True
            )
        ]
        for detections in fuse_sweep(votes, options["k"], thresholds, options["iterations"])
    ]


def _to_pixels(detections: Detections, pictures: Sequence[LoadedImage]) -> list[tuple[str, int, int, Any, Any, Any]]:
    positions = detections.positions.cpu().double().numpy()
    scores = detections.scores.cpu().double().numpy()
    shares = detections.replica_shares.cpu().double().numpy()
    results = []
    for index, picture in enumerate(pictures):
        size = (picture.width, picture.height)
        xy = positions_in_image(positions[index], detections.map_size, size)
        results.append((picture.name, *size, xy, scores[index], shares[index]))
    return results


@dataclass(frozen=True)
class LMPNetPredictions:
    """A batch of pictures with both networks' maps; keypoints are made when they are asked for."""

    output: LMPNetOutput
    pictures: Sequence[LoadedImage]
    config: KeypointConfig
    classes: Sequence[str]
    relevance: None = None

    @property
    def maps(self) -> Tensor:
        """(B, C, H, W) maps of the network."""
        return self.output.maps

    @property
    def logits(self) -> Mapping[str, Tensor | None]:
        """Of network and replica, by the name of what they are scored as."""
        return {"accuracy": self.output.logits, "replica_accuracy": self.output.replica_logits}

    def keypoints(self, thresholds: Sequence[float]) -> list[list[Keypoints]]:
        """For each threshold the keypoints of every picture."""
        return find_keypoints(self.output, self.pictures, self.config, thresholds, self.classes)


class LMPNetPredictor:
    """Finds keypoints by LMPNet, at any erasing distance."""

    order = "prominence"

    def __init__(self, config: KeypointConfig, model: LMPNet | None = None) -> None:
        """
        Args:
            model: takes the place of the checkpoint that `config` names.

        Raises:
            CheckpointError, DeviceError: when there is no such model or device.
        """
        self.config = config
        self.runner = ModelRunner(config, model, bool(config.replica))
        self.reader, self.device = self.runner.reader, self.runner.device
        self.model = self.runner.model
        self.classes: Sequence[str] = self.runner.model.spec.classes
        self.names: Sequence[str] = keypoint_names(config.method_options()["k"])

    def record(self) -> dict[str, Any]:
        """What found the keypoints, for the results."""
        return {"checkpoint": self.runner.checkpoint_record()}

    @property
    def bfloat16(self) -> bool:
        """Whether convolutions ran in bfloat16."""
        return self.runner.bfloat16

    def thresholds(self, given: Sequence[float | None]) -> Sequence[float | None]:
        """The erasing distances that make a difference: all."""
        return given

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], LMPNetPredictions]]:
        """Readable pictures with what the networks say of them."""
        for pictures, output in self.runner.batches(images, progress, preview):
            yield pictures, LMPNetPredictions(output, pictures, self.config, self.classes)
            del pictures, output  # as in `Engine.batches`
