"""Read predicted keypoints from a COCO file, written by `discover` or another tool, to score them.

Two kinds of file are read: annotation files like `keypoints.json`, whose images are matched to the annotated ones by
name, and COCO result lists (`[{"image_id": 1, "keypoints": [...], "score": 0.9}, ...]`), whose `image_id` is that of
the annotations.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lmpnet_cli.data.names import match_names
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.io.coco_schema import CocoAnnotation, CocoImage, predicted_class, refuse_shared_ids
from lmpnet_cli.io.json_input import SchemaError, check, dict_in, read_document


@dataclass(frozen=True)
class CocoPrediction:
    """The predicted keypoints of one image.

    Attributes:
        xy: (K, 2) pixels; NaN rows are missing. K is the same for all images of a file.
        size: width and height as the file states them, or None.
        class_name: the predicted class, or None.
    """

    xy: NDArray[np.float64]
    size: tuple[int, int] | None
    class_name: str | None


@dataclass(frozen=True)
class CocoPredictions:
    """The predictions of a file.

    Attributes:
        method, threshold: as stated in the file's `info`.
        of: the prediction for each annotated image, by name.
        classes: class names of the model that made them, where the file states them.
        left_out: number of entries that could not be used, by reason.
    """

    method: str
    threshold: float | None
    k: int
    of: dict[str, CocoPrediction]
    classes: tuple[str, ...] | None
    left_out: dict[str, int]


class _AnnotationFile(Struct, kw_only=True):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    info: Any = None


_DOCUMENT: Any = list[CocoAnnotation] | _AnnotationFile


@dataclass(frozen=True)
class _Entry:
    """A predicted object, with the name of the annotated image it belongs to and the file's own image, if any."""

    name: str | None
    annotation: CocoAnnotation
    image: CocoImage | None


def read_predictions(path: Path, listed: Sequence[tuple[str, str]], scored: Collection[str]) -> CocoPredictions:
    """Read the predicted keypoints of images; of several objects in an image the one with the highest score counts.

    Args:
        listed: id and name of every image of the data set, so that a name is not matched to the wrong image.
        scored: the names of the images that are scored.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it is not a COCO file, gives one id to two images, or has no keypoints for any of the images.
    """
    advice = "Pass the keypoints.json of `lmpnet discover`, a COCO annotation file, or a COCO result list."
    document = read_document(path, _DOCUMENT, "contains no COCO keypoints", advice)
    results_only = isinstance(document, list)
    if not results_only:
        refuse_shared_ids(path, ((image.id, image.file_name) for image in document.images))

    left_out: Counter[str] = Counter()
    entries = _result_entries(document, listed) if results_only else _file_entries(document, listed, left_out)

    best = _best(entries, scored, left_out)
    if not best:
        theirs = _called(document)
        ours = next(((str(image_id), name) for image_id, name in listed if name in scored), ("", ""))
        raise DatasetError(
            f"{path} has no keypoints for any of the {len(scored)} annotated images: its first entry belongs to "
            f"{theirs:.100}, and the annotations list {ours[1]:.100} with id {ours[0]:.40}. Its images must have the "
            "same file names as the annotations, or a result list the same image_id."
        )

    k = max(len(entry.annotation.keypoints or ()) // 3 for entry in best.values())
    predictions = {name: _prediction(entry, k, results_only, left_out) for name, entry in best.items()}
    info = {} if results_only else dict_in(document.info)
    classes = info.get("classes")
    return CocoPredictions(
        str(info.get("method") or path.stem),
        _threshold(info),
        k,
        predictions,
        tuple(map(str, classes)) if isinstance(classes, list) else None,
        +left_out,
    )


def _result_entries(results: Sequence[CocoAnnotation], listed: Sequence[tuple[str, str]]) -> list[_Entry]:
    names = dict(listed)
    return [_Entry(names.get(str(result.image_id)), result, None) for result in results if result.keypoints]


def _file_entries(file: _AnnotationFile, listed: Sequence[tuple[str, str]], left_out: Counter[str]) -> list[_Entry]:
    images = {image.id: image for image in file.images}
    match = match_names([image.file_name for image in images.values()], [name for _, name in listed], left_out)

    entries = []
    for annotation in file.annotations:
        if annotation.keypoints:
            image = images.get(annotation.image_id)
            entries.append(_Entry(match.get(image.file_name) if image else None, annotation, image))
    return entries


def _called(document: Any) -> str:
    """Return what a file calls the image of its first entry, for a message."""
    if isinstance(document, list):
        return f"image_id {document[0].image_id}" if document else "no image"
    return f"the image {document.images[0].file_name}" if document.images else "no image"


def _threshold(info: dict[str, Any]) -> float | None:
    """Return the erasing distance of the run that made the file, where it had one."""
    try:
        threshold = check(info.get("thr"), float)
    except SchemaError:  # none, or another program's
        return None
    return threshold if math.isfinite(threshold) else None


def _best(entries: Iterable[_Entry], scored: Collection[str], left_out: Counter[str]) -> dict[str, _Entry]:
    """Return the entry with the highest score for each image that is scored."""
    best: dict[str, _Entry] = {}
    for entry in entries:
        if entry.name is None or entry.name not in scored:
            left_out["predictions for images that are not scored"] += 1
            continue
        known = best.get(entry.name)
        left_out["further objects in an image"] += known is not None
        if known is None or _confidence(entry.annotation) > _confidence(known.annotation):
            best[entry.name] = entry
    return best


def _confidence(annotation: CocoAnnotation) -> float:
    if annotation.score is not None:
        return annotation.score
    scores = [score for score in annotation.keypoint_scores or () if score is not None]
    return float(np.mean(scores)) if scores else 0.0


def _prediction(entry: _Entry, k: int, results_only: bool, left_out: Counter[str]) -> CocoPrediction:
    points = np.array(entry.annotation.keypoints, dtype=np.float64).reshape(-1, 3)
    given, finite = points[:, 2] > 0, np.isfinite(points[:, :2]).all(1)
    if results_only:  # there v may be anything: COCO's own evaluation ignores it
        given |= (points[:, :2] != 0).any(1)
    left_out["predicted points that are not finite numbers"] += int((given & ~finite).sum())

    xy = np.full((k, 2), np.nan)
    xy[: len(points)] = np.where((given & finite)[:, None], points[:, :2], np.nan)
    size = entry.image.size if entry.image else None
    return CocoPrediction(xy, size, predicted_class(entry.annotation).name)
