"""The starting point of part learning.

1. Principal components of the centred features.
2. The object is where the filters are active: above a threshold about half-way below Otsu's.
3. k-means over the context features of the object's cells, and over those of all other cells.
"""

from warnings import catch_warnings, simplefilter

import cv2
import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from lmpnet_cli.model.part_head import activation, centred_features

OUTER_FENCE = 3.0  # interquartile ranges below the lower quartile: Tukey's outer fence
MIN_DEVIATION = 1e-3  # of the activation; anything less is rounding
BELOW_OTSU = 0.55  # share of the way from Otsu's threshold down to the mean of the cells below it


class FeaturePCA:
    """Principal components of the centred features of maps, given one batch after another.

    The second moments are summed exactly. scikit-learn's `IncrementalPCA` keeps only the leading components after each
    batch, so its result is an approximation that depends on the batches.

    Attributes:
        count: number of cells seen so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum, self._products = torch.zeros(()), torch.zeros(())
        self._activations: list[Tensor] = []

    def update(self, maps: Tensor) -> None:
        """Add (B, C, H, W) raw maps."""
        features = centred_features(maps).flatten(0, 2)
        self.count += len(features)
        self._sum = self._sum + features.sum(0, dtype=torch.float64).cpu()
        self._products = self._products + (features.T @ features).double().cpu()
        self._activations.append(activation(maps).cpu().flatten())

    def components(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the mean (C,) and the first principal components (C, count)."""
        mean = self._sum / self.count
        _, vectors = torch.linalg.eigh(self._products - self.count * torch.outer(mean, mean))  # in ascending order
        return mean.float(), vectors.flip(1)[:, :count].float().contiguous()

    def activation_statistics(self) -> Tensor:
        """Return mean and standard deviation of the activation, (2,).

        Silent cells, whose logarithm is far below all others, are clipped to Tukey's outer fence. There is no upper
        limit: in images that are mostly sky the object is above it.
        """
        activations = torch.cat(self._activations).numpy()
        lower, upper = np.quantile(activations, [0.25, 0.75])
        activations = activations.clip(lower - OUTER_FENCE * (upper - lower), None)
        return torch.tensor([activations.mean(), max(activations.std(), MIN_DEVIATION)]).float()


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
