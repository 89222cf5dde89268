"""Salient-feature histograms: how often is each annotated landmark detected? (papers.md 2.4, figure 3; 2.5.11)

A detection stands for the nearest visible landmark if that is nearer than the tolerance; a landmark counts once for an
image, however many detections stand for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Points = NDArray[np.float64]


def matched(detections: Points, landmarks: Points, tolerance: float) -> NDArray[np.bool_]:
    """Which landmarks of one image are detected.

    Args:
        detections: (k, 2) pixels; NaN rows are missing.
        landmarks: (P, 2) pixels; NaN rows are not visible.
        tolerance: in pixels; distances are compared with `<`.

    Returns:
        (P,) of bool.
    """
    found = np.zeros(len(landmarks), dtype=np.bool_)
    there = detections[~np.isnan(detections).any(1)]
    distances = np.where(np.isnan(landmarks).any(1), np.inf, cdist(there, landmarks))
    if distances.size:
        nearest = distances.argmin(1)
        near = distances[np.arange(len(there)), nearest] < tolerance
        found[nearest[near]] = True
    return found


@dataclass(frozen=True)
class Histogram:
    """Counts over the images of one class, or of all.

    Attributes:
        images: how many there are.
        visible: (P,) images that show each landmark.
        detected: (P,) images on which it is detected.
    """

    images: int
    visible: NDArray[np.int64]
    detected: NDArray[np.int64]

    @property
    def rates(self) -> NDArray[np.float64]:
        """(P,) share of the images showing a landmark on which it is detected; NaN where none shows it."""
        with np.errstate(invalid="ignore"):
            return self.detected / np.where(self.visible > 0, self.visible, np.nan)

    @property
    def most_frequent(self) -> int | None:
        """The landmark detected on most images, the first of several; None where none is detected."""
        return int(self.detected.argmax()) if self.detected.any() else None


def histogram(hits: Sequence[NDArray[np.bool_]], landmarks: Sequence[Points]) -> Histogram:
    """Counts over images.

    Args:
        hits: for each image (P,) as `matched` gives it.
        landmarks: for each image (P, 2); NaN rows are not visible.
    """
    visible = np.array([~np.isnan(each).any(1) for each in landmarks])
    return Histogram(len(hits), visible.sum(0), np.array(hits).sum(0))
