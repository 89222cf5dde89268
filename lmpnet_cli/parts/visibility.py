"""The score from which a part counts as visible: where the image and the flipped image agree about its position."""

import torch

from lmpnet_cli.model.part_head import PartHead, unflip, within_one_cell
from lmpnet_cli.parts.learning import TrainingFeatures

PRESENT = 0.5  # the score from which PDiscoNet counts a part as present


def visibility_threshold(
    part_head: PartHead, features: TrainingFeatures, agreement: float = 0.95, highest: float = PRESENT
) -> float:
    """Return the lowest score from which a part's position can be trusted.

    A position can be trusted if the flipped image confirms it within one cell of a 14 x 14 grid: of all (image, part)
    with a score of at least the threshold, a share of `agreement` is confirmed.

    Args:
        highest: upper limit, since with few training images no score may reach the agreement.

    Returns:
        A score between `highest` and the share that each part and background gets in a cell without any evidence:
        below that the two images may agree everywhere although there is nothing.
    """
    found, flipped = part_head.located(features.original), part_head.located(features.flipped)
    positions = unflip(flipped.positions, features.map_size[1])
    confirmed = within_one_cell(found.positions, positions, features.map_size).flatten()

    # the share that is confirmed among all scores at least as high
    ranked = found.scores.flatten().sort(descending=True, stable=True)
    share = confirmed[ranked.indices].double().cumsum(0) / torch.arange(1, len(ranked.values) + 1)
    trusted = (share >= agreement).nonzero()
    if not len(trusted):
        return highest
    chance = 1 / (part_head.spec.k + part_head.spec.backgrounds)
    return max(chance, min(highest, float(ranked.values[trusted[-1, 0]])))
