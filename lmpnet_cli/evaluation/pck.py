"""Greedy PCK (LMPNet, section 4) and what makes it readable: one-to-one matching, coverage and duplicates.

Distances are measured in pixels of the original image and compared with `<`; a missing keypoint is wrong; only visible
landmarks count (docs/papers.md L18).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist

Points = NDArray[np.float64]


def greedy_pck(predicted: Points, truth: Points, tolerance: float, one_to_one: bool = False) -> NDArray[np.bool_]:
    """Tell which predicted keypoints are correct: nearer than the tolerance to a landmark.

    Args:
        predicted: (k, 2) pixels; NaN rows are missing and never correct.
        truth: (n, 2) pixels of the landmarks; NaN rows are not visible and match nothing.
        tolerance: in pixels; distances are compared with `<`.
        one_to_one: each landmark counts once; the assignment with most matches is taken and, among those, the one
            with the smallest sum of distances.

    Returns:
        (k,) of bool.

    >>> greedy_pck(np.array([[0., 0.], [1., 0.]]), np.array([[0., 0.]]), 2.0, one_to_one=True)
    array([ True, False])
    """
    predicted, truth = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if predicted.ndim != 2 or truth.ndim != 2 or predicted.shape[1] != 2 or truth.shape[1] != 2:
        raise ValueError(f"expected arrays (k, 2) and (n, 2), received {predicted.shape} and {truth.shape}")

    distances = cdist(predicted, truth)
    near = distances < tolerance  # NaN is never near
    return _one_to_one(distances, near) if one_to_one else np.asarray(near.any(axis=1))


def _one_to_one(distances: Points, near: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows of a (k, n) table of distances are matched; `near` says which pairs may be."""
    if near.sum(0).max(initial=0) <= 1:
        return np.asarray(near.any(axis=1))  # no two compete for the same landmark

    # a match that is not near costs more than all near ones together, so their number comes first
    farthest = distances[near].max(initial=0.0)
    cost = np.where(near, distances, (min(distances.shape) + 1) * (farthest + 1.0))
    rows, columns = linear_sum_assignment(cost)
    correct = np.zeros(len(distances), dtype=np.bool_)
    correct[rows] = near[rows, columns]
    return correct


def close_pairs(predicted: Points, tolerances: NDArray[np.float64]) -> tuple[int, int]:
    """Count the pairs of found predictions of one image that are closer than its tolerance, and all pairs.

    Args:
        predicted: (N, k, 2) pixels; NaN rows are missing.
        tolerances: (N,) in pixels.
    """
    close = pairs = 0
    for points, tolerance in zip(predicted, tolerances, strict=True):  # the pairs of all images would fill the memory
        distances = pdist(points)
        close += int((distances < tolerance).sum())
        pairs += int((~np.isnan(distances)).sum())
    return close, pairs


@dataclass(frozen=True)
class GroundTruth:
    """What scoring needs to know about one image.

    Attributes:
        landmarks: (P, 2) pixels, P the same for all images; NaN rows are not visible.
        size: width, height in pixels.
        bbox: x, y, width, height, or None.
    """

    landmarks: Points
    size: tuple[int, int]
    bbox: tuple[float, float, float, float] | None

    @property
    def visible(self) -> Points:
        """Return the (V, 2) visible landmarks alone."""
        return self.landmarks[~np.isnan(self.landmarks[:, 0])]


def score(
    predictions: Sequence[Points], ground_truths: Sequence[GroundTruth], alpha: float, seed: int = 0
) -> dict[str, Any]:
    """Compute one row of results over all images, in percent (the keys of `metrics.json`).

    Args:
        predictions: (k, 2) for each image; NaN rows are missing.
        alpha: tolerance as a share of the shorter image side, or of the longer box side.

    Returns:
        The figures; those by box are None where no image has a box. `landmark_recall` has one entry for each landmark:
        the share of the images showing it on which a prediction reaches it, or None where no image shows it.
    """
    points = np.array(predictions)  # (N, k, 2)
    landmarks = np.array([truth.landmarks for truth in ground_truths])  # (N, P, 2)
    found, visible = ~np.isnan(points[..., 0]), ~np.isnan(landmarks[..., 0])  # (N, k), (N, P)
    distances = np.array([cdist(*each) for each in zip(points, landmarks, strict=True)])  # (N, k, P)
    by_side = np.array([alpha * min(truth.size) for truth in ground_truths])
    by_box = np.array([alpha * max(truth.bbox[2:]) if truth.bbox else np.nan for truth in ground_truths])

    row: dict[str, Any] = {"found": round(float(found.sum(1).mean()), 4)}
    for name, tolerances in (("greedy_pck", by_side), ("greedy_pck_bbox", by_box)):
        known = ~np.isnan(tolerances)
        near = distances < tolerances[:, None, None]  # NaN is never near
        matched = np.array([_one_to_one(*each) for each in zip(distances, near, strict=True)])
        for suffix, hits in (("", np.asarray(near.any(2))), ("_one_to_one", matched)):
            row[f"{name}{suffix}"] = _summary(hits[known], found[known], seed) if known.any() else None

    reached = (distances < by_side[:, None, None]).any(1)  # (N, P)
    row["coverage"] = _share(reached.sum(), visible.sum())
    row["duplicate_rate"] = _share(*close_pairs(points, by_side))
    row["landmark_recall"] = [_share(*each) for each in zip(reached.sum(0), visible.sum(0), strict=True)]
    return row


def _summary(hits: NDArray[np.bool_], found: NDArray[np.bool_], seed: int) -> dict[str, object]:
    """Summarise an (N, k) table of hits and one of what was found in percent, with a bootstrap over images."""
    means = hits.mean(1)
    low, high = np.percentile(_bootstrap(len(means), seed) @ means / len(means), [2.5, 97.5])
    return {
        "kp": [_share(column.sum(), len(column)) for column in hits.T],
        "mean": _share(hits.sum(), hits.size),
        "found_only_mean": _share(hits.sum(), found.sum()),
        "ci95": [round(100 * float(low), 2), round(100 * float(high), 2)],
    }


@lru_cache(maxsize=1)
def _bootstrap(images: int, seed: int) -> NDArray[np.float64]:
    """Count, (1000, images), how often each image is in each draw; the same draws for every row of a table."""
    random = np.random.default_rng(seed)
    draws = (random.integers(images, size=images) for _ in range(1000))
    return np.array([np.bincount(draw, minlength=images) for draw in draws], dtype=np.float64)


def _share(part: float, whole: float) -> float | None:
    """Return a share in percent, or None of nothing."""
    return round(100 * float(part / whole), 2) if whole else None
