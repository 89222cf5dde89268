"""Learns a keypoint vocabulary from the maps of training images. No annotation and no class label is used.

1. Principal directions, what is object, and clusters of cells: `vocabulary_start.py`.
2. The clusters' centres move by gradient descent: every part is present in every image, in one place, unlike the other
   parts, in the same place of the mirrored and of the turned image, and on the object.
3. Of several such descents the one that ends lowest is kept, and of its parts those that tell most: `choice.py`.
4. From which score on a part counts as seen: where the image and its mirror image agree about its place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lmpnet_cli.lmp.choice import telling_parts
from lmpnet_cli.lmp.turning import turn
from lmpnet_cli.lmp.vocabulary import GRID, Vocabulary, VocabularySpec, locate, surroundings
from lmpnet_cli.lmp.vocabulary_start import first_centres, object_level

PRESENT = 0.5  # share of a cell from which on a part is taken for present, at the latest
SAMPLE = 500  # images that the clusters start from
SOFTNESS = 0.3  # standard deviations of the activation


@dataclass(frozen=True)
class Recipe:
    """Weights of the losses and the course of the descent; chosen on held-out training images of CUB.

    Attributes:
        parts: that are learned at least; where fewer are wanted, the others join the background.
        starts: descents, of which the one that ends lowest is kept.
        steps: of each.
    """

    parts: int = 8
    starts: int = 4
    steps: int = 500
    batch: int = 64
    learning_rate: float = 3e-3
    temperature: float = 10.0
    presence: float = 4.0
    concentration: float = 20.0
    distinctness: float = 0.3
    mirroring: float = 2.0
    turning: float = 2.0
    objectness: float = 4.0

    def images(self, count: int) -> int:
        """How many images, repetitions included, pass in all descents over so many different ones."""
        return self.starts * self.steps * min(self.batch, count)


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
    steady = functional.avg_pool2d(parts.permute(0, 3, 1, 2), min(3, height, width), 1)
    terms = {
        "presence": recipe.presence * (1 - steady.amax((2, 3))).mean(),
        "concentration": recipe.concentration * torch.as_tensor(spread).mean(),
        "distinctness": recipe.distinctness * likeness.square().sum((1, 2)).mean() / k,
        "mirroring": recipe.mirroring * (shares - mirrored).square().sum(-1).mean(),
        "objectness": recipe.objectness * (parts.sum(-1) * elsewhere).mean(),
    }
    return terms


def _agreement(shares: Tensor, turned: Tensor, theta: Tensor) -> Tensor:
    """How far (B, H, W, A) shares, turned, are from those of the turned images, where both are known."""
    expected, inside = turn(shares.permute(0, 3, 1, 2), theta)
    away = (expected.permute(0, 2, 3, 1) - turned).square().sum(-1)
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
    turned: Tensor
    theta: Tensor


def learn(
    material: Material,
    spec: VocabularySpec,
    seed: int = 0,
    recipe: Recipe | None = None,
    told: Callable[[int, str], Any] = lambda _count, _note: None,
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a vocabulary's linear layer: `spec.k` parts, then kinds of background.

    Several descents start from clusters of their own; the one whose losses end lowest is kept, for some end where two
    parts share one place of the object. Parts beyond `spec.k` are dropped, so there may be more kinds of background
    than in `spec`.

    Args:
        told: called after every step with the number of images and the latest figures.

    Raises:
        ValueError: when there are fewer different cells than parts and backgrounds.
    """
    recipe = recipe or Recipe()
    seeds = torch.randint(2**31, (recipe.starts,), generator=torch.Generator().manual_seed(seed)).tolist()
    ends = [_descent(material, spec, each, recipe, told) for each in seeds]
    _, model = min(ends, key=lambda end: end[0])
    with torch.no_grad():
        weight, bias = model.linear()
        parts = weight.shape[1] - spec.backgrounds
        if parts == spec.k:
            return weight, bias
        places = [_places(model, cells, spec, parts) for cells in (material.cells, material.mirrored)]
        places[1][..., 1] = material.cells.shape[2] - 1 - places[1][..., 1]
        kept = telling_parts(places[0], places[1], spec.k)
        order = [*kept, *(answer for answer in range(weight.shape[1]) if answer not in kept)]
        return weight[:, order], bias[order]


def _places(model: _Prototypes, cells: Tensor, spec: VocabularySpec, parts: int) -> Tensor:
    """(N, parts, 2) row and column on all images."""
    blocks = (surroundings(block.float(), spec.windows) for block in torch.split(cells, 64))
    return torch.cat([locate(model(block)[..., :parts].permute(0, 3, 1, 2)).positions for block in blocks])


def _descent(
    material: Material, spec: VocabularySpec, seed: int, recipe: Recipe, told: Callable[[int, str], Any]
) -> tuple[float, _Prototypes]:
    """The mean loss over the last tenth of the steps, and what was learned."""
    cells = material.cells
    dice = torch.Generator().manual_seed(seed)
    sample = cells[torch.randperm(len(cells), generator=dice)[:SAMPLE]].float()
    level = object_level(cells[..., -1].float())
    active = sample[..., -1] > level
    k = max(spec.k, min(recipe.parts, int(active.sum())))
    centres = first_centres(surroundings(sample, spec.windows), active, k, spec.backgrounds, seed)
    model = _Prototypes(centres, recipe.temperature)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    size = min(recipe.batch, len(cells))
    order = torch.empty(0, dtype=torch.long)
    course: list[float] = []
    for step in range(recipe.steps):
        if len(order) < size:
            order = torch.randperm(len(cells), generator=dice)
        chosen, order = order[:size], order[size:]
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (0.5 + 0.5 * math.cos(math.pi * step / recipe.steps))
        views = (cells, material.mirrored, material.turned)
        around, other, turned = (surroundings(each[chosen].float(), spec.windows) for each in views)
        elsewhere = torch.sigmoid((level - cells[chosen][..., -1].float()) / SOFTNESS)
        shares = model(around)
        terms = losses(shares, model(other).flip(2), around, elsewhere, k, recipe)
        terms["turning"] = recipe.turning * _agreement(shares, model(turned), material.theta[chosen])
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        course.append(loss.item())
        told(size, f"loss {course[-1]:.3f}")
    return float(np.mean(course[-math.ceil(recipe.steps / 10) :])), model


def visibility_threshold(vocabulary: Vocabulary, material: Material, agreement: float = 0.95) -> float:
    """The lowest score from which on the place of a part is to be believed.

    Believed is a place that the mirror image confirms within one cell of a 14 x 14 grid: among all (image, part) with a
    score of at least the threshold, a share of `agreement` is confirmed. It is at most 0.5, from which on PDiscoNet
    takes a part for present: with few training images no score may reach the agreement.
    """
    scores, confirmed = [], []
    for start in range(0, len(material.cells), 64):
        parts, other = (
            vocabulary.shares(each[start : start + 64].float())[:, : vocabulary.spec.k]
            for each in (material.cells, material.mirrored)
        )
        found, again = locate(parts), locate(other.flip(3))
        cell = torch.tensor(parts.shape[2:]) / GRID
        scores.append(found.scores.flatten())
        confirmed.append((((found.positions - again.positions) / cell).norm(dim=-1) < 1).flatten())
    order = torch.cat(scores).sort(descending=True, stable=True)
    share = torch.cat(confirmed)[order.indices].double().cumsum(0) / torch.arange(1, len(order.values) + 1)
    good = (share >= agreement).nonzero()
    return min(PRESENT, float(order.values[good[-1, 0]])) if len(good) else PRESENT
