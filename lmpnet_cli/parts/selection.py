"""Choose which of several learned parts to keep: those that predict the positions of all parts best.

If only four parts are learned, they are large and in the middle of the object; four out of eight smaller ones carry
more information. Two kinds of parts are avoided. Parts beside the object carry information as well, but a keypoint
should be on the object. A part whose position is unstable, and which no other part predicts, would always be kept to
predict itself.
"""

from itertools import combinations

import torch
from torch import Tensor

MIN_IMAGES_PER_PART = 4  # with fewer, least squares fit everything
MIN_ON_OBJECT = 0.8  # share of the images in which a part should be on the object
MIN_CONFIRMED = 0.9  # share of the images in which the flipped image should confirm a part's position


def most_informative_parts(
    positions: Tensor, flipped: Tensor, k: int, on_object: Tensor, confirmed: Tensor
) -> tuple[int, ...]:
    """Return the k parts that predict the positions of all parts in the flipped images best, by least squares.

    Only parts that are stable and on the object are considered. Because the flipped images are predicted, an unstable
    part cannot predict itself.

    Args:
        positions: (N, K, 2) of all parts in the training images.
        flipped: (N, K, 2) of the same parts in the flipped images, flipped back.
        on_object: (K,) share of the images in which each part is on the object.
        confirmed: (K,) share of the images in which the flipped image confirms its position. If fewer than k parts
            reach `MIN_ON_OBJECT` and `MIN_CONFIRMED`, those that come closest are taken.

    Returns:
        Ascending indices. With fewer than `MIN_IMAGES_PER_PART` images per part, the parts that come closest to both
        limits, the first ones in case of a tie.
    """
    known, wanted = positions.double(), flipped.double().flatten(1)
    constant = torch.ones(len(known), 1, dtype=torch.float64)

    quality = torch.minimum(on_object / MIN_ON_OBJECT, confirmed / MIN_CONFIRMED)
    ranked = quality.sort(descending=True, stable=True)
    if len(known) < MIN_IMAGES_PER_PART * k:
        return tuple(sorted(ranked.indices[:k].tolist()))

    def error(parts: tuple[int, ...]) -> float:
        design = torch.cat([known[:, list(parts)].flatten(1), constant], 1)
        # this LAPACK driver copes with parts that never move
        solution = torch.linalg.lstsq(design, wanted, driver="gelsd").solution
        return float((wanted - design @ solution).unflatten(1, (-1, 2)).norm(dim=2).mean())

    required = min(1.0, float(ranked.values[k - 1]))
    candidates = (quality >= required).nonzero()[:, 0].tolist()
    return min(combinations(candidates, k), key=error)
