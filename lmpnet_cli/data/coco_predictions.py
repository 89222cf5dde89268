"""Keypoints of a COCO file, of `discover` or of another tool, put beside the annotations they are scored against.

Two kinds of file are read: annotation files like `keypoints.json`, whose images are matched by name, and COCO result
lists (`[{"image_id": 1, "keypoints": [...], "score": 0.9}, ...]`), whose `image_id` is that of the annotations.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.errors import DatasetError, reading_document
from lmpnet_cli.io.json_input import read_json


@dataclass(frozen=True)
class CocoPrediction:
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
class CocoPredictions:
    """A file of predictions, by the names of the annotated images.

    Attributes:
        method, threshold: as the file's `info` has them.
        classes: those that its model knew, where the file says so.
        left_out: how many of its entries could not be used, by reason.
    """

    method: str
    threshold: float | None
    k: int
    of: dict[str, CocoPrediction]
    classes: tuple[str, ...] | None
    left_out: dict[str, int]


def read_predictions(path: Path, listed: Sequence[tuple[str, str]], scored: Collection[str]) -> CocoPredictions:
    """Reads keypoints for pictures; of several objects on one picture the one with the highest score counts.

    Args:
        listed: id and name of every picture of the data set, so that a name is not taken for another's.
        scored: the names that are wanted.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it is no COCO file, or names none of the pictures.
    """
    left_out: Counter[str] = Counter()
    advice = "Name the keypoints.json of `lmpnet discover`, a COCO annotation file, or a COCO result list."
    with reading_document(path, "holds no COCO keypoints", advice):
        document = read_json(path)
        results_only = isinstance(document, list)
        named: list[tuple[str | None, dict[str, Any], dict[str, Any]]]
        entries = document if results_only else document["annotations"]
        entries = [entry for entry in entries if entry.get("keypoints")]
        info = {} if results_only else document.get("info") or {}
        if results_only:
            names = dict(listed)
            named = [(names.get(str(entry["image_id"])), entry, {}) for entry in entries]
        else:
            files = {image["id"]: image for image in document["images"]}
            match = _match([image["file_name"] for image in files.values()], [name for _, name in listed], left_out)
            described = [(entry, files.get(entry["image_id"], {})) for entry in entries]
            named = [(match.get(file.get("file_name", "")), entry, file) for entry, file in described]
        best = _best(named, scored, left_out)
        k = max((len(entry["keypoints"]) // 3 for entry, _ in best.values()), default=0)
        predictions = {
            name: _prediction(entry, file, k, results_only, left_out) for name, (entry, file) in best.items()
        }
        threshold, classes = info.get("thr"), info.get("classes")
        applies = isinstance(threshold, int | float) and math.isfinite(threshold)
        if not applies:
            threshold = None
    if not predictions:
        raise DatasetError(
            f"{path} has no keypoints for any of the {len(scored)} annotated pictures. Its images must have the same "
            "file names, or a result list the same image_id, as the annotations."
        )
    return CocoPredictions(
        str(info.get("method") or path.stem),
        None if threshold is None else float(threshold),
        k,
        predictions,
        tuple(map(str, classes)) if isinstance(classes, list) else None,
        +left_out,
    )


def _match(files: Sequence[str], listed: Sequence[str], left_out: Counter[str]) -> dict[str, str]:
    """File name -> the picture it means, which may lie some folders higher or lower there; ambiguous ones are left out.

    A name that is equal counts before one that merely ends alike.
    """
    by_last_part: dict[str, list[str]] = {}
    for name in listed:
        by_last_part.setdefault(PurePosixPath(name).name, []).append(name)
    match: dict[str, str] = {}
    claims: dict[str, list[str]] = {}
    for file in files:
        candidates = by_last_part.get(PurePosixPath(file).name, [])
        if file in candidates:
            match[file] = file
            continue
        fitting = [each for each in candidates if _end_alike(PurePosixPath(each).parts, PurePosixPath(file).parts)]
        if len(fitting) == 1:
            claims.setdefault(fitting[0], []).append(file)
        else:
            left_out["predicted pictures whose name fits several"] += len(fitting) > 1
    for name, claimants in claims.items():
        if len(claimants) == 1 and name not in match:
            match[claimants[0]] = name
        else:
            left_out["predicted pictures whose name fits several"] += len(claimants)
    return match


def _end_alike(first: Sequence[str], second: Sequence[str]) -> bool:
    shared = min(len(first), len(second))
    return first[-shared:] == second[-shared:]


def _best(
    named: Sequence[tuple[str | None, dict[str, Any], dict[str, Any]]],
    scored: Collection[str],
    left_out: Counter[str],
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Name of the picture -> its best entry, and what the file says of the picture."""
    best: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for name, entry, file in named:
        if name is None or name not in scored:
            left_out["predictions for pictures that are not scored"] += 1
            continue
        left_out["further objects on a picture"] += name in best
        if name not in best or _confidence(entry) > _confidence(best[name][0]):
            best[name] = entry, file
    return best


def _confidence(entry: dict[str, Any]) -> float:
    if entry.get("score") is not None:
        return float(entry["score"])
    scores = [score for score in entry.get("keypoint_scores") or () if score is not None]
    return float(np.mean(scores)) if scores else 0.0


def _prediction(
    entry: dict[str, Any], file: dict[str, Any], k: int, results_only: bool, left_out: Counter[str]
) -> CocoPrediction:
    points = np.asarray(entry["keypoints"], dtype=np.float64).reshape(-1, 3)
    given, finite = points[:, 2] > 0, np.isfinite(points[:, :2]).all(1)
    if results_only:  # there v may be anything, and COCO's own evaluation does not look at it
        given |= (points[:, :2] != 0).any(1)
    left_out["predicted points that are no finite numbers"] += int((given & ~finite).sum())
    xy = np.full((k, 2), np.nan)
    xy[: len(points)] = np.where((given & finite)[:, None], points[:, :2], np.nan)
    size = (int(file["width"]), int(file["height"])) if file.get("width") and file.get("height") else None
    predicted = entry.get("predicted_class")
    return CocoPrediction(xy, size, predicted.get("name") if isinstance(predicted, dict) else None)
