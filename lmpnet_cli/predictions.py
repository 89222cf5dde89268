"""Keypoints of a COCO file, of `discover` or of another tool, put beside the annotations they are scored against.

Two kinds of file are read: annotation files like `keypoints.json`, whose images are matched by name, and COCO result
lists (`[{"image_id": 1, "keypoints": [...], "score": 0.9}, ...]`), whose `image_id` is that of the annotations.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.annotations import AnnotatedImage
from lmpnet_cli.errors import DatasetError, InputError


@dataclass(frozen=True)
class Prediction:
    """What a file says of one image.

    Attributes:
        xy: (K, 2) pixels; NaN rows are missing. K is the same for all images of a file.
        size: width, height that the file gives, or None.
        class_name: the predicted class, or None.
    """

    xy: NDArray[np.float64]
    size: tuple[int, int] | None
    class_name: str | None


@dataclass(frozen=True)
class Predictions:
    """A file of predictions, by the names of the annotated images.

    Attributes:
        method, threshold: as the file's `info` has them.
        left_out: how many of its entries could not be used, by reason.
    """

    method: str
    threshold: float | None
    k: int
    of: dict[str, Prediction]
    left_out: dict[str, int]


def read_predictions(path: Path, images: Sequence[AnnotatedImage]) -> Predictions:
    """Reads keypoints for these images; of several objects on one image the one with the highest score counts.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it is no COCO file, or names none of the images.
    """
    left_out: Counter[str] = Counter()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        listed = isinstance(document, list)
        entries = [entry for entry in (document if listed else document["annotations"]) if entry.get("keypoints")]
        info = {} if listed else document.get("info") or {}
        files = {} if listed else {image["id"]: image for image in document["images"]}
        found = _by_image(entries, files, images, left_out)
        k = max((len(entry["keypoints"]) // 3 for entry in entries), default=0)
        predictions = {name: _prediction(entry, file, k, left_out) for name, (entry, file) in found.items()}
        threshold = info.get("thr")
        threshold = None if threshold is None else float(threshold)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{path} holds no COCO keypoints ({f'{type(error).__name__}: {error}'[:200]}). Name the keypoints.json of "
            "`lmpnet discover`, a COCO annotation file, or a COCO result list."
        ) from error
    if not predictions:
        raise DatasetError(
            f"{path} has no keypoints for any of the {len(images)} annotated pictures. Its images must have the same "
            "file names, or a result list the same image_id, as the annotations."
        )
    return Predictions(str(info.get("method") or path.stem), threshold, k, predictions, +left_out)


def _by_image(
    entries: Sequence[dict[str, Any]],
    files: dict[Any, dict[str, Any]],
    images: Sequence[AnnotatedImage],
    left_out: Counter[str],
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Name of the annotated image -> its best entry, and what the file says of the image."""
    names_of_ids = {image.id: image.name for image in images}
    by_last_part: dict[str, list[str]] = {}
    for image in images:
        by_last_part.setdefault(PurePosixPath(image.name).name, []).append(image.name)
    best: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for entry in entries:
        file = files.get(entry["image_id"], {})
        if file:
            name = _same_file(file["file_name"], by_last_part)
        else:
            name = None if files else names_of_ids.get(str(entry["image_id"]))
        if name is None:
            left_out["predictions for pictures that are not scored"] += 1
            continue
        left_out["further objects on a picture"] += name in best
        if name not in best or _confidence(entry) > _confidence(best[name][0]):
            best[name] = entry, file
    return best


def _same_file(name: str, by_last_part: dict[str, list[str]]) -> str | None:
    """The one annotated image of this name, which may lie some folders higher or lower there."""
    parts = PurePosixPath(name).parts
    candidates = by_last_part.get(parts[-1], [])
    if name in candidates:
        return name
    length = [min(len(parts), len(PurePosixPath(each).parts)) for each in candidates]
    fitting = [
        each
        for each, shared in zip(candidates, length, strict=True)
        if PurePosixPath(each).parts[-shared:] == parts[-shared:]
    ]
    return fitting[0] if len(fitting) == 1 else None


def _confidence(entry: dict[str, Any]) -> float:
    if entry.get("score") is not None:
        return float(entry["score"])
    scores = [score for score in entry.get("keypoint_scores") or () if score is not None]
    return float(np.mean(scores)) if scores else 0.0


def _prediction(entry: dict[str, Any], file: dict[str, Any], k: int, left_out: Counter[str]) -> Prediction:
    points = np.asarray(entry["keypoints"], dtype=np.float64).reshape(-1, 3)
    given, finite = points[:, 2] > 0, np.isfinite(points[:, :2]).all(1)
    left_out["predicted points that are no finite numbers"] += int((given & ~finite).sum())
    xy = np.full((k, 2), np.nan)
    xy[: len(points)] = np.where((given & finite)[:, None], points[:, :2], np.nan)
    size = (int(file["width"]), int(file["height"])) if file.get("width") and file.get("height") else None
    return Prediction(xy, size, (entry.get("predicted_class") or {}).get("name"))
