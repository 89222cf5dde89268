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

from lmpnet_cli.model.part_head import activation, centred_features

FENCE = 3.0
FLAT = 1e-3  # of the activation's standard deviation: less is rounding
LOWER = 0.55  # of the way from Otsu's threshold to the mean below it


class Directions:
    """Principal directions of the contrasted cells of maps that are given one batch after another."""

    def __init__(self) -> None:
        """Of no cell yet."""
        self.count, self.total, self.squares = 0, torch.zeros(()), torch.zeros(())
        self._active: list[Tensor] = []

    def add(self, maps: Tensor) -> None:
        """Takes in (B, C, H, W) raw maps."""
        cells = centred_features(maps).flatten(0, 2)
        self.count += len(cells)
        self.total = self.total + cells.sum(0, dtype=torch.float64).cpu()
        self.squares = self.squares + (cells.T @ cells).double().cpu()
        self._active.append(activation(maps).cpu().flatten())

    def principal(self, count: int) -> tuple[Tensor, Tensor]:
        """Mean (C,) and first principal directions (C, count)."""
        centre = self.total / self.count
        _, vectors = torch.linalg.eigh(self.squares - self.count * torch.outer(centre, centre))  # rising order
        return centre.float(), vectors.flip(1)[:, :count].float().contiguous()

    def level(self) -> Tensor:
        """Mean and standard deviation of the activation, of silent cells no more than of the quietest usual ones.

        Tukey's outer fence, three quartile ranges below the lower quartile, says what is usual. There is none above: on
        pictures that are mostly sky the object lies there.
        """
        active = torch.cat(self._active).numpy()
        low, high = np.quantile(active, [0.25, 0.75])
        active = active.clip(low - FENCE * (high - low), None)
        return torch.tensor([active.mean(), max(active.std(), FLAT)]).float()


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
