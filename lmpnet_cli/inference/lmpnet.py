"""The predictor of an LMPNet, for the methods lmpnet, which ranks anew in each image, parts and landmarks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.errors import CheckpointError, OptionError
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.keypoints import Keypoints, keypoint_names, positions_in_image
from lmpnet_cli.model.fusion import Detections
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput
from lmpnet_cli.model.reading import Reading
from lmpnet_cli.progress import Progress

Array = NDArray[np.float64]
ModelMethod = Literal["lmpnet", "parts", "landmarks"]


def to_keypoints(
    images: Sequence[LoadedImage],
    positions: Array,
    scores: Array,
    map_size: tuple[int, int],
    replica_shares: Array | None,
    labels: Sequence[str],
    probabilities: Sequence[float],
) -> list[Keypoints]:
    """Turn what was found on the maps of a batch into keypoints in pixels of its images.

    Args:
        positions: (B, K, 2) row, column in cells of the map; NaN where a keypoint was not found.
        scores, replica_shares: (B, K).
        labels, probabilities: predicted class of each image.
    """
    results = []
    empty = [image.empty for image in images]
    for values in (positions, scores, replica_shares):
        if values is not None:
            values[empty] = np.nan
    for index, image in enumerate(images):
        size = (image.width, image.height)
        results.append(
            Keypoints(
                image.name,
                *size,
                positions_in_image(positions[index], map_size, size, image.window),
                scores[index],
                None if replica_shares is None else replica_shares[index],
                labels[index],
                probabilities[index],
                window=image.window,
            )
        )
    return results


@dataclass(frozen=True)
class LMPNetPredictions:
    """A batch of images with the maps of both networks; keypoints are found when they are asked for."""

    output: LMPNetOutput
    images: Sequence[LoadedImage]
    predictor: "LMPNetPredictor"
    relevance: None = None

    @property
    def logits(self) -> Mapping[str, Tensor | None]:
        """Return the logits of network and replica, by the name of what they are scored as."""
        return {"accuracy": self.output.logits, "replica_accuracy": self.output.replica_logits}

    def keypoints(self) -> list[Keypoints]:
        """Return the keypoints of every image, at the first threshold of the predictor."""
        return self.sweep()[0]

    def sweep(self) -> list[list[Keypoints]]:
        """Return the keypoints of every image for each threshold of the predictor."""
        indices, probabilities = self.predictor.model.classes(self.output)
        labels = [self.predictor.classes[index] for index in indices.tolist()]
        return [self._in_pixels(found, labels, probabilities.tolist()) for found in self.predictor.detect(self.output)]

    def _in_pixels(self, found: Detections, labels: list[str], probabilities: list[float]) -> list[Keypoints]:
        shares = None if found.replica_shares is None else _array(found.replica_shares)
        return to_keypoints(
            self.images, _array(found.positions), _array(found.scores), found.map_size, shares, labels, probabilities
        )


def _array(values: Tensor) -> Array:
    array: Array = values.cpu().double().numpy()
    return array


class LMPNetPredictor:
    """Finds keypoints by an LMPNet: the paper's, at any erasing distances, or those of one of its heads."""

    def __init__(
        self,
        runner: ModelRunner,
        method: ModelMethod,
        k: int | None = None,
        thresholds: Sequence[float] = (3.0,),
        objects: str = "none",
    ) -> None:
        """
        Args:
            k: number of keypoints; of parts and landmarks the model's own number, or None.
            objects: none, one or all, for the record.
            thresholds: erasing distances in cells of a 14 x 14 grid over the image; parts and landmarks have none.

        Raises:
            CheckpointError: when the model has no head for the method.
            OptionError: when its head has another number of parts or landmarks.
        """
        self.runner, self.method = runner, method
        self.model, self.loader, self.device = runner.model, runner.loader, runner.device
        self.classes: Sequence[str] = runner.model.spec.classes
        self.bfloat16, self.objects = runner.bfloat16, objects

        if method == "lmpnet":
            self.names: Sequence[str] = keypoint_names(k or 5)
            self.thresholds: Sequence[float | None] = tuple(thresholds)
        else:
            self.names, self.thresholds = _names_of_head(runner, method, k), (None,)

    def record(self) -> dict[str, Any]:
        """Return what finds the keypoints, for the results."""
        return {"checkpoint": self.runner.checkpoint_record()}

    def options(self) -> dict[str, Any]:
        """Return the options of the method that decide where keypoints are."""
        finder = self.runner.finder
        objects = {"objects": self.objects, "max_objects": finder.most if self.objects == "all" and finder else None}
        if self.method != "lmpnet":
            return objects
        options = objects | asdict(self.runner.reading) | {"replica": self.model.replica is not None}
        del options["iterations"]  # they decide nothing
        if not options["replica"]:
            options |= {"mask_radius": None, "fusion": None}
        return options

    def detect(self, output: LMPNetOutput) -> list[Detections]:
        """Find the keypoints of a batch, once for each threshold."""
        if self.method == "parts":
            return [self.model.parts(output)]
        if self.method == "landmarks":
            return [self.model.landmarks(output)]

        thresholds = [each for each in self.thresholds if each is not None]
        return self.model.keypoint_sweep(output, thresholds, len(self.names), self.runner.reading)

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], LMPNetPredictions]]:
        """Yield readable images with what the networks say about them."""
        for loaded, output in self.runner.batches(images, progress, preview):
            yield loaded, LMPNetPredictions(output, loaded, self)
            del loaded, output  # as in `ModelRunner.batches`


def _names_of_head(runner: ModelRunner, method: Literal["parts", "landmarks"], k: int | None) -> Sequence[str]:
    model, source = runner.model, runner.checkpoint
    head = model.part_head if method == "parts" else model.landmark_head
    learn = "parts DATA" if method == "parts" else "fit DATA"
    if head is None:
        option = f" -c {source}" if source else ""
        raise CheckpointError(
            f"{source or 'This model'} has no {method}. Learn them: `lmpnet {learn}{option}`. `lmpnet discover` needs "
            "none with --method lmpnet."
        )
    if k not in (None, head.spec.k):
        more = f", or learn {k} parts with `lmpnet parts DATA --k {k}`" if method == "parts" else ""
        raise OptionError(
            f"--k {k} does not fit: this model has {head.spec.k} {method}. Remove --k, or use --method lmpnet{more}."
        )
    return head.spec.names


def open_lmpnet_predictor(config: KeypointConfig, model: LMPNet | None = None) -> LMPNetPredictor:
    """Open the model of `config`, or take the one given, with the options of its method.

    The heads need no replica, which is removed for the methods parts and landmarks: that halves the run time.

    Raises:
        CheckpointError, DeviceError, OptionError: when there is no such model or device, or it has no such head.
    """
    options = config.method_options()
    thr = options.get("thr", ())
    thresholds = thr if isinstance(thr, Sequence) else (thr,)
    assert config.method != "saliency"  # it has a predictor of its own
    method: ModelMethod = config.method or "lmpnet"

    read_by = {each.name for each in fields(Reading)}
    reading = Reading(**{name: value for name, value in options.items() if name in read_by and value is not None})
    replica = bool(options.get("replica"))
    runner = open_runner(config, model, replica, reading, config.objects_at_most, config.boxes is not None)
    return LMPNetPredictor(runner, method, options.get("k"), thresholds, config.objects or "none")
