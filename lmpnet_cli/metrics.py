"""Greedy PCK (LMPNet, section 4.2) and what makes it readable: one-to-one matching, coverage, duplicates, entropy.

Definitions and their traps are those of the field notes: distances in pixels of the original image, compared with `<`;
a missing keypoint is wrong; only visible annotations count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

Points = NDArray[np.float64]


def feature_map_entropy(maps: Tensor) -> Tensor:
    """Entropy of each rectified, sum-normalised map, in nats (section 4.1, figure 6): smaller is sparser.

    Args:
        maps: (B, C, H, W).

    Returns:
        (B, C); NaN for a map that is zero everywhere, at most ln(HW).
    """
    positive = maps.float().relu().flatten(2)  # (B, C, HW)
    total = positive.sum(2, keepdim=True)
    share = positive / total
    entropy = torch.special.entr(share).sum(2)
    return torch.where(total[..., 0] > 0, entropy, torch.nan)


def greedy_pck(predicted: Points, truth: Points, tolerance: float, one_to_one: bool = False) -> NDArray[np.bool_]:
    """Which predicted keypoints are correct: nearer than the tolerance to a true keypoint.

    Args:
        predicted: (k, 2) pixels; NaN rows are missing and never correct.
        truth: (n, 2) pixels; NaN rows are not visible and match nothing.
        tolerance: in pixels; distances are compared with `<`.
        one_to_one: each true keypoint counts once; the assignment with most matches is taken, and among those the one
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
    if not one_to_one:
        return np.asarray(near.any(axis=1))
    # a match that is not near costs more than all near ones together, so their number comes first
    farthest = distances[near].max(initial=0.0)
    cost = np.where(near, distances, (min(distances.shape) + 1) * (farthest + 1.0))
    rows, columns = linear_sum_assignment(cost)
    correct = np.zeros(len(predicted), dtype=np.bool_)
    correct[rows] = near[rows, columns]
    return correct


def coverage(predicted: Points, truth: Points, tolerance: float) -> tuple[int, int]:
    """How many of the visible true keypoints lie within the tolerance of any prediction: covered, visible."""
    visible = truth[~np.isnan(truth[:, 0])]
    return int((cdist(predicted, visible) < tolerance).any(axis=0).sum()), len(visible)


def duplicates(predicted: Points, tolerance: float) -> tuple[int, int]:
    """How many pairs of found predictions are closer than the tolerance: close pairs, all pairs."""
    found = predicted[~np.isnan(predicted[:, 0])]
    distances = cdist(found, found)[np.triu_indices(len(found), 1)]
    return int((distances < tolerance).sum()), len(distances)


@dataclass(frozen=True)
class Scene:
    """What scoring needs of one image.

    Attributes:
        visible: (V, 2) visible annotations in pixels, V > 0.
        size: width, height in pixels.
        bbox: x, y, width, height, or None.
    """

    visible: Points
    size: tuple[int, int]
    bbox: tuple[float, float, float, float] | None


def score(predictions: Sequence[Points], scenes: Sequence[Scene], alpha: float, seed: int = 0) -> dict[str, object]:
    """One row of results over all images, in percent (the keys of `metrics.json`).

    Args:
        predictions: (k, 2) for each scene; NaN rows are missing.
        alpha: tolerance as a share of the shorter image side, or of the longer box side.
    """
    sides = [alpha * min(scene.size) for scene in scenes]
    boxes = [alpha * max(scene.bbox[2:]) if scene.bbox else float("nan") for scene in scenes]
    found = np.array([~np.isnan(points[:, 0]) for points in predictions])  # (N, k)
    row: dict[str, object] = {"found": round(float(found.sum(1).mean()), 4)}
    for name, tolerances in (("greedy_pck", sides), ("greedy_pck_bbox", boxes)):
        known = ~np.isnan(tolerances)
        for suffix, one_to_one in (("", False), ("_one_to_one", True)):
            hits = np.array(
                [
                    greedy_pck(points, scene.visible, tolerance, one_to_one)
                    for points, scene, tolerance in zip(predictions, scenes, tolerances, strict=True)
                    if not np.isnan(tolerance)
                ]
            )
            row[f"{name}{suffix}"] = _summary(hits, found[known], seed) if len(hits) else None
    for name, count in (
        ("coverage", [coverage(*each) for each in zip(predictions, (s.visible for s in scenes), sides, strict=True)]),
        ("duplicate_rate", [duplicates(*each) for each in zip(predictions, sides, strict=True)]),
    ):
        part, whole = np.sum(count, axis=0)
        row[name] = round(100 * float(part / whole), 2) if whole else None
    return row


def _summary(hits: NDArray[np.bool_], found: NDArray[np.bool_], seed: int) -> dict[str, object]:
    """Percentages of an (N, k) table of hits, `found` likewise, with a bootstrap over images for the mean."""
    means = hits.mean(1)
    random = np.random.default_rng(seed)
    draws = [means[random.integers(len(means), size=len(means))].mean() for _ in range(1000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    among = hits.sum() / found.sum() if found.any() else float("nan")
    return {
        "kp": [_percent(hits[:, index]) for index in range(hits.shape[1])],
        "mean": _percent(means),
        "found_only_mean": _percent(np.array([among])),
        "ci95": [round(100 * float(low), 2), round(100 * float(high), 2)],
    }


def _percent(values: NDArray[np.generic]) -> float | None:
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[~np.isnan(numbers)]
    return round(100 * float(numbers.mean()), 2) if len(numbers) else None


def image_centre(scene: Scene, k: int) -> Points:
    """Baseline: k copies of the image centre."""
    return np.tile((np.array(scene.size) - 1) / 2, (k, 1))


def random_points(scene: Scene, k: int, random: np.random.Generator) -> Points:
    """Baseline: k points anywhere in the image."""
    return random.uniform(-0.5, np.array(scene.size) - 0.5, (k, 2))


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


def place_shape(shape: Points, scene: Scene, k: int) -> Points:
    """Baseline: k parts of a mean shape, evenly sampled from those that have a mean, in image pixels."""
    known = shape[~np.isnan(shape[:, 0])]
    points = np.full((k, 2), np.nan)
    chosen = known[np.linspace(0, len(known) - 1, min(k, len(known))).round().astype(int)]
    points[: len(chosen)] = chosen * np.array(scene.size) - 0.5
    return points
