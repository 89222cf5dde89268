"""Learns a keypoint vocabulary from the maps of training images. No annotation and no class label is used.

1. Principal directions, what is object, and clusters of cells: `vocabulary_start.py`.
2. The clusters' centres move by gradient descent: every part is present in every image, in one place, unlike the other
   parts, in the same place of the mirrored and of the turned image, and on the object.
3. Of several such descents the lowest goes on to the end, and of its parts those that tell most are kept: `choice.py`.
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

from lmpnet_cli.model.part_head import (
    PartHeadSpec,
    context_features,
    objectness,
    presence,
    soft_argmax,
    unflip,
    within_one_cell,
)
from lmpnet_cli.parts.affine import warp
from lmpnet_cli.parts.initialization import first_centres, object_level
from lmpnet_cli.parts.selection import most_informative_parts

SAMPLE = 500  # images that the clusters start from
LATEST = 50  # steps whose mean loss says how low a descent is


@dataclass(frozen=True)
class Recipe:
    """Weights of the losses and the course of the descent; chosen on held-out training images of CUB.

    Attributes:
        parts: that are learned at least; where fewer are wanted, the others join the background.
        starts: descents that begin.
        trial: steps after which only the lowest of them goes on.
        steps: of that one, in all.
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

    def images(self, count: int) -> int:
        """How many images, repetitions included, pass in all descents over so many different ones."""
        return ((self.starts - 1) * min(self.trial, self.steps) + self.steps) * min(self.batch, count)


class _Prototypes(nn.Module):
    """Centres in the space of cells with their surroundings; a cell belongs to the nearest, softly."""

    def __init__(self, centres: Tensor, temperature: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(centres.clone())
        self.shift = nn.Parameter(torch.zeros(len(centres)))
        self.temperature = temperature

    def linear(self) -> tuple[Tensor, Tensor]:
        """The same as one linear layer, since |x|² is that of all centres: 2 x.c - |c|²."""
        return 2 * self.temperature * self.centres.T, self.shift - self.temperature * self.centres.square().sum(1)

    def forward(self, around: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, k + backgrounds)."""
        weight, bias = self.linear()
        return (around @ weight + bias).softmax(-1)


def losses(
    shares: Tensor, mirrored: Tensor, around: Tensor, elsewhere: Tensor, k: int, recipe: Recipe
) -> dict[str, Tensor]:
    """What the parts should be, each as a number to be made small.

    Args:
        shares: (B, H, W, k + backgrounds) of the images.
        mirrored: the same of their mirror images, mirrored back.
        around: (B, H, W, D) the cells with their surroundings.
        elsewhere: (B, H, W) in [0, 1], how sure it is that a cell is not the object's.
    """
    parts = shares[..., :k]
    height, width = parts.shape[1:3]
    y = ((torch.arange(height) + 0.5) / height)[None, :, None, None]
    x = ((torch.arange(width) + 0.5) / width)[None, None, :, None]
    mass = parts.sum((1, 2)) + 1e-6
    spread = sum(
        ((line - ((parts * line).sum((1, 2)) / mass)[:, None, None]).square() * parts).sum((1, 2)) / mass
        for line in (x, y)
    )
    looks = functional.normalize(torch.einsum("bhwk,bhwd->bkd", parts, around) / mass[..., None], dim=-1)
    likeness = (looks @ looks.transpose(1, 2) - torch.eye(k)).clamp_min(0)
    terms = {
        "presence": recipe.presence * (1 - presence(parts.permute(0, 3, 1, 2))).mean(),
        "concentration": recipe.concentration * torch.as_tensor(spread).mean(),
        "orthogonality": recipe.orthogonality * likeness.square().sum((1, 2)).mean() / k,
        "flip_equivariance": recipe.flip_equivariance * (shares - mirrored).square().sum(-1).mean(),
        "objectness": recipe.objectness * (parts.sum(-1) * elsewhere).mean(),
    }
    return terms


def _agreement(shares: Tensor, warped: Tensor, theta: Tensor) -> Tensor:
    """How far (B, H, W, A) shares, turned, are from those of the turned images, where both are known."""
    expected, inside = warp(shares.permute(0, 3, 1, 2), theta)
    away = (expected.permute(0, 2, 3, 1) - warped).square().sum(-1)
    return (away * inside).sum() / inside.sum().clamp_min(1)


@dataclass(frozen=True)
class Material:
    """Cells of the training images as `Vocabulary.cells` gives them, (N, H, W, directions + 1) of any float type.

    Attributes:
        cells: of the images.
        mirrored: of their mirror images.
        turned: of the images turned by `theta`, (N, 2, 3).
    """

    cells: Tensor
    mirrored: Tensor
    warped: Tensor
    theta: Tensor

    @cached_property
    def level(self) -> float:
        """From which activation on a cell is taken for a part of the object."""
        return object_level(self.cells[..., -1].float())


def learn(
    material: Material,
    spec: PartHeadSpec,
    seed: int = 0,
    recipe: Recipe | None = None,
    callback: Callable[[int, str], Any] = lambda _count, _note: None,
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a vocabulary's linear layer: `spec.k` parts, then kinds of background.

    Several descents start from clusters of their own; the one that is lowest after the trial is kept, for some end
    where two parts share one place of the object. Parts beyond `spec.k` are dropped, so there may be more kinds of
    background than in `spec`.

    Args:
        told: called after every step with the number of images and the latest figures.

    Raises:
        ValueError: when there are fewer different cells than parts and backgrounds, or the loss is not finite.
    """
    recipe = recipe or Recipe()
    seeds = torch.randint(2**31, (recipe.starts,), generator=torch.Generator().manual_seed(seed)).tolist()
    restarts = [_Restart(material, spec, each, recipe) for each in seeds]
    for restart in restarts:
        restart.run(min(recipe.trial, recipe.steps), callback)
    lowest = min(restarts, key=lambda restart: restart.height)
    lowest.run(recipe.steps, callback)
    model = lowest.model
    with torch.no_grad():
        weight, bias = model.linear()
        parts = weight.shape[1] - spec.backgrounds
        if parts == spec.k:
            return weight, bias
        (places, on_object), (again, _) = (
            _places(lowest, cells, parts) for cells in (material.cells, material.mirrored)
        )
        height, width = material.cells.shape[1:3]
        again = unflip(again, width)
        confirmed = within_one_cell(places, again, (height, width)).float().mean(0)
        kept = most_informative_parts(places, again, spec.k, on_object, confirmed)
        order = [*kept, *(answer for answer in range(weight.shape[1]) if answer not in kept)]
        return weight[:, order], bias[order]


def _places(restart: "_Restart", cells: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """(N, parts, 2) row and column on all images, and (parts,) the share of images on which that is the object's cell.

    Places are taken before `objectness` pulls them onto the object, where all would lie.
    """
    places, active = [], []
    for block in (each.float() for each in torch.split(cells, 64)):
        shares = restart.model(context_features(block, restart.spec.windows))[..., :parts]
        places.append(soft_argmax(shares.permute(0, 3, 1, 2)).positions)
        row, column = places[-1].round().long().unbind(-1)
        active.append(block[torch.arange(len(block))[:, None], row, column, -1] > restart.material.level)
    return torch.cat(places), torch.cat(active).float().mean(0)


class _Restart:
    """Centres on their way down; `run` goes on from where it stopped."""

    def __init__(self, material: Material, spec: PartHeadSpec, seed: int, recipe: Recipe) -> None:
        self.material, self.spec, self.recipe = material, spec, recipe
        self.generator = torch.Generator().manual_seed(seed)
        cells = material.cells
        sample = cells[torch.randperm(len(cells), generator=self.generator)[:SAMPLE]].float()
        active = sample[..., -1] > material.level
        self.k = max(spec.k, min(recipe.parts, int(active.sum())))
        centres = first_centres(context_features(sample, spec.windows), active, self.k, spec.backgrounds, seed)
        self.model = _Prototypes(centres, recipe.temperature)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.order = torch.empty(0, dtype=torch.long)
        self.loss_history: list[float] = []

    @property
    def height(self) -> float:
        """The mean loss of the latest steps."""
        return float(np.mean(self.loss_history[-LATEST:]))

    def run(self, until: int, callback: Callable[[int, str], Any]) -> None:
        """On to so many steps in all; the learning rate is that of a course of `recipe.steps`."""
        size = min(self.recipe.batch, len(self.material.cells))
        for step in range(len(self.loss_history), until):
            if len(self.order) < size:
                self.order = torch.randperm(len(self.material.cells), generator=self.generator)
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
            callback(size, f"loss {self.loss_history[-1]:.3f}")

    def _loss(self, chosen: Tensor) -> Tensor:
        given = self.material
        views = (given.cells, given.mirrored, given.warped)
        around, other, warped = (context_features(each[chosen].float(), self.spec.windows) for each in views)
        elsewhere = 1 - objectness(given.cells[chosen][..., -1].float(), given.level)
        shares = self.model(around)
        terms = losses(shares, self.model(other).flip(2), around, elsewhere, self.k, self.recipe)
        terms["affine_equivariance"] = self.recipe.affine_equivariance * _agreement(
            shares, self.model(warped), given.theta[chosen]
        )
        return torch.stack(list(terms.values())).sum()
