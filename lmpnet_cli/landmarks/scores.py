"""Named PCK: a landmark counts only under its own name.

The field's PCK (Yang and Ramanan, 2013) for landmarks with names. It is stricter than greedy PCK, where any landmark
may be the nearest one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.1  # tolerance, as a share of the longer box side
Points = NDArray[np.float64]


def named_scores(
    points: Points, landmarks: Points, sides: NDArray[np.float64], names: Sequence[str], alpha: float = ALPHA
) -> dict[str, Any]:
    """Score landmarks by name.

    Args:
        points: (N, k, 2) found positions in pixels; NaN rows are missing, and wrong where the landmark is visible.
        landmarks: (N, k, 2) annotated positions in the same order; NaN rows are not visible.
        sides: (N,) longer side of each object's box in pixels.
        names: of the landmarks.
        alpha: tolerance, as a share of the longer box side; distances are compared with `<`.

    Returns:
        `pck`: percent of the visible landmarks that are nearer than the tolerance to the point of their name. `error`:
        their mean distance in percent of the box side, of those that were found. `found`: percent of the visible ones
        that were found. `imagined`: percent of the hidden ones that were found nevertheless. `by_landmark` has the same
        for each, with the number of images that show it. None stands for a share of nothing.
    """
    distances = np.linalg.norm(points - landmarks, axis=2) / sides[:, None]
    visible, found = ~np.isnan(landmarks[..., 0]), ~np.isnan(points[..., 0])
    columns = {
        name: _row(distances[:, k], visible[:, k], found[:, k], alpha) | {"images": int(visible[:, k].sum())}
        for k, name in enumerate(names)
    }
    return {**_row(distances, visible, found, alpha), "alpha": alpha, "by_landmark": columns}


def _row(
    distances: NDArray[np.float64], visible: NDArray[np.bool_], found: NDArray[np.bool_], alpha: float
) -> dict[str, float | None]:
    both = visible & found
    return {
        "pck": _percent(distances[both] < alpha, visible.sum()),
        "error": _percent(distances[both], both.sum()),
        "found": _percent(both, visible.sum()),
        "imagined": _percent(found & ~visible, (~visible).sum()),
    }


def _percent(values: NDArray[Any], count: float) -> float | None:
    return round(100 * float(values.sum()) / float(count), 2) if count else None


def mean_shape_in_boxes(landmarks: Points, boxes: Points) -> Points:
    """Return the (k, 2) mean position of each landmark as a share of its box; NaN where it is never visible.

    Args:
        landmarks: (N, k, 2) pixels; NaN rows are not visible.
        boxes: (N, 4) x, y, width, height.
    """
    shares = (landmarks - boxes[:, None, :2]) / boxes[:, None, 2:]
    count = (~np.isnan(shares)).sum(0)
    mean: Points = np.where(count > 0, np.nansum(shares, axis=0) / np.maximum(count, 1), np.nan)
    return mean


def placed(shape: Points, boxes: Points) -> Points:
    """Return the (N, k, 2) pixels of a mean shape in boxes (N, 4)."""
    pixels: Points = shape[None] * boxes[:, None, 2:] + boxes[:, None, :2]
    return pixels
