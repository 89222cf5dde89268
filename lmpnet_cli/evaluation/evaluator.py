"""What `eval` needs to know of every annotated picture: from a model, maps computed once, or from a file of keypoints.

1. Unreadable pictures are skipped and named.
2. Annotated points a little outside the picture are moved onto its border; those far outside are left out (CUB has a
   few). Both are counted.
3. With a model, every threshold clusters the same maps anew.
"""

from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.data.annotations import AnnotatedImage, Annotations
from lmpnet_cli.data.coco_predictions import read_predictions
from lmpnet_cli.data.images import image_size
from lmpnet_cli.data.listing import UnreadableImage
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.drawing.panels import Panels
from lmpnet_cli.errors import DatasetError, InputError
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.pck import GroundTruth, Points
from lmpnet_cli.inference.predictor import Predictions, Predictor
from lmpnet_cli.model.entropy import feature_map_entropy
from lmpnet_cli.progress import Progress

PREVIEW = 480  # longer side of the pictures that panels are drawn from
OUTSIDE = 0.1  # share of the side by which an annotated point may miss the picture


@dataclass
class Evaluator:
    """Predictions and truth, picture by picture.

    Attributes:
        predictions: for each threshold, the (k, 2) points of every scene; None stands for an unknown threshold.
        scenes, images: the pictures that are scored, in the same order.
        hits: for network and replica, whether the class was right, where it could be.
        map_size: of the maps in cells, (0, 0) for keypoints from a file.
        entropy_sum, entropy_count: over the network's maps that are not zero.
        left_out: annotations and predictions that could not be used, by reason.
    """

    method: str
    k: int
    predictions: dict[float | None, list[Points]]
    ground_truths: list[GroundTruth] = field(default_factory=list)
    images: list[AnnotatedImage] = field(default_factory=list)
    hits: dict[str, list[bool]] = field(default_factory=lambda: {"accuracy": [], "replica_accuracy": []})
    entropy_sum: float = 0.0
    entropy_count: int = 0
    map_size: tuple[int, int] = (0, 0)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, image: AnnotatedImage, size: tuple[int, int], points: dict[float | None, Points]) -> bool:
        """One more picture; False, and nothing done, where all its annotations lie outside.

        Raises:
            DatasetError: when the annotations were made on a picture of another size.
        """
        if image.size not in (None, size):
            raise DatasetError(
                f"The annotations give {image.name} {_pixels(image.size)}, and it has {_pixels(size)}: the points are "
                "those of a picture of another size. Score them on the pictures they were made on."
            )
        parts = self._onto_picture(image.parts, size)
        if np.isnan(parts).all():
            self.left_out["pictures whose points all lie outside"] += 1
            return False
        self.ground_truths.append(GroundTruth(parts, size, image.bbox))
        self.images.append(image)
        for threshold, found in points.items():
            self.predictions[threshold].append(found)
        return True

    def _onto_picture(self, parts: Points, size: tuple[int, int]) -> Points:
        high = np.array(size) - 1.0
        slack = OUTSIDE * np.array(size)
        far = np.any((parts < -slack) | (parts > high + slack), axis=1, keepdims=True)
        moved = np.any((parts < -0.5) | (parts > high + 0.5), axis=1, keepdims=True) & ~far
        self.left_out["points far outside their picture"] += int(far.sum())
        self.left_out["points moved onto the border of their picture"] += int(moved.sum())
        return np.where(far, np.nan, np.clip(parts, 0, high))

    def classification(self) -> dict[str, float | None]:
        """Share of pictures whose class is predicted, among those of a class that the model knows; None without any."""
        return {name: round(float(np.mean(hits)), 4) if hits else None for name, hits in self.hits.items()}

    def entropy(self) -> float | None:
        """Mean entropy of the network's maps over pictures and filters, in nats; maps that are zero are left out."""
        return round(self.entropy_sum / self.entropy_count, 4) if self.entropy_count else None


def with_points(annotations: Annotations) -> list[AnnotatedImage]:
    """The pictures with a visible keypoint.

    Raises:
        DatasetError: when there is none.
    """
    images = [image for image in annotations.images if len(image.visible)]
    if not images:
        raise DatasetError(
            f"None of the {len(annotations.images)} annotated pictures has a visible keypoint"
            f"{_reasons(annotations.left_out)}."
        )
    return images


def refuse_nothing(run: Evaluator, images: Sequence[AnnotatedImage]) -> None:
    """Raises `InputError` when none of the pictures could be scored, with the reasons."""
    if not run.ground_truths:
        reasons = dict(+run.left_out) | {f"unreadable, such as {name}: {why}": 1 for name, why in run.skipped[:1]}
        raise InputError(f"None of the {len(images)} annotated pictures can be scored{_reasons(reasons)}.")


def _reasons(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{count} {why}' for why, count in counts.items())})" if counts else ""


def _pixels(size: tuple[int, int] | None) -> str:
    return "{} x {} pixels".format(*size) if size else "no size"


def evaluate_predictor(
    config: KeypointConfig,
    thresholds: Sequence[float | None],
    predictor: Predictor,
    images: Sequence[AnnotatedImage],
    progress: Progress,
    panels: Panels,
    part_evaluator: PartEvaluator | None = None,
) -> Evaluator:
    """Runs a method over the pictures; a thread scores a batch while the next one is computed.

    Args:
        witness: looks at the same maps, for the keypoints of a vocabulary.
    """
    assert config.method is not None
    empty: dict[float | None, list[Points]] = {each: [] for each in predictor.thresholds(thresholds)}
    run = Evaluator(config.method, len(predictor.names), empty)
    progress.start("keypoints", len(images))
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as pool:
        shown = PREVIEW if panels.wanted else None
        listed = [image.listed for image in images]
        for pictures, predictions in predictor.batches(listed, progress, shown):
            own = [images[picture.index] for picture in pictures]
            waiting.append(
                pool.submit(_measure_batch, run, pictures, predictions, own, predictor.classes, panels, part_evaluator)
            )
            while len(waiting) > 2:
                waiting.popleft().result()
        for future in waiting:
            future.result()
    run.skipped = predictor.reader.skipped
    return run


@torch.inference_mode()
def _measure_batch(
    run: Evaluator,
    pictures: Sequence[LoadedImage],
    predictions: Predictions,
    images: Sequence[AnnotatedImage],
    classes: Sequence[str],
    panels: Panels,
    part_evaluator: PartEvaluator | None,
) -> None:
    found = predictions.keypoints(list(run.predictions))
    kept, truths = [], []
    for index, (image, picture) in enumerate(zip(images, pictures, strict=True)):
        points: dict[float | None, Points] = {
            threshold: keypoints[index].xy for threshold, keypoints in zip(run.predictions, found, strict=True)
        }
        if run.add(image, (picture.width, picture.height), points):
            kept.append(index)
            truths.append(run.ground_truths[-1].visible)
        else:
            truths.append(np.empty((0, 2)))
    panels.add_batch(pictures, found[0], predictions.relevance, truths)
    if part_evaluator is not None and predictions.maps is not None and kept:
        true: list[str | None] = [image.class_name for image in run.images[-len(kept) :]]
        part_evaluator.add(predictions.maps[kept], run.ground_truths[-len(kept) :], true)
    if predictions.maps is not None:
        run.map_size = (predictions.maps.shape[2], predictions.maps.shape[3])
        entropy = feature_map_entropy(predictions.maps[kept])
        run.entropy_sum += float(entropy.nansum())
        run.entropy_count += int((~entropy.isnan()).sum())
    for name, logits in predictions.logits.items():
        if logits is not None:
            predicted = logits[:, : len(classes)].argmax(1).tolist()
            run.hits[name] += [
                classes[predicted[index]] == images[index].class_name
                for index in kept
                if images[index].class_name in classes
            ]


def evaluate_predictions(
    path: Path, images: Sequence[AnnotatedImage], listed: Sequence[tuple[str, str]], progress: Progress
) -> Evaluator:
    """Takes the keypoints from a COCO file; a picture that it leaves out has none.

    Args:
        listed: id and name of every picture of the data set.
    """
    given = read_predictions(path, listed, {image.name for image in images})
    run = Evaluator(given.method, given.k, {given.threshold: []}, left_out=Counter(given.left_out))
    progress.start("eval", len(images))
    for image in images:
        progress.advance(1)
        try:
            size = image_size(image.listed.readable)
        except UnreadableImage as error:
            run.skipped.append((image.name, str(error)))
            progress.warn(f"{image.name} is skipped: {error}")
            continue
        prediction = given.of.get(image.name)
        if prediction is None:
            run.left_out["pictures without predictions, scored as wrong"] += 1
        elif prediction.size not in (None, size):
            raise DatasetError(
                f"{path} gives {image.name} {_pixels(prediction.size)}, and it has {_pixels(size)}: the keypoints are "
                "those of a picture of another size. Score them on the pictures they were made on."
            )
        points = prediction.xy if prediction else np.full((given.k, 2), np.nan)
        kept = run.add(image, size, {given.threshold: points})
        # without a list of classes nobody knows whether a wrong name is a mistake or a class that was not to choose
        if kept and prediction and image.class_name in (given.classes or ()):
            run.hits["accuracy"].append(prediction.class_name == image.class_name)
    return run
