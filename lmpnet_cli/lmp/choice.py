"""Which of several learned parts to keep: those from whose places the places of all follow best.

k-means may give two parts to the wing and none to the tail. So a vocabulary learns a few parts more than are wanted,
and drops those that the others make superfluous; they join the background.
"""

import torch
from torch import Tensor


def telling_parts(positions: Tensor, k: int) -> list[int]:
    """The k parts that are left when, one after the other, the part is dropped that is missed least.

    A part is missed by as much as the places of all parts follow worse, by least squares, from those of the rest.

    Args:
        positions: (N, K, 2) of all parts on the training images.

    Returns:
        Rising indices.
    """
    places = positions.double().flatten(1)
    places = (places - places.mean(0)) / places.std(0).clamp_min(1e-9)
    kept = list(range(positions.shape[1]))
    while len(kept) > k:
        left = [[part for part in kept if part != dropped] for dropped in kept]
        kept = min(left, key=lambda rest: _unexplained(places, rest))
    return kept


def _unexplained(places: Tensor, rest: list[int]) -> float:
    """Mean distance, in standard deviations, of all parts from where the rest puts them."""
    columns = [2 * part + axis for part in rest for axis in (0, 1)]
    given = places[:, columns]
    # driver of LAPACK that copes with parts that never move
    fit = torch.linalg.lstsq(given, places, driver="gelsd").solution
    return float((places - given @ fit).view(len(places), -1, 2).norm(dim=2).mean())
