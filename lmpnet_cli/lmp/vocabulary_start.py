"""Where the learning of a keypoint vocabulary starts.

1. Principal directions of what sets cells apart.
2. Object is where the filters are active: from half-way below Otsu's threshold of the activation.
3. k-means over the object's cells with their surroundings, and over all others.
"""

from warnings import catch_warnings, simplefilter

import cv2
import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from lmpnet_cli.lmp.vocabulary import contrast

LOWER = 0.55  # of the way from Otsu's threshold to the mean below it


def principal_directions(maps: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and first principal directions of the contrasted cells of (N, C, H, W) maps: (C,) and (C, count)."""
    cells = contrast(maps).flatten(0, 2)
    centre = cells.mean(0)
    away = cells - centre
    _, vectors = torch.linalg.eigh(away.T @ away)  # rising order
    return centre, vectors.flip(1)[:, :count].contiguous()


def object_level(activations: Tensor) -> float:
    """From which activation on a cell is taken for a part of the object.

    Otsu's threshold finds the most active parts, such as heads; about half-way from there to the mean of the cells
    below it lies most of the body.

    Args:
        activations: of all cells, in standard deviations from their mean.
    """
    low, high = float(activations.min()), float(activations.max())
    if high <= low:
        return low
    levels = ((activations.flatten() - low) / (high - low) * 255).byte().numpy()
    share, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    otsu = low + share / 255 * (high - low)
    below = float(activations[activations <= otsu].mean())
    return otsu - LOWER * (otsu - below)


def first_centres(around: Tensor, active: Tensor, k: int, backgrounds: int, seed: int) -> Tensor:
    """(k + backgrounds, D) centres of k-means over the object's cells, and over the others, of (N, H, W, D).

    Args:
        active: (N, H, W) of bool, which cells are the object's.

    Raises:
        ValueError: when there are fewer different cells than centres.
    """
    centres = []
    for cells, count in ((around[active], k), (around[~active], backgrounds)):
        try:
            if len(cells) < count:
                raise ConvergenceWarning
            with catch_warnings():
                simplefilter("error", ConvergenceWarning)
                centres.append(KMeans(count, n_init=3, random_state=seed).fit(cells.numpy()).cluster_centers_)
        except ConvergenceWarning:
            raise ValueError(f"expected at least {count} different cells, received fewer") from None
    return torch.from_numpy(np.concatenate(centres)).float()
