"""Trivial predictors that stand in every table of results, since greedy PCK is an easy metric.

The paper's 86.0 must be read against 74.4 for five copies of the image centre on all of CUB.
"""

from collections.abc import Sequence

import numpy as np

from lmpnet_cli.evaluation.pck import GroundTruth, Points


def image_centre(ground_truth: GroundTruth, k: int) -> Points:
    """Baseline: k copies of the image centre."""
    return np.tile((np.array(ground_truth.size) - 1) / 2, (k, 1))


def random_points(ground_truth: GroundTruth, k: int, random: np.random.Generator) -> Points:
    """Baseline: k points anywhere in the image."""
    return random.uniform(-0.5, np.array(ground_truth.size) - 0.5, (k, 2))


def mean_shape(parts: Sequence[Points], sizes: Sequence[tuple[int, int]]) -> Points:
    """The mean position of every part as a share of the image, (P, 2); NaN for a part never visible."""
    shares = np.array([(each + 0.5) / np.array(size) for each, size in zip(parts, sizes, strict=True)])
    with np.errstate(all="ignore"):
        count = (~np.isnan(shares)).sum(0)
        total = np.nansum(shares, axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def leave_one_out_shapes(parts: Sequence[Points], sizes: Sequence[tuple[int, int]]) -> list[Points]:
    """For each image the mean shape of all others, as a share of the image."""
    shares = np.array([(each + 0.5) / np.array(size) for each, size in zip(parts, sizes, strict=True)])
    seen = ~np.isnan(shares)
    total, count = np.nansum(shares, axis=0), seen.sum(0)
    shapes = []
    for own, visible in zip(np.nan_to_num(shares), seen, strict=True):
        left = count - visible
        shapes.append(np.where(left > 0, (total - own) / np.maximum(left, 1), np.nan))
    return shapes


def place_shape(shape: Points, ground_truth: GroundTruth, k: int) -> Points:
    """Baseline: k parts of a mean shape, evenly sampled from those that have a mean, in image pixels.

    With fewer parts than k some stand there several times, as the image centre does.
    """
    known = shape[~np.isnan(shape[:, 0])]
    if not len(known):
        return np.full((k, 2), np.nan)
    chosen = known[np.linspace(0, len(known) - 1, k).round().astype(int)]
    return np.asarray(chosen * np.array(ground_truth.size) - 0.5)
