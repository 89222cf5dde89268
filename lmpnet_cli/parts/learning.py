"""Learn parts from the features of training images, without annotations and class labels.

1. `initialization` gives principal components, an object threshold and clusters of cells.
2. Gradient descent moves the clusters' centroids. Every part should be present in every image, concentrated in one
   position, unlike the other parts, at the same position of the flipped and of the warped image, and on the object.
3. Of several restarts the one with the lowest loss continues to the end. `selection` keeps the parts from which the
   positions of all parts can be predicted best.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lmpnet_cli.model.cell_features import context_features
from lmpnet_cli.model.part_head import (
    PartHead,
    PartHeadSpec,
    objectness,
    presence,
    soft_argmax,
    unflip,
    within_one_cell,
)
from lmpnet_cli.parts.affine import warp
from lmpnet_cli.parts.initialization import initial_centroids, object_threshold
from lmpnet_cli.parts.selection import most_informative_parts

CLUSTERED_IMAGES = 500  # number of images from which the clusters start
AVERAGED_STEPS = 50  # number of latest steps whose mean loss ranks the restarts
CHUNK = 64  # images processed together

Callback = Callable[[int, str], Any]
"""Called after every step with the number of images and a text with the current loss."""


@dataclass(frozen=True)
class Recipe:
    """Settings of the optimisation and weights of the losses, chosen on held-out training images of CUB.

    Attributes:
        parts: smallest number of parts to learn; if fewer are wanted, the others join the background.
        starts: number of restarts.
        trial: steps after which only the best restart continues.
        steps: total steps of that restart.
    """

    parts: int = 8
    starts: int = 4
    trial: int = 200
    steps: int = 500
    batch: int = 64
    learning_rate: float = 3e-3
    temperature: float = 10.0
    presence: float = 4.0
    concentration: float = 20.0
    orthogonality: float = 0.3
    flip_equivariance: float = 2.0
    affine_equivariance: float = 2.0
    objectness: float = 4.0

    @property
    def all_steps(self) -> int:
        """Return the number of steps of all restarts."""
        return (self.starts - 1) * min(self.trial, self.steps) + self.steps


@dataclass(frozen=True)
class TrainingFeatures:
    """Features of the training images as `PartHead.cells` returns them, (N, H, W, components + 1) of any float type.

    Attributes:
        original: of the images.
        flipped: of the horizontally flipped images.
        warped: of the images warped by `theta`.
        theta: (N, 2, 3) affine maps.
    """

    original: Tensor
    flipped: Tensor
    warped: Tensor
    theta: Tensor

    @property
    def map_size(self) -> tuple[int, int]:
        """Return (H, W) in cells."""
        return self.original.shape[1], self.original.shape[2]

    @cached_property
    def object_threshold(self) -> float:
        """Return the activation from which a cell counts as part of the object."""
        return object_threshold(self.original[..., -1].float())


class Prototypes(nn.Module):
    """Centroids in the space of context features; each cell belongs to the nearest ones, softly."""

    def __init__(self, centroids: Tensor, temperature: float) -> None:
        super().__init__()
        self.centroids = nn.Parameter(centroids.clone())
        self.shift = nn.Parameter(torch.zeros(len(centroids)))
        self.temperature = temperature

    def linear(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the equivalent linear layer, 2 x.c - |c|²: |x|² is the same for all centroids."""
        weight = 2 * self.temperature * self.centroids.T
        bias = self.shift - self.temperature * self.centroids.square().sum(1)
        return weight, bias

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, H, W, D) context features to (B, H, W, k + backgrounds) shares."""
        weight, bias = self.linear()
        return (features @ weight + bias).softmax(-1)


def losses(
    shares: Tensor, flipped: Tensor, features: Tensor, background: Tensor, k: int, recipe: Recipe
) -> dict[str, Tensor]:
    """Return the weighted losses that need no warped image, by name.

    Args:
        shares: (B, H, W, k + backgrounds) of the images.
        flipped: the same of the flipped images, flipped back.
        features: (B, H, W, D) context features.
        background: (B, H, W) probability that a cell is not part of the object.
    """
    parts = shares[..., :k]
    mass = parts.sum((1, 2)) + 1e-6

    # variance of each part's map, in shares of the map's sides
    height, width = parts.shape[1:3]
    rows = ((torch.arange(height) + 0.5) / height)[None, :, None, None]
    columns = ((torch.arange(width) + 0.5) / width)[None, None, :, None]
    spread = _variance(parts, columns, mass) + _variance(parts, rows, mass)

    # cosine similarity of the parts' mean features
    means = functional.normalize(torch.einsum("bhwk,bhwd->bkd", parts, features) / mass[..., None], dim=-1)
    similarity = (means @ means.transpose(1, 2) - torch.eye(k)).clamp_min(0)

    return {
        "presence": recipe.presence * (1 - presence(parts.permute(0, 3, 1, 2))).mean(),
        "concentration": recipe.concentration * spread.mean(),
        "orthogonality": recipe.orthogonality * similarity.square().sum((1, 2)).mean() / k,
        "flip_equivariance": recipe.flip_equivariance * (shares - flipped).square().sum(-1).mean(),
        "objectness": recipe.objectness * (parts.sum(-1) * background).mean(),
    }


def _variance(parts: Tensor, coordinates: Tensor, mass: Tensor) -> Tensor:
    """Return the variance of a coordinate under each part's map, (B, k)."""
    mean = (parts * coordinates).sum((1, 2)) / mass
    return ((coordinates - mean[:, None, None]).square() * parts).sum((1, 2)) / mass


def affine_error(shares: Tensor, warped: Tensor, theta: Tensor) -> Tensor:
    """Return how much (B, H, W, A) shares, warped, differ from those of the warped images, where both are known."""
    expected, inside = warp(shares.permute(0, 3, 1, 2), theta)
    error = (expected.permute(0, 2, 3, 1) - warped).square().sum(-1)
    return (error * inside).sum() / inside.sum().clamp_min(1)


class Restart:
    """One restart of the optimisation; `run` continues from the last step.

    Attributes:
        k: number of parts, at least `Recipe.parts` if the object has enough cells.
        loss_history: the loss of every step.
    """

    def __init__(self, features: TrainingFeatures, spec: PartHeadSpec, seed: int, recipe: Recipe) -> None:
        self.features, self.spec, self.recipe = features, spec, recipe
        self.generator = torch.Generator().manual_seed(seed)
        self.order = torch.empty(0, dtype=torch.long)
        self.loss_history: list[float] = []

        count = len(features.original)
        sample = features.original[torch.randperm(count, generator=self.generator)[:CLUSTERED_IMAGES]].float()
        is_object = sample[..., -1] > features.object_threshold
        self.k = max(spec.k, min(recipe.parts, int(is_object.sum())))

        context = context_features(sample, spec.windows)
        centroids = initial_centroids(context, is_object, self.k, spec.backgrounds, seed)
        self.model = Prototypes(centroids, recipe.temperature)
        self.optimizer = torch.optim.Adam(self.model.parameters())

    @property
    def recent_loss(self) -> float:
        """Return the mean loss of the latest steps."""
        return float(np.mean(self.loss_history[-AVERAGED_STEPS:]))

    def run(self, until: int, callback: Callback) -> None:
        """Continue to step `until`; the learning rate follows a cosine over `recipe.steps`.

        Raises:
            ValueError: if the loss is not finite.
        """
        count = len(self.features.original)
        size = min(self.recipe.batch, count)
        for step in range(len(self.loss_history), until):
            if len(self.order) < size:
                self.order = torch.randperm(count, generator=self.generator)
            chosen, self.order = self.order[:size], self.order[size:]

            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate * (0.5 + 0.5 * math.cos(math.pi * step / self.recipe.steps))
            loss = self._loss(chosen)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()

            self.loss_history.append(loss.item())
            if not math.isfinite(self.loss_history[-1]):
                raise ValueError(f"the loss is {self.loss_history[-1]} after {step + 1} steps")
            callback(1, f"loss {self.loss_history[-1]:.3f}")

    def _loss(self, chosen: Tensor) -> Tensor:
        """Return the total loss of the images with these indices."""
        features = self.features
        original = self._context(features.original[chosen])
        flipped = self._context(features.flipped[chosen])
        warped = self._context(features.warped[chosen])
        background = 1 - objectness(features.original[chosen][..., -1].float(), features.object_threshold)

        shares = self.model(original)
        terms = losses(shares, self.model(flipped).flip(2), original, background, self.k, self.recipe)
        error = affine_error(shares, self.model(warped), features.theta[chosen])
        terms["affine_equivariance"] = self.recipe.affine_equivariance * error
        return torch.stack(list(terms.values())).sum()

    def _context(self, features: Tensor) -> Tensor:
        return context_features(features.float(), self.spec.windows)

    def positions(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Locate all parts, before `objectness` pulls them onto the object.

        Args:
            features: (N, H, W, components + 1).

        Returns:
            (N, parts, 2) row and column, and (parts,) the share of images in which the part is on the object.
        """
        positions, on_object = [], []
        for chunk in torch.split(features, CHUNK):
            shares = self.model(self._context(chunk))[..., : self.k]
            located = soft_argmax(shares.permute(0, 3, 1, 2)).positions
            positions.append(located)
            on_object.append(active_at(located, chunk) > self.features.object_threshold)
        return torch.cat(positions), torch.cat(on_object).float().mean(0)


def active_at(positions: Tensor, features: Tensor) -> Tensor:
    """Return the (N, K) activations of the cells at (N, K, 2) positions in (N, H, W, components + 1) features."""
    row, column = positions.round().long().unbind(-1)
    return features[torch.arange(len(features))[:, None], row, column, -1].float()


def share_on_object(part_head: PartHead, features: TrainingFeatures) -> Tensor:
    """Return, (k,), the share of the images in which each part is on the object, before `objectness` pulls it there."""
    found = []
    for chunk in torch.split(features.original, CHUNK):
        positions = soft_argmax(part_head.anywhere(chunk.float()).permute(0, 3, 1, 2)).positions
        found.append(active_at(positions, chunk) > features.object_threshold)
    return torch.cat(found).float().mean(0)


def learn_weights(
    features: TrainingFeatures,
    spec: PartHeadSpec,
    seed: int = 0,
    recipe: Recipe | None = None,
    callback: Callback = lambda _count, _note: None,
) -> tuple[Tensor, Tensor]:
    """Learn weight and bias of a part head's linear layer: `spec.k` parts, then kinds of background.

    Several restarts begin from clusters of their own, because some end with two parts in one position of the object.
    The one with the lowest loss after the trial continues. Parts beyond `spec.k` become background, so there may be
    more kinds of background than in `spec`.

    Raises:
        ValueError: if there are fewer different cells than parts and backgrounds, or if the loss is not finite.
    """
    recipe = recipe or Recipe()
    seeds = torch.randint(2**31, (recipe.starts,), generator=torch.Generator().manual_seed(seed)).tolist()
    restarts = [Restart(features, spec, restart_seed, recipe) for restart_seed in seeds]
    for restart in restarts:
        restart.run(min(recipe.trial, recipe.steps), callback)

    best = min(restarts, key=lambda restart: restart.recent_loss)
    best.run(recipe.steps, callback)

    with torch.no_grad():
        weight, bias = best.model.linear()
        if best.k == spec.k:
            return weight, bias
        kept = _parts_to_keep(best, spec.k)
    others = [answer for answer in range(weight.shape[1]) if answer not in kept]
    order = [*kept, *others]
    return weight[:, order], bias[order]


def _parts_to_keep(restart: Restart, k: int) -> tuple[int, ...]:
    """Return the indices of the k parts to keep."""
    features = restart.features
    positions, on_object = restart.positions(features.original)
    flipped, _ = restart.positions(features.flipped)
    flipped = unflip(flipped, features.map_size[1])

    confirmed = within_one_cell(positions, flipped, features.map_size).float().mean(0)
    return most_informative_parts(positions, flipped, k, on_object, confirmed)
