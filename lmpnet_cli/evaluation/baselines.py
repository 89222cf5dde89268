"""Trivial predictors, which are in every table of results since greedy PCK is an easy metric.

The paper's 86.0 must be compared with 74.4 for five copies of the image centre on all of CUB.
"""

from collections.abc import Sequence

import numpy as np

from lmpnet_cli.evaluation.pck import GroundTruth, Points


def image_centre(truth: GroundTruth, k: int) -> Points:
    """Predict k copies of the image centre."""
    return np.tile((np.array(truth.size) - 1) / 2, (k, 1))


def random_points(truth: GroundTruth, k: int, random: np.random.Generator) -> Points:
    """Predict k points anywhere in the image."""
    return random.uniform(-0.5, np.array(truth.size) - 0.5, (k, 2))


def mean_shape(landmarks: Sequence[Points], sizes: Sequence[tuple[int, int]]) -> Points:
    """Compute the mean position of every landmark as a share of the image, (P, 2); NaN if never visible."""
    shares = np.array([(each + 0.5) / np.array(size) for each, size in zip(landmarks, sizes, strict=True)])
    with np.errstate(all="ignore"):
        count = (~np.isnan(shares)).sum(0)
        total = np.nansum(shares, axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def leave_one_out_shapes(landmarks: Sequence[Points], sizes: Sequence[tuple[int, int]]) -> list[Points]:
    """Compute for each image the mean shape of all others, as a share of the image."""
    shares = np.array([(each + 0.5) / np.array(size) for each, size in zip(landmarks, sizes, strict=True)])
    seen = ~np.isnan(shares)
    total, count = np.nansum(shares, axis=0), seen.sum(0)
    shapes = []
    for own, visible in zip(np.nan_to_num(shares), seen, strict=True):
        left = count - visible
        shapes.append(np.where(left > 0, (total - own) / np.maximum(left, 1), np.nan))
    return shapes


def place_shape(shape: Points, truth: GroundTruth, k: int) -> Points:
    """Predict k landmarks of a mean shape, evenly sampled from those that have a mean, in image pixels.

    With fewer landmarks than k some are repeated, as the image centre is.
    """
    known = shape[~np.isnan(shape[:, 0])]
    if not len(known):
        return np.full((k, 2), np.nan)
    chosen = known[np.linspace(0, len(known) - 1, k).round().astype(int)]
    return np.asarray(chosen * np.array(truth.size) - 0.5)
