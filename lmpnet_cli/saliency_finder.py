"""Keypoints by occlusion and guided backpropagation, from any classifier."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.classifiers import Classifier, lmpnet_classifier, timm_classifier
from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.errors import OptionError
from lmpnet_cli.images import ListedImage
from lmpnet_cli.inference import Engine
from lmpnet_cli.keypoints import Keypoints, cells_to_pixels
from lmpnet_cli.lmp.network import LMPNet
from lmpnet_cli.pictures import PictureReader, Prepared
from lmpnet_cli.progress import Progress
from lmpnet_cli.runtime import resolve_device
from lmpnet_cli.saliency.detection import SalientPoints, detect
from lmpnet_cli.saliency.guided_backprop import evaluating
from lmpnet_cli.saliency.occlusion import patch_corners, random_colors

Map = NDArray[np.float32]


@dataclass(frozen=True)
class SaliencyAnswer:
    """A batch of pictures with their keypoints and relevance maps."""

    found: list[Keypoints]
    logits: Mapping[str, Tensor | None]
    relevance: Sequence[tuple[Map, Map]]
    maps: None = None

    def keypoints(self, thresholds: Sequence[float | None]) -> list[list[Keypoints]]:
        """The keypoints of every picture; there is no erasing distance, so all thresholds give the same."""
        return [self.found] * len(thresholds)


class SaliencyFinder:
    """Finds the points that a classifier relies on."""

    def __init__(self, config: KeypointConfig, model: LMPNet | None = None) -> None:
        """
        Args:
            model: an LMPNet whose network classifies, in place of the checkpoint or classifier that `config` names.

        Raises:
            CheckpointError, DeviceError, OptionError: when there is no such model, classifier or device, or patches do
                not fit into its input.
        """
        self.config = config
        self.device = resolve_device(config.device)
        if config.classifier and model is None:
            weights = config.classifier_weights
            self.classifier = timm_classifier(config.classifier, weights, config.size, self.device)
        else:
            self.classifier = lmpnet_classifier(Engine(config, model, replica=False))
        size = self.classifier.size
        if config.patch > size:
            raise OptionError(f"--patch {config.patch} is larger than the input of {size} pixels.")
        self.classes = self.classifier.classes
        self.patches = len(patch_corners(size, config.patch, config.coarse_stride)) ** 2
        self.colors = random_colors(self.patches, config.patch, config.seed)
        # patches of several pictures fill a forward pass where one picture has too few
        self.reader = PictureReader(config, size, max(1, config.batch_size // self.patches))
        self.bfloat16 = config.precision == "bf16"

    def record(self) -> dict[str, Any]:
        """What found the keypoints, for the results."""
        return self.classifier.record

    def thresholds(self, given: Sequence[float]) -> Sequence[None]:
        """No erasing distance makes a difference, so there is one row of results, without one."""
        return (None,)

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[Prepared], SaliencyAnswer]]:
        """Readable pictures with their keypoints."""
        with evaluating(self.classifier.network):
            progress.tell(self._cost(len(images)))
            for pictures, pixels in self.reader.batches(images, progress, preview):
                yield pictures, self._answer(pictures, pixels.to(self.device))

    def _occluded(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.classifier.logits(images)

    def _answer(self, pictures: Sequence[Prepared], pixels: Tensor) -> SaliencyAnswer:
        config, classifier = self.config, self.classifier
        with torch.inference_mode():
            logits = classifier.logits(pixels)
            best = logits[:, : len(classifier.classes)].float().softmax(1).max(1)
        points = detect(
            classifier.logits,
            pixels,
            best.indices,
            self.colors,
            k=config.k,
            stride=config.coarse_stride,
            coarse_weight=config.coarse_weight,
            radius=config.nms_radius,
            keep=config.keep,
            batch_size=config.batch_size,
            occluded=self._occluded,
        )
        labels = [classifier.classes[index] for index in best.indices.tolist()]
        found = _to_keypoints(pictures, points, classifier, labels, best.values.tolist())
        coarse, fine = (each.cpu().numpy() for each in (points.coarse, points.fine))
        return SaliencyAnswer(
            found, {"accuracy": logits, "replica_accuracy": None}, list(zip(coarse, fine, strict=True))
        )

    def _cost(self, count: int) -> str:
        """How long it will take, from one forward pass of full size."""
        batch = min(self.config.batch_size, self.patches)
        sample = torch.zeros(batch, 3, self.classifier.size, self.classifier.size, dtype=torch.uint8).to(self.device)
        sample = sample.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            self._occluded(sample).sum().item()  # the first one is slower; item() waits for the device
            started = time.perf_counter()
            self._occluded(sample).sum().item()
        seconds = (time.perf_counter() - started) * self.patches / batch
        return (
            f"{self.patches} occluded copies of each picture: about {seconds:.1f} s a picture, "
            f"{_span(seconds * count)} for {count}. A larger --coarse-stride takes less."
        )


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def _to_keypoints(
    pictures: Sequence[Prepared],
    points: SalientPoints,
    classifier: Classifier,
    labels: Sequence[str],
    probabilities: Sequence[float],
) -> list[Keypoints]:
    positions, scores = (each.cpu().double().numpy() for each in (points.positions, points.scores))
    size = (classifier.size, classifier.size)
    results = []
    for index, picture in enumerate(pictures):
        sides = (picture.width, picture.height)
        xy = cells_to_pixels(positions[index, :, 0], positions[index, :, 1], size, sides)
        xy = np.clip(xy, 0, np.array(sides) - 1.0)
        results.append(Keypoints(picture.name, *sides, xy, scores[index], None, labels[index], probabilities[index]))
    return results
