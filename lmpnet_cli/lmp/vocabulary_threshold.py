"""From which score on a part counts as seen: where the image and its mirror image agree about its place."""

import torch

from lmpnet_cli.lmp.vocabulary import GRID, Vocabulary, locate
from lmpnet_cli.lmp.vocabulary_learning import Material

PRESENT = 0.5  # share of a cell from which on a part is taken for present, at the latest


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
