"""From which score on a part counts as seen: where the image and its mirror image agree about its place."""

import torch

from lmpnet_cli.model.part_head import PartHead, unflip, within_one_cell
from lmpnet_cli.parts.learning import Material

PRESENT = 0.5  # share of a cell from which on a part is taken for present, at the latest


def visibility_threshold(part_head: PartHead, material: Material, agreement: float = 0.95) -> float:
    """The lowest score from which on the place of a part is to be believed.

    Believed is a place that the mirror image confirms within one cell of a 14 x 14 grid: among all (image, part) with a
    score of at least the threshold, a share of `agreement` is confirmed. It is at most 0.5, from which on PDiscoNet
    takes a part for present: with few training images no score may reach the agreement. And it is at least the share
    that each part and background of a cell without any hint has, for images may agree wherever there is nothing.
    """
    found, again = part_head.located(material.cells), part_head.located(material.mirrored)
    height, width = material.cells.shape[1:3]
    confirmed = within_one_cell(found.positions, unflip(again.positions, width), (height, width)).flatten()
    order = found.scores.flatten().sort(descending=True, stable=True)
    share = confirmed[order.indices].double().cumsum(0) / torch.arange(1, len(order.values) + 1)
    good = (share >= agreement).nonzero()
    chance = 1 / (part_head.spec.k + part_head.spec.backgrounds)
    return max(chance, min(PRESENT, float(order.values[good[-1, 0]]))) if len(good) else PRESENT
