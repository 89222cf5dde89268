"""Metrics of part discovery: landmark regression, NMI and ARI, consistency, visibility.

Definitions are those of the literature; each figure carries the name of its protocol, since figures of different
protocols cannot share a column.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    adjusted_rand_score,
    average_precision_score,
    normalized_mutual_info_score,
    precision_recall_curve,
)
from torch import Tensor
from torch.nn import functional

Points = NDArray[np.float64]
ROUNDING = 1e-6  # singular values that are smaller, as a share of the largest one, count as zero (as in scikit-learn)


@dataclass(frozen=True)
class Regression:
    """The landmark regression error of protocol A.

    Attributes:
        error: mean distance over all visible landmarks of the test images, in percent of the box (micro average).
        by_landmark: (P,) the same for each landmark; NaN for one that cannot be fitted or is nowhere visible.
    """

    error: float
    by_landmark: NDArray[np.float64]


@dataclass(frozen=True)
class Retrieval:
    """How often the same part is at the same landmark, in percent; NaN without two images of different classes.

    Attributes:
        chance: the same for two keypoints that were drawn at random from all keypoints of all images.
    """

    recall: float
    chance: float


def in_box(points: Points, box: NDArray[np.float64]) -> Points:
    """Convert pixels to shares of the true box, (N, k, 2) and (N, 4) x, y, width, height -> (N, k, 2)."""
    return (points - box[:, None, :2]) / box[:, None, 2:]


def landmark_regression(fit: tuple[Points, Points], test: tuple[Points, Points]) -> Regression:
    """Measure how well landmarks follow, linearly, from the keypoints (protocol A: Huang and Li, PDiscoNet).

    For each landmark, ordinary least squares without intercept, of standardised on standardised coordinates, is fitted
    on the images that show it. A missing keypoint counts as one at its mean.

    Args:
        fit, test: keypoints (N, k, 2) and landmarks (N, P, 2), as shares of the box; NaN rows are missing or hidden.

    Raises:
        ValueError: when nothing is visible on the test images.
    """
    return _summary(_errors(fit, test))


def cross_regression(keypoints: Points, landmarks: Points, folds: int = 5) -> Regression:
    """Measure the same without a training split: image i is scored by a fit on the folds other than i % folds.

    Raises:
        ValueError: when nothing can be scored.
    """
    errors = np.full(landmarks.shape[:2], np.nan)
    fold = np.arange(len(landmarks)) % folds
    for number in range(min(folds, len(landmarks))):
        own = fold == number
        errors[own] = _errors((keypoints[~own], landmarks[~own]), (keypoints[own], landmarks[own]))
    return _summary(errors)


def _errors(fit: tuple[Points, Points], test: tuple[Points, Points]) -> Points:
    """Return (N, P) errors in percent; NaN where a landmark is hidden or was not visible in any fitted image."""
    keypoints, landmarks = (each.reshape(len(each), -1, 2) for each in fit)
    found, truth = test
    errors = np.full(truth.shape[:2], np.nan)
    for part in range(truth.shape[1]):
        shown, wanted = ~np.isnan(landmarks[:, part, 0]), ~np.isnan(truth[:, part, 0])
        if not shown.any() or not wanted.any():
            continue
        known, given = _standardized(keypoints[shown].reshape(shown.sum(), -1), found[wanted].reshape(wanted.sum(), -1))
        mean, scale = _mean_and_scale(landmarks[shown, part])
        line = np.linalg.lstsq(known, (landmarks[shown, part] - mean) / scale, rcond=ROUNDING)[0]
        guess = given @ line * scale + mean
        errors[wanted, part] = 100 * np.linalg.norm(guess - truth[wanted, part], axis=1)
    return errors


def _standardized(fit: Points, test: Points) -> tuple[Points, Points]:
    """Return both sets of columns on the scale of the first one; what is missing is at its mean."""
    mean, scale = _mean_and_scale(fit)
    return np.nan_to_num((fit - mean) / scale), np.nan_to_num((test - mean) / scale)


def _mean_and_scale(columns: Points) -> tuple[Points, Points]:
    """Return mean and standard deviation of each column, NaN left out; 1 for one that does not vary."""
    known = ~np.isnan(columns)
    counts = np.maximum(known.sum(0), 1)
    mean = np.where(known, columns, 0).sum(0) / counts
    variance = (np.where(known, columns - mean, 0) ** 2).sum(0) / counts
    rounding = (np.finfo(np.float64).eps * counts * mean) ** 2  # what a constant column may seem to vary by
    return mean, np.sqrt(np.where(variance > rounding, variance, 1))


def _summary(errors: Points) -> Regression:
    if np.isnan(errors).all():
        raise ValueError("expected landmarks that are visible, received none")
    counts = (~np.isnan(errors)).sum(0)
    by_landmark = np.where(counts > 0, np.nansum(errors, 0) / np.maximum(counts, 1), np.nan)
    return Regression(float(np.nanmean(errors)), by_landmark)


def agreement(landmarks: NDArray[np.int64], parts: NDArray[np.int64]) -> tuple[float, float]:
    """Compute NMI (arithmetic mean) and ARI of pairs (landmark, part), in percent.

    >>> agreement(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))
    (100.0, 100.0)
    """
    nmi = normalized_mutual_info_score(landmarks, parts)
    return 100 * float(nmi), 100 * float(adjusted_rand_score(landmarks, parts))


def voronoi(keypoints: Points, landmarks: Points) -> tuple[float, float]:
    """Compute NMI and ARI where every visible landmark belongs to the keypoint nearest to it ("Voronoi-NMI").

    Args:
        keypoints: (N, k, 2) pixels; NaN rows are missing.
        landmarks: (N, P, 2) pixels; NaN rows are hidden. Those of an image without a keypoint form one more group.
    """
    distances = np.linalg.norm(landmarks[:, :, None] - keypoints[:, None], axis=3)  # (N, P, k)
    distances = np.where(np.isnan(distances), np.inf, distances)

    nearest = np.where(np.isinf(distances.min(2)), keypoints.shape[1], distances.argmin(2))
    visible = ~np.isnan(landmarks[..., 0])
    return agreement(np.broadcast_to(np.arange(landmarks.shape[1]), visible.shape)[visible], nearest[visible])


def read_maps(shares: Tensor, landmarks: Points) -> NDArray[np.int64]:
    """Find the part that contains each landmark ("map-based"): the strongest of the bilinearly enlarged maps.

    Args:
        shares: (N, K, H, W) of each part, background included.
        landmarks: (N, P, 2) x and y as shares of the mapped image; NaN rows are hidden.

    Returns:
        (N, P) index of the part; -1 for hidden landmarks.
    """
    hidden = np.isnan(landmarks[..., 0])
    grid = torch.from_numpy(np.where(hidden[..., None], 0, 2 * landmarks - 1))[:, :, None].to(shares)

    values = functional.grid_sample(shares, grid, padding_mode="border", align_corners=False)[..., 0]  # (N, K, P)
    return np.where(hidden, -1, values.argmax(1).cpu().numpy())


def consistency(keypoints: Points, landmarks: Points, region: float = 36 / 224, rate: float = 0.8) -> float:
    """Compute the share of keypoints that are mostly on one and the same landmark (EvalProtoPNet), in percent.

    A keypoint hits a landmark that is within `region` of it in x and in y; it is consistent when there is a landmark
    that it hits on at least `rate` of the images where the keypoint is found and the landmark visible.

    Args:
        keypoints, landmarks: (N, k, 2) and (N, P, 2) as shares of the box.
    """
    hits, both = region_hits(keypoints, landmarks, region)

    rates = hits.sum(0) / np.maximum(both.sum(0), 1)
    return 100 * float((rates.max(1) >= rate).mean())


def region_hits(
    keypoints: Points, landmarks: Points, region: float = 36 / 224
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell, (N, k, P), whether a keypoint's region contains a landmark, and whether both are present."""
    away = np.abs(keypoints[:, :, None] - landmarks[:, None]).max(-1)
    return away <= region, ~np.isnan(away)


def part_retrieval(keypoints: Points, landmarks: Points, groups: Sequence[int], classes: Sequence[Any]) -> Retrieval:
    """Measure how often part i of two images of different classes is at the same landmark ("part-to-part R@1").

    The landmark of a keypoint is the visible one nearest to it; those with the same number in `groups` count as one.

    Args:
        keypoints, landmarks: (N, k, 2) and (N, P, 2) as shares of the box; NaN rows are missing.
        groups: P numbers.
        classes: of the images.
    """
    distances = np.linalg.norm(keypoints[:, :, None] - landmarks[:, None], axis=3)  # (N, k, P)
    distances = np.where(np.isnan(distances), np.inf, distances)
    count = max(groups) + 1
    nearest = np.where(np.isinf(distances.min(2)), count, np.array(groups)[distances.argmin(2)])  # (N, k)
    is_at = np.eye(count + 1)[nearest][..., :count]  # (N, k, landmarks)

    # pairs of all images, less those of one class, of which those at the same landmark
    kinds = np.unique(np.array(classes, dtype=str), return_inverse=True)[1]
    by_class = np.stack([is_at[kinds == kind].sum(0) for kind in range(kinds.max() + 1)])  # (classes, k, landmarks)
    same = (by_class.sum(0) ** 2 - (by_class**2).sum(0)).sum()
    shown = by_class.sum(2)  # (classes, k)
    pairs = (shown.sum(0) ** 2 - (shown**2).sum(0)).sum()
    if not pairs:
        return Retrieval(math.nan, math.nan)
    overall = is_at.sum((0, 1)) / is_at.sum()
    return Retrieval(100 * float(same / pairs), 100 * float((overall**2).sum()))


def visibility(scores: NDArray[np.float64], shown: NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    """Measure how well scores tell whether a part is visible.

    Args:
        scores, shown: of the same pairs of image and keypoint.
        threshold: from which on a keypoint counts as seen.

    Returns:
        Average precision, the share of visible pairs (what a random score reaches), precision and recall at the
        threshold, in percent; `curve` holds up to 101 points (recall, precision, score).
    """
    precision, recall, values = precision_recall_curve(shown, scores)
    seen = scores >= threshold

    picked = np.unique(np.linspace(0, len(values) - 1, 101).round().astype(int))
    return {
        "average_precision": 100 * float(average_precision_score(shown, scores)),
        "visible": 100 * float(shown.mean()),
        "precision": 100 * float(shown[seen].mean()) if seen.any() else None,
        "recall": 100 * float(seen[shown].mean()) if shown.any() else None,
        "curve": [
            [round(100 * float(recall[i]), 2), round(100 * float(precision[i]), 2), round(float(values[i]), 4)]
            for i in picked
        ],
    }


def flip_error(keypoints: Points, of_flipped: Points, widths: NDArray[np.float64], sides: NDArray[np.float64]) -> float:
    """Measure how far keypoints move when the image is mirrored, in percent of a side; the mean over those found twice.

    Args:
        keypoints, of_flipped: (N, k, 2) pixels, of the images and of their mirror images.
        widths, sides: (N,) of the images, in pixels: the width, and the side to divide by.
    """
    back = of_flipped.copy()
    back[..., 0] = widths[:, None] - 1 - back[..., 0]
    return float(np.nanmean(100 * np.linalg.norm(keypoints - back, axis=2) / sides[:, None]))
