"""Principal components of the features of cells, from which the heads are learned."""

import numpy as np
import torch
from torch import Tensor

from lmpnet_cli.model.cell_features import CellFeatures, activation, centred_features

OUTER_FENCE = 3.0  # interquartile ranges below the lower quartile: Tukey's outer fence
MIN_DEVIATION = 1e-3  # of the activation; anything less is rounding


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

    def reducer(self, channels: int, directions: int) -> CellFeatures:
        """Return what reduces maps to their first principal components, at most as many as there are."""
        count = min(directions, channels, self.count)
        centre, projection = self.components(count)
        level = torch.cat([self.activation_statistics(), torch.zeros(1)])  # the object threshold is not known yet

        reducer = CellFeatures(channels, count)
        reducer.load_state_dict({"centre": centre, "projection": projection, "level": level})
        return reducer

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
