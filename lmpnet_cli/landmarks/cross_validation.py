"""How well landmarks are found on other images than they were learned from, and from which score they are visible."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lmpnet_cli.landmarks.learning import CHUNK, Examples, learn_weights
from lmpnet_cli.model.landmark_head import LandmarkHead
from lmpnet_cli.model.part_head import Located

FOLDS = 5


@dataclass(frozen=True)
class CrossValidation:
    """Every image as it is found by a head that was learned from the others.

    Attributes:
        located: (N, k, 2) positions and (N, k) scores.
        threshold: (k,) the score from which a landmark is found as often as it was annotated.
        folds: number of groups of images.
    """

    located: Located
    threshold: Tensor
    folds: int


def cross_validate(
    examples: Examples, head: LandmarkHead, seed: int, advance: Callable[[int], object]
) -> CrossValidation:
    """Learn from the images of all folds but one, and find the landmarks on the images of that one.

    Args:
        head: with its principal directions; its weights do not matter.
        seed: draws the folds.
        advance: is told about every fold.
    """
    count = int(examples.image.max()) + 1
    folds = min(FOLDS, count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    positions, scores = torch.zeros(count, head.spec.k, 2), torch.zeros(count, head.spec.k)

    for fold in range(folds):
        tested = order[fold::folds]
        own = copy.deepcopy(head)
        learn_weights(examples.of(order[~torch.isin(order, tested)]), own)
        found = locate(own, examples.cells[tested])
        positions[tested], scores[tested] = found.positions, found.scores
        advance(1)

    visible = ~examples.positions[:count, :, 0].isnan()
    return CrossValidation(Located(positions, scores), thresholds(scores, visible), folds)


def locate(head: LandmarkHead, cells: Tensor) -> Located:
    """Locate the landmarks on (N, H, W, directions + 1) features of any float type."""
    found = [head.located_in(chunk.float()) for chunk in torch.split(cells, CHUNK)]
    return Located(torch.cat([each.positions for each in found]), torch.cat([each.scores for each in found]))


def thresholds(scores: Tensor, visible: Tensor) -> Tensor:
    """Return for each landmark the score that as many images reach as show it; 0 where all show it.

    Args:
        scores: (N, k).
        visible: (N, k) of bool, as annotated.
    """
    ordered = scores.sort(0, descending=True).values
    shown = visible.sum(0)
    least = ordered.gather(0, (shown - 1).clamp_min(0)[None])[0]
    return torch.where(shown == len(scores), torch.zeros_like(least), least)
