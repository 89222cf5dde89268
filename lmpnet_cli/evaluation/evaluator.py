"""The evaluator: predictions and ground truth, image by image, from a predictor or from a file of keypoints.

1. Unreadable images are skipped with a warning.
2. Landmarks a little outside the image are moved onto its border; those far outside are ignored (CUB has a few). Both
   are counted.
3. With a predictor, every threshold clusters the same maps anew.
"""

from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from lmpnet_cli.data.annotations import AnnotatedImage, Annotations
from lmpnet_cli.data.coco_predictions import read_predictions
from lmpnet_cli.data.images import image_size
from lmpnet_cli.data.listing import UnreadableImage
from lmpnet_cli.data.loader import LoadedImage, rows_by_image
from lmpnet_cli.drawing.panels import Panels
from lmpnet_cli.errors import DatasetError, InputError
from lmpnet_cli.evaluation.object_matching import match_objects
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.pck import GroundTruth, Points
from lmpnet_cli.inference.predictor import Predictions, Predictor
from lmpnet_cli.keypoints import padded_rows
from lmpnet_cli.model.entropy import feature_map_entropy
from lmpnet_cli.model.lmpnet import LMPNetOutput
from lmpnet_cli.progress import Progress

PREVIEW = 480  # longer side in pixels of the images that panels are drawn from
OUTSIDE = 0.1  # share of the side by which a landmark may miss the image


@dataclass
class Evaluator:
    """Predictions and ground truth of the images that are scored.

    Attributes:
        k: number of keypoints of every image; 0 until the last image was added where each has a number of its own.
        predictions: for each threshold, the (k, 2) points of every image; None stands for no threshold, or an unknown
            one.
        ground_truths, images: of the scored images, in the same order.
        hits: for network and replica, whether the class was right, where it could be.
        map_size: of the maps in cells, (0, 0) for keypoints from a file.
        unmatched: number of found objects that belong to no annotated one.
        entropy_sum, entropy_count: over the network's maps that are not zero.
        left_out: annotations and predictions that could not be used, by reason.
    """

    method: str
    k: int
    predictions: dict[float | None, list[Points]]
    ground_truths: list[GroundTruth] = field(default_factory=list)
    images: list[AnnotatedImage] = field(default_factory=list)
    hits: dict[str, list[bool]] = field(default_factory=lambda: {"accuracy": [], "replica_accuracy": []})
    unmatched: int = 0
    entropy_sum: float = 0.0
    entropy_count: int = 0
    map_size: tuple[int, int] = (0, 0)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, image: AnnotatedImage, size: tuple[int, int], points: dict[float | None, Points]) -> bool:
        """Add an image; return False, and do nothing, where all its landmarks are outside.

        Raises:
            DatasetError: when the annotations were made on an image of another size.
        """
        if image.size not in (None, size):
            raise DatasetError(
                f"The annotations say that {image.name} has {_pixels(image.size)}, but it has {_pixels(size)}. Score "
                "them on the images that they were made on."
            )

        landmarks = self._onto_image(image.landmarks, size)
        if np.isnan(landmarks).all():
            self.left_out["images whose landmarks are all outside"] += 1
            return False

        self.ground_truths.append(GroundTruth(landmarks, size, image.bbox))
        self.images.append(image)
        for threshold, found in points.items():
            self.predictions[threshold].append(found)
        return True

    def pad(self) -> None:
        """Add missing keypoints, so that every image has as many as the one with most."""
        found = [points for images in self.predictions.values() for points in images]
        self.k = max([self.k, *map(len, found)])
        for threshold, images in self.predictions.items():
            self.predictions[threshold] = [padded_rows(points, self.k) for points in images]

    def _onto_image(self, landmarks: Points, size: tuple[int, int]) -> Points:
        high = np.array(size) - 1.0
        slack = OUTSIDE * np.array(size)
        far = np.any((landmarks < -slack) | (landmarks > high + slack), axis=1, keepdims=True)
        moved = np.any((landmarks < -0.5) | (landmarks > high + 0.5), axis=1, keepdims=True) & ~far

        self.left_out["landmarks far outside their image"] += int(far.sum())
        self.left_out["landmarks moved onto the border of their image"] += int(moved.sum())
        return np.where(far, np.nan, np.clip(landmarks, 0, high))

    def add_maps(self, output: LMPNetOutput, kept: Sequence[int]) -> None:
        """Add the entropy of the network's maps of those images of a batch that are scored."""
        entropy = feature_map_entropy(output.maps[kept])
        self.map_size = output.map_size
        self.entropy_sum += float(entropy.nansum())
        self.entropy_count += int((~entropy.isnan()).sum())

    def classification(self) -> dict[str, float | None]:
        """Return the share of images with the right class, among those of a class that the model knows, or None."""
        return {name: round(float(np.mean(hits)), 4) if hits else None for name, hits in self.hits.items()}

    def entropy(self) -> float | None:
        """Return the mean entropy of the network's maps over images and filters, in nats; zero maps are ignored."""
        return round(self.entropy_sum / self.entropy_count, 4) if self.entropy_count else None


def images_with_landmarks(annotations: Annotations) -> list[AnnotatedImage]:
    """Return the images with a visible landmark.

    Raises:
        DatasetError: when there are none.
    """
    images = [image for image in annotations.images if len(image.visible)]
    if not images:
        raise DatasetError(
            f"None of the {len(annotations.images)} annotated images has a visible landmark that can be used"
            f"{_reasons(annotations.left_out)}."
        )
    return images


def refuse_nothing(evaluator: Evaluator, images: Sequence[AnnotatedImage]) -> None:
    """Raise `InputError`, with the reasons, when none of the images could be scored."""
    if not evaluator.ground_truths:
        reasons = dict(+evaluator.left_out)
        reasons |= {
            f"unreadable, such as {name}: {reason}": len(evaluator.skipped) for name, reason in evaluator.skipped[:1]
        }
        raise InputError(f"None of the {len(images)} annotated images can be scored{_reasons(reasons)}.")


def _reasons(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{count} {reason}' for reason, count in counts.items())})" if counts else ""


def _pixels(size: tuple[int, int] | None) -> str:
    return "{} x {} pixels".format(*size) if size else "no size"


def evaluate_predictor(
    predictor: Predictor,
    images: Sequence[AnnotatedImage],
    progress: Progress,
    panels: Panels,
    part_evaluator: PartEvaluator | None = None,
) -> Evaluator:
    """Run a predictor over annotated images; a thread scores a batch while the next one is computed.

    Args:
        images: the annotated objects; those of one image have the same name and follow each other.
        part_evaluator: also evaluates the parts of the model, on the same maps.
    """
    evaluator = Evaluator(predictor.method, len(predictor.names), {threshold: [] for threshold in predictor.thresholds})
    objects = [list(group) for _, group in groupby(images, key=lambda image: image.name)]
    progress.start("keypoints", len(objects))
    listed = [group[0].listed for group in objects]
    preview = PREVIEW if panels.wanted else None
    waiting: deque[Future[None]] = deque()

    with ThreadPoolExecutor(1) as pool:
        for loaded, predictions in predictor.batches(listed, progress, preview):
            waiting.append(
                pool.submit(
                    _process, evaluator, loaded, predictions, objects, predictor.classes, panels, part_evaluator
                )
            )
            while len(waiting) > 2:
                waiting.popleft().result()
        for future in waiting:
            future.result()

    evaluator.pad()
    evaluator.skipped = predictor.loader.skipped
    return evaluator


@torch.inference_mode()
def _process(
    evaluator: Evaluator,
    loaded: Sequence[LoadedImage],
    predictions: Predictions,
    objects: Sequence[Sequence[AnnotatedImage]],
    classes: Sequence[str],
    panels: Panels,
    part_evaluator: PartEvaluator | None,
) -> None:
    """Add one batch to the evaluator, its panels and the parts.

    Args:
        objects: the annotated objects of every image of the data set.
    """
    sweep = predictions.sweep()
    scored: list[tuple[int | None, AnnotatedImage, GroundTruth]] = []
    visible: list[Points] = []
    for rows, entries in rows_by_image(loaded):
        annotated = objects[entries[0].index]
        matched = match_objects([entry.window for entry in entries], annotated)
        evaluator.unmatched += sum(not entry.empty for entry in entries) - sum(index is not None for index in matched)
        shown = np.empty((0, 2))
        for image, index in zip(annotated, matched, strict=True):
            row = None if index is None else rows[index]
            points: dict[float | None, Points] = {
                threshold: np.full((evaluator.k, 2), np.nan) if row is None else found[row].xy
                for threshold, found in zip(evaluator.predictions, sweep, strict=True)
            }
            if evaluator.add(image, (entries[0].width, entries[0].height), points):
                scored.append((row, image, evaluator.ground_truths[-1]))
                shown = evaluator.ground_truths[-1].visible
        visible += [shown] * len(entries)
    panels.add_batch(loaded, sweep[0], predictions.relevance, visible)

    kept = [row for row, *_ in scored if row is not None]
    output = predictions.output
    if output is not None:
        evaluator.add_maps(output, kept)
        if part_evaluator is not None and scored:
            part_evaluator.add(
                output,
                [row for row, *_ in scored],
                [truth for *_, truth in scored],
                [image.class_name for _, image, _ in scored],
                [None if row is None else loaded[row].window for row, *_ in scored],
            )

    known = [(row, image.class_name) for row, image, _ in scored if row is not None and image.class_name in classes]
    for name, logits in predictions.logits.items():
        if logits is not None:
            predicted = logits[:, : len(classes)].argmax(1).tolist()
            evaluator.hits[name] += [classes[predicted[row]] == true for row, true in known]


def evaluate_predictions(
    path: Path, images: Sequence[AnnotatedImage], listed: Sequence[tuple[str, str]], progress: Progress
) -> Evaluator:
    """Take the keypoints from a COCO file; an image that the file does not contain has none.

    Args:
        listed: id and name of every image of the data set.
    """
    given = read_predictions(path, listed, {image.name for image in images})
    evaluator = Evaluator(given.method, given.k, {given.threshold: []}, left_out=Counter(given.left_out))
    progress.start("eval", len(images))
    for image in images:
        progress.advance(1)
        try:
            size = image_size(image.listed.readable)
        except UnreadableImage as error:
            evaluator.skipped.append((image.name, str(error)))
            progress.warn(f"{image.name} is skipped: {error}")
            continue

        prediction = given.of.get(image.name)
        if prediction is None:
            evaluator.left_out["images without predictions, scored as wrong"] += 1
        elif prediction.size not in (None, size):
            raise DatasetError(
                f"{path} says that {image.name} has {_pixels(prediction.size)}, but it has {_pixels(size)}. Score the "
                "keypoints on the images that they were made on."
            )

        points = prediction.xy if prediction else np.full((given.k, 2), np.nan)
        kept = evaluator.add(image, size, {given.threshold: points})
        # without a list of classes nobody knows whether a wrong name is a mistake or a class that was not available
        if kept and prediction and image.class_name in (given.classes or ()):
            evaluator.hits["accuracy"].append(prediction.class_name == image.class_name)
    return evaluator
