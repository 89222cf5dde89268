"""Which of several learned parts to keep: those from whose places the places of all follow best.

Learned four at a time, parts are large and lie in the middle of the object; of eight smaller ones, four tell more.
Parts beside the object tell much too, but a keypoint is to lie on something. And an unsteady part, whose place no other
tells, would always be kept to explain itself.
"""

from itertools import combinations

import torch
from torch import Tensor

FEW = 4
ON_OBJECT = 0.8  # share of the images on which a part is to lie on the object
STEADY = 0.9  # share of the images on which the mirror image is to show a part in the same cell of a 14 x 14 grid


def most_informative_parts(
    positions: Tensor, again: Tensor, k: int, on_object: Tensor, confirmed: Tensor
) -> tuple[int, ...]:
    """The k parts from which the places of all parts in the mirror images follow best, by least squares.

    Of those that are steady and on the object. The mirror images keep an unsteady part from explaining itself.

    Args:
        positions: (N, K, 2) of all parts on the training images.
        again: (N, K, 2) of the same parts on the mirror images, mirrored back.
        on_object: (K,) on which share of the images each part lies on the object.
        confirmed: (K,) on which share of them the mirror image confirms its place. Where fewer than k reach `ON_OBJECT`
            and `STEADY`, those that come nearest are taken.

    Returns:
        Rising indices. With fewer than `FEW` images for each part least squares explain everything: then the parts that
        come nearest to both, of equally good ones the first.
    """
    given, wanted = positions.double(), again.double().flatten(1)
    constant = torch.ones(len(given), 1, dtype=torch.float64)

    worth = torch.minimum(on_object / ON_OBJECT, confirmed / STEADY)
    order = worth.sort(descending=True, stable=True)
    if len(given) < FEW * k:
        return tuple(sorted(order.indices[:k].tolist()))

    def unexplained(parts: tuple[int, ...]) -> float:
        known = torch.cat([given[:, list(parts)].flatten(1), constant], 1)
        # driver of LAPACK that copes with parts that never move
        fit = torch.linalg.lstsq(known, wanted, driver="gelsd").solution
        return float((wanted - known @ fit).unflatten(1, (-1, 2)).norm(dim=2).mean())

    enough = min(1.0, float(order.values[k - 1]))
    return min(combinations((worth >= enough).nonzero()[:, 0].tolist(), k), key=unexplained)
