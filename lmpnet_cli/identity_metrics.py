"""Does a keypoint mean the same part in every picture? Landmark regression, NMI and ARI, flip equivariance.

Definitions are those of the literature on part discovery; each figure carries the name of its protocol, for figures of
different protocols cannot share a column.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.preprocessing import StandardScaler

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Regression:
    """Landmark regression error, protocol A.

    Attributes:
        error: mean distance over all visible landmarks of the test images, in percent of the box (micro average).
        by_landmark: (P,) the same for each landmark; NaN for one that cannot be fitted or is nowhere visible.
    """

    error: float
    by_landmark: NDArray[np.float64]


def in_box(points: Points, box: NDArray[np.float64]) -> Points:
    """Pixels as shares of the true box, (N, k, 2) and (N, 4) x, y, width, height -> (N, k, 2)."""
    return (points - box[:, None, :2]) / box[:, None, 2:]


def landmark_regression(fit: tuple[Points, Points], test: tuple[Points, Points]) -> Regression:
    """How well annotated landmarks follow, linearly, from the keypoints (protocol A: Huang and Li, PDiscoNet).

    For each landmark an ordinary least squares fit without intercept, of standardised on standardised coordinates, on
    the images that show it. A missing keypoint counts as one at its mean.

    Args:
        fit, test: keypoints (N, k, 2) and landmarks (N, P, 2), as shares of the box; NaN rows are missing or hidden.

    Raises:
        ValueError: when nothing is visible on the test images.
    """
    keypoints, landmarks = (each.reshape(len(each), -1, 2) for each in fit)
    found, truth = test
    errors = np.full(truth.shape[:2], np.nan)
    for part in range(truth.shape[1]):
        shown, wanted = ~np.isnan(landmarks[:, part, 0]), ~np.isnan(truth[:, part, 0])
        if not shown.any() or not wanted.any():
            continue
        inputs, outputs = StandardScaler(), StandardScaler()
        known = np.nan_to_num(inputs.fit_transform(keypoints[shown].reshape(shown.sum(), -1)))
        goal = outputs.fit_transform(landmarks[shown, part])
        line = LinearRegression(fit_intercept=False).fit(known, goal)
        given = np.nan_to_num(inputs.transform(found[wanted].reshape(wanted.sum(), -1)))
        guess = outputs.inverse_transform(line.predict(given))
        errors[wanted, part] = 100 * np.linalg.norm(guess - truth[wanted, part], axis=1)
    if np.isnan(errors).all():
        raise ValueError("expected landmarks that are visible, received none")
    counts = (~np.isnan(errors)).sum(0)
    by_landmark = np.where(counts > 0, np.nansum(errors, 0) / np.maximum(counts, 1), np.nan)
    return Regression(float(np.nanmean(errors)), by_landmark)


def agreement(landmarks: NDArray[np.int64], parts: NDArray[np.int64]) -> tuple[float, float]:
    """NMI (arithmetic mean) and ARI of pairs (landmark, part), in percent.

    >>> agreement(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))
    (100.0, 100.0)
    """
    nmi = normalized_mutual_info_score(landmarks, parts)
    return 100 * float(nmi), 100 * float(adjusted_rand_score(landmarks, parts))


def voronoi(keypoints: Points, landmarks: Points) -> tuple[float, float]:
    """NMI and ARI where every visible landmark belongs to the keypoint nearest to it ("Voronoi-NMI").

    Args:
        keypoints: (N, k, 2) pixels; NaN rows are missing.
        landmarks: (N, P, 2) pixels; NaN rows are hidden. Those of an image without any keypoint belong to one more.
    """
    distances = np.linalg.norm(landmarks[:, :, None] - keypoints[:, None], axis=3)  # (N, P, k)
    distances = np.where(np.isnan(distances), np.inf, distances)
    nearest = np.where(np.isinf(distances.min(2)), keypoints.shape[1], distances.argmin(2))
    visible = ~np.isnan(landmarks[..., 0])
    return agreement(np.broadcast_to(np.arange(landmarks.shape[1]), visible.shape)[visible], nearest[visible])


def read_maps(labels: NDArray[np.int64], landmarks: Points) -> tuple[float, float]:
    """NMI and ARI where every visible landmark belongs to the part of the cell that it lies in ("map-based").

    Args:
        labels: (N, H, W) the strongest part of each cell, background included.
        landmarks: (N, P, 2) x and y as shares of the mapped image; NaN rows are hidden.
    """
    height, width = labels.shape[1:]
    visible = ~np.isnan(landmarks[..., 0])
    image, part = visible.nonzero()
    x, y = landmarks[visible].T
    columns, rows = ((value * side).astype(int).clip(0, side - 1) for value, side in ((x, width), (y, height)))
    return agreement(part, labels[image, rows, columns])


def flip_error(keypoints: Points, of_flipped: Points, widths: NDArray[np.float64], sides: NDArray[np.float64]) -> float:
    """How far keypoints move when the picture is mirrored, in percent of a side; the mean over those found both times.

    Args:
        keypoints, of_flipped: (N, k, 2) pixels, of the pictures and of their mirror images.
        widths, sides: (N,) of the pictures, in pixels: the width, and the side to divide by.
    """
    back = of_flipped.copy()
    back[..., 0] = widths[:, None] - 1 - back[..., 0]
    return float(np.nanmean(100 * np.linalg.norm(keypoints - back, axis=2) / sides[:, None]))
