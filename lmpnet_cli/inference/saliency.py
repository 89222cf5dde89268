"""Keypoints by occlusion and guided backpropagation, from any classifier."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import ImageLoader, LoadedImage
from lmpnet_cli.errors import OptionError
from lmpnet_cli.inference.classifier import lmpnet_classifier, timm_classifier
from lmpnet_cli.inference.runner import ModelRunner
from lmpnet_cli.io.runtime import evaluating, fast_bfloat16, resolve_device
from lmpnet_cli.keypoints import Keypoints, keypoint_names, positions_in_image
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress
from lmpnet_cli.saliency.guided_backprop import guided_gradients
from lmpnet_cli.saliency.occlusion import patch_corners, random_colors
from lmpnet_cli.saliency.pipeline import (
    SaliencyPoints,
    coarse_map,
    detect,
    fast_occlusion_works,
    seconds_per_image,
)

Map = NDArray[np.float32]
MAX_COLORS = 300_000_000  # pixels of random colours kept in memory, three bytes each


@dataclass(frozen=True)
class SaliencyPredictions:
    """A batch of pictures with their keypoints and relevance maps."""

    found: list[Keypoints]
    logits: Mapping[str, Tensor | None]
    relevance: Sequence[tuple[Map, Map]]
    maps: None = None

    def keypoints(self, thresholds: Sequence[float | None]) -> list[list[Keypoints]]:
        """The keypoints of every picture; there is no erasing distance, so all thresholds give the same."""
        return [self.found] * len(thresholds)


class SaliencyPredictor:
    """Finds the points that a classifier relies on."""

    order = "prominence"

    def __init__(self, config: KeypointConfig, model: LMPNet | None = None) -> None:
        """
        Args:
            model: an LMPNet whose network classifies, in place of the checkpoint or classifier that `config` names.

        Raises:
            CheckpointError, DeviceError, OptionError: when there is no such model, classifier or device, or patches do
                not fit into its input.
        """
        self.config = config
        self.model: LMPNet | None = None  # whatever finds the keypoints here is a plain classifier
        self.names: Sequence[str] = keypoint_names(config.keypoints)
        if config.classifier is None:
            runner = ModelRunner(config, model, replica=False)
            self.device, self.classifier = runner.device, lmpnet_classifier(runner)
        elif model is None:
            self.device = resolve_device(config.device)
            weights = config.classifier_weights
            self.classifier = timm_classifier(config.classifier, weights, config.size, self.device)
        else:
            raise OptionError("model and classifier both name a network: give one of them.")
        self.classes, self.size = self.classifier.classes, self.classifier.size
        if config.target_class is not None and config.target_class not in self.classes:
            near = difflib.get_close_matches(config.target_class, self.classes, n=3, cutoff=0.3)
            raise OptionError(
                f"--target-class {config.target_class} is none of the {len(self.classes)} classes. Near: "
                f"{', '.join(near) or self.classes[0]}."
            )
        self.patches, self.draws = self._colors()
        # patches of several pictures fill a forward pass where one picture has too few
        self.reader = ImageLoader(config, self.size, self.device, max(1, config.batch_size // max(1, self.patches)))
        auto = config.precision == "auto" and fast_bfloat16(self.device)
        self.bfloat16 = auto or config.precision == "bf16"
        self.fast = False

    def _colors(self) -> tuple[int, Tensor]:
        """How many occluded copies a picture needs, and the colours that hide its patches in every draw."""
        config = self.config
        if config.coarse_weight == 0 and not config.panels:  # nobody looks at the coarse map
            return 0, torch.empty(0)
        if config.patch > self.size:
            raise OptionError(
                f"--patch {config.patch} is larger than the input of {self.size} pixels. Choose a smaller one."
            )
        patches = len(patch_corners(self.size, config.patch, config.coarse_stride)) ** 2
        if config.draws * patches * config.patch**2 > MAX_COLORS:
            raise OptionError(
                f"{patches} patches of {config.patch} x {config.patch} pixels are too many. Choose a larger "
                "--coarse-stride."
            )
        seeds = np.random.SeedSequence(config.seed).generate_state(config.draws)
        return patches * config.draws, torch.stack([random_colors(patches, config.patch, int(s)) for s in seeds])

    def record(self) -> dict[str, Any]:
        """What found the keypoints, for the results."""
        return self.classifier.record

    def thresholds(self, given: Sequence[float]) -> Sequence[None]:
        """No erasing distance makes a difference, so there is one row of results, without one."""
        return (None,)

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], SaliencyPredictions]]:
        """Readable pictures with their keypoints."""
        with evaluating(self.classifier.network):
            self._refuse_other_activations()
            if self.patches:
                self.fast = fast_occlusion_works(self.classifier.logits, self.size, self.device)
                progress.tell(self._cost(len(images)))
            for pictures, pixels in self.reader.batches(images, progress, preview):
                yield pictures, self._answer(pictures, pixels.to(self.device))

    def _refuse_other_activations(self) -> None:
        sample = torch.zeros(1, 3, self.size, self.size, dtype=torch.uint8, device=self.device)
        guided_gradients(self.classifier.logits, sample, torch.zeros(1, dtype=torch.long, device=self.device))

    def _occluded(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.classifier.logits(images)

    def _answer(self, pictures: Sequence[LoadedImage], pixels: Tensor) -> SaliencyPredictions:
        config, classifier = self.config, self.classifier
        with torch.inference_mode():
            logits = classifier.logits(pixels)
            best = logits[:, : len(self.classes)].float().softmax(1).max(1)
        target = best.indices
        if config.target_class is not None:
            target = torch.full_like(target, self.classes.index(config.target_class))
        fine = guided_gradients(classifier.logits, pixels, target)
        with torch.inference_mode():
            coarse = coarse_map(
                self._occluded,
                pixels,
                target,
                self.draws,
                stride=config.coarse_stride,
                batch_size=config.batch_size,
                fast=self.fast,
            )
        points = detect(
            pixels,
            coarse,
            fine,
            k=config.keypoints,
            coarse_weight=config.coarse_weight,
            radius=config.nms_radius,
            keep=config.keep,
        )
        labels = [self.classes[index] for index in best.indices.tolist()]
        found = _to_keypoints(pictures, points, self.size, labels, best.values.tolist())
        relevance = list(zip(points.coarse.numpy(), points.fine.numpy(), strict=True))
        return SaliencyPredictions(found, {"accuracy": logits, "replica_accuracy": None}, relevance)

    def _cost(self, count: int) -> str:
        """How long it will take, from one batch of occluded copies of full size."""
        sample = torch.zeros(1, 3, self.size, self.size, dtype=torch.uint8, device=self.device)
        with torch.inference_mode():
            seconds = seconds_per_image(
                self._occluded,
                sample,
                self.draws,
                stride=self.config.coarse_stride,
                batch_size=self.config.batch_size,
                fast=self.fast,
            )
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
    pictures: Sequence[LoadedImage],
    points: SaliencyPoints,
    side: int,
    labels: Sequence[str],
    probabilities: Sequence[float],
) -> list[Keypoints]:
    positions, scores = (each.double().numpy() for each in (points.positions, points.scores))
    results = []
    for index, picture in enumerate(pictures):
        sides = (picture.width, picture.height)
        xy = positions_in_image(positions[index], (side, side), sides)
        results.append(Keypoints(picture.name, *sides, xy, scores[index], None, labels[index], probabilities[index]))
    return results
