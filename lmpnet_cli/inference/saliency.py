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
from lmpnet_cli.inference.classifier import Classifier, lmpnet_classifier
from lmpnet_cli.inference.lmpnet import to_keypoints
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.runtime import evaluating, fast_bfloat16, resolve_device
from lmpnet_cli.keypoints import Keypoints, keypoint_names
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress
from lmpnet_cli.saliency.guided_backprop import guided_gradients
from lmpnet_cli.saliency.occlusion import patch_corners, random_colors
from lmpnet_cli.saliency.pipeline import coarse_map, detect, fast_occlusion_works, seconds_per_image

Map = NDArray[np.float32]
MAX_COLORS = 300_000_000  # pixels of random colours kept in memory, three bytes each


@dataclass(frozen=True)
class SaliencyPredictions:
    """A batch of images with their keypoints and relevance maps: coarse, fine and combined."""

    found: list[Keypoints]
    logits: Mapping[str, Tensor | None]
    relevance: Sequence[tuple[Map, Map, Map]]
    output: None = None

    def keypoints(self) -> list[Keypoints]:
        """Return the keypoints of every image."""
        return self.found

    def sweep(self) -> list[list[Keypoints]]:
        """Return the keypoints of every image once: there is no erasing distance."""
        return [self.found]


class SaliencyPredictor:
    """Finds the points that a classifier relies on."""

    method = "saliency"
    model = None  # whatever finds the keypoints here is a plain classifier
    thresholds = (None,)

    def __init__(
        self,
        classifier: Classifier,
        loader: ImageLoader,
        colors: Tensor,
        *,
        k: int | None = None,
        target_class: str | None = None,
        coarse_stride: int = 8,
        coarse_weight: float = 0.5,
        nms_radius: float = 8.0,
        keep: float = 0.4,
        batch_size: int = 16,
        bfloat16: bool = False,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            colors: (draws, patches, 3, patch, patch) what hides each patch; without draws there is no coarse map.
            k: largest number of keypoints; None keeps all, so that each image has a number of its own.
            target_class: the class to explain; None explains the predicted one.
            coarse_stride, coarse_weight, nms_radius, keep: as for `saliency.pipeline`.
            batch_size: occluded copies in one forward pass.
            record: further options, for the record.

        Raises:
            OptionError: when the classifier does not have the target class.
        """
        self.classifier, self.loader, self.colors = classifier, loader, colors
        self.device, self.size, self.classes = loader.device, classifier.size, classifier.classes
        self.k, self.names = k, keypoint_names(k or 0)
        self.coarse_stride, self.coarse_weight = coarse_stride, coarse_weight
        self.nms_radius, self.keep = nms_radius, keep
        self.batch_size, self.bfloat16 = batch_size, bfloat16
        self.fast = False
        self._record = dict(record or {})
        self.target = None if target_class is None else self._index_of(target_class)

    @property
    def copies(self) -> int:
        """Return the number of occluded copies that an image needs."""
        return int(self.colors.shape[0] * self.colors.shape[1]) if self.colors.ndim > 1 else 0

    def _index_of(self, target_class: str) -> int:
        if target_class not in self.classes:
            near = difflib.get_close_matches(target_class, self.classes, n=3, cutoff=0.3)
            raise OptionError(
                f"--target-class {target_class} is not one of the {len(self.classes)} classes. Similar names: "
                f"{', '.join(near) or self.classes[0]}."
            )
        return self.classes.index(target_class)

    def record(self) -> dict[str, Any]:
        """Return what finds the keypoints, for the results."""
        return self.classifier.record

    def options(self) -> dict[str, Any]:
        """Return the options of the method that decide where keypoints are."""
        return self._record

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], SaliencyPredictions]]:
        """Yield readable images with their keypoints."""
        with evaluating(self.classifier.network):
            self._refuse_other_activations()
            if self.copies:
                self.fast = fast_occlusion_works(self.classifier.logits, self.size, self.device)
                progress.tell(self._cost(len(images)))

            for loaded, pixels in self.loader.batches(images, progress, preview):
                yield loaded, self._predict(loaded, pixels.to(self.device))

    def _refuse_other_activations(self) -> None:
        sample = torch.zeros(1, 3, self.size, self.size, dtype=torch.uint8, device=self.device)
        guided_gradients(self.classifier.logits, sample, torch.zeros(1, dtype=torch.long, device=self.device))

    def _occluded(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.classifier.logits(images)

    def _predict(self, images: Sequence[LoadedImage], pixels: Tensor) -> SaliencyPredictions:
        with torch.inference_mode():
            logits = self.classifier.logits(pixels)
            best = logits[:, : len(self.classes)].float().softmax(1).max(1)
        target = best.indices if self.target is None else torch.full_like(best.indices, self.target)

        fine = guided_gradients(self.classifier.logits, pixels, target)
        with torch.inference_mode():
            coarse = coarse_map(
                self._occluded,
                pixels,
                target,
                self.colors,
                stride=self.coarse_stride,
                batch_size=self.batch_size,
                fast=self.fast,
            )
        points = detect(
            pixels,
            coarse,
            fine,
            k=self.k,
            coarse_weight=self.coarse_weight,
            radius=self.nms_radius,
            keep=self.keep,
        )

        positions, scores = points.positions.double().numpy(), points.scores.double().numpy()
        labels = [self.classes[index] for index in best.indices.tolist()]
        size = (self.size, self.size)
        found = to_keypoints(images, positions, scores, size, None, labels, best.values.tolist())
        if self.k is None:
            found = [each.found_only() for each in found]  # what is missing depends on the other images of the batch
        maps = (points.coarse.numpy(), points.fine.numpy(), points.combined.numpy())
        relevance = list(zip(*maps, strict=True))
        return SaliencyPredictions(found, {"accuracy": logits, "replica_accuracy": None}, relevance)

    def _cost(self, count: int) -> str:
        """Tell how long the run will take, from one timed batch of occluded copies."""
        sample = torch.zeros(1, 3, self.size, self.size, dtype=torch.uint8, device=self.device)
        with torch.inference_mode():
            seconds = seconds_per_image(
                self._occluded,
                sample,
                self.colors,
                stride=self.coarse_stride,
                batch_size=self.batch_size,
                fast=self.fast,
            )

        return (
            f"{self.copies} occluded copies of each image: about {seconds:.1f} s per image, "
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


def open_saliency_predictor(config: KeypointConfig, model: LMPNet | None = None) -> SaliencyPredictor:
    """Open the classifier of `config` with the options of its method.

    Args:
        model: an LMPNet whose network classifies, in place of the checkpoint or classifier that `config` names.

    Raises:
        CheckpointError, DeviceError, OptionError: when there is no such model, classifier or device, or the patches do
            not fit its input.
    """
    options = dict(config.method_options())
    weights, patch, draws, panels = (options.pop(name) for name in ("classifier_weights", "patch", "draws", "panels"))
    name = options.pop("classifier")
    if name is not None and model is not None:
        raise OptionError("Both a model and --classifier were given; remove one of them.")

    if name is None:
        runner = open_runner(config, model, replica=False)
        device, classifier = runner.device, lmpnet_classifier(runner)
    else:
        device = resolve_device(config.device)
        from lmpnet_cli.inference.timm_classifier import timm_classifier  # timm takes a second to import

        classifier = timm_classifier(name, weights, config.size, device)

    needs_coarse_map = options["coarse_weight"] > 0 or panels
    colors = _colors(classifier.size, patch, options["coarse_stride"], draws if needs_coarse_map else 0, config.seed)
    copies = colors.shape[0] * colors.shape[1]
    loader = ImageLoader(
        classifier.size,
        device,
        # patches of several images fill a forward pass where one image has too few
        batch_size=max(1, config.batch_size // max(1, copies)),
        workers=config.workers,
        max_pixels=config.max_pixels,
    )
    auto = config.precision == "auto" and fast_bfloat16(device)
    return SaliencyPredictor(
        classifier,
        loader,
        colors,
        batch_size=config.batch_size,
        bfloat16=auto or config.precision == "bf16",
        record={"classifier": name, "patch": patch, "draws": draws, **options},
        **options,
    )


def _colors(size: int, patch: int, stride: int, draws: int, seed: int) -> Tensor:
    """Draw the colours that hide the patches, (draws, patches, 3, patch, patch).

    Raises:
        OptionError: when a patch is larger than the input, or there are too many of them.
    """
    if draws == 0:
        return torch.empty(0, 0, 3, patch, patch)
    if patch > size:
        raise OptionError(f"--patch {patch} is larger than the input of {size} pixels; use a smaller one.")

    patches = len(patch_corners(size, patch, stride)) ** 2
    if draws * patches * patch**2 > MAX_COLORS:
        raise OptionError(f"{patches} patches of {patch} x {patch} pixels are too many; use a larger --coarse-stride.")
    seeds = np.random.SeedSequence(seed).generate_state(draws)
    return torch.stack([random_colors(patches, patch, int(each)) for each in seeds])
