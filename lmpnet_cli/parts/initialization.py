"""The starting point of part learning.

1. The object is where the filters are active: above a threshold about half-way below Otsu's.
2. k-means over the context features of the object's cells, and over those of all other cells.
"""

from warnings import catch_warnings, simplefilter

import cv2
import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

BELOW_OTSU = 0.55  # share of the way from Otsu's threshold down to the mean of the cells below it


def object_threshold(activations: Tensor) -> float:
    """Return the activation from which a cell counts as part of the object.

    Otsu's threshold finds the most active regions, such as heads. About half-way from there to the mean of the cells
    below it, most of the body is included.

    Args:
        activations: of all cells, in standard deviations from their mean.
    """
    low, high = float(activations.min()), float(activations.max())
    if high <= low:
        return low

    levels = ((activations.flatten() - low) / (high - low) * 255).byte().numpy()
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    otsu = low + level / 255 * (high - low)
    mean_below = float(activations[activations <= otsu].mean())
    return otsu - BELOW_OTSU * (otsu - mean_below)


def initial_centroids(features: Tensor, is_object: Tensor, k: int, backgrounds: int, seed: int) -> Tensor:
    """Return (k + backgrounds, D) centroids of k-means over the object's cells, and over all other cells.

    Args:
        features: (N, H, W, D) context features.
        is_object: (N, H, W) of bool.

    Raises:
        ValueError: if there are fewer different cells than centroids.
    """
    centroids = []
    for cells, count in ((features[is_object], k), (features[~is_object], backgrounds)):
        try:
            if len(cells) < count:
                raise ConvergenceWarning
            with catch_warnings():
                simplefilter("error", ConvergenceWarning)
                centroids.append(KMeans(count, n_init=3, random_state=seed).fit(cells.numpy()).cluster_centers_)
        except ConvergenceWarning:
            raise ValueError(f"expected at least {count} different map cells, received fewer") from None
    return torch.from_numpy(np.concatenate(centroids)).float()
