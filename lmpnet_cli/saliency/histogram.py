"""Count how often each annotated landmark is detected: salient-feature histograms (poster, figure 3).

A detection counts for the nearest visible landmark if it is closer than the tolerance. A landmark counts at most once
per image, however many detections match it (docs/papers.md P11).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Points = NDArray[np.float64]


def matched(detections: Points, landmarks: Points, tolerance: float) -> NDArray[np.bool_]:
    """Return which landmarks of one image are detected.

    Args:
        detections: (k, 2) pixels; NaN rows are missing.
        landmarks: (P, 2) pixels; NaN rows are not visible.
        tolerance: in pixels; distances are compared with `<`.

    Returns:
        (P,) of bool.
    """
    hits = np.zeros(len(landmarks), dtype=np.bool_)
    found = detections[~np.isnan(detections).any(1)]
    distances = np.where(np.isnan(landmarks).any(1), np.inf, cdist(found, landmarks))

    if distances.size:
        nearest = distances.argmin(1)
        close = distances[np.arange(len(found)), nearest] < tolerance
        hits[nearest[close]] = True
    return hits


@dataclass(frozen=True)
class Histogram:
    """Counts over the images of one class, or of all classes.

    Attributes:
        images: number of images.
        visible: (P,) number of images that show each landmark.
        detected: (P,) number of images in which it is detected.
    """

    images: int
    visible: NDArray[np.int64]
    detected: NDArray[np.int64]

    @property
    def rates(self) -> NDArray[np.float64]:
        """Return, for each landmark, the share of images showing it in which it is detected; NaN if none shows it."""
        with np.errstate(invalid="ignore"):
            return self.detected / np.where(self.visible > 0, self.visible, np.nan)

    @property
    def most_frequent(self) -> int | None:
        """Return the landmark detected in most images, the first in case of a tie; None if none is detected."""
        return int(self.detected.argmax()) if self.detected.any() else None


def histogram(hits: Sequence[NDArray[np.bool_]], landmarks: Sequence[Points]) -> Histogram:
    """Count visible and detected landmarks over images.

    Args:
        hits: for each image (P,) as returned by `matched`.
        landmarks: for each image (P, 2); NaN rows are not visible.
    """
    visible = np.array([~np.isnan(points).any(1) for points in landmarks])
    return Histogram(len(hits), visible.sum(0), np.array(hits).sum(0))
