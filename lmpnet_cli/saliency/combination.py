"""Combine both relevance maps into one confidence map (poster, "combination"; docs/papers.md P7).

Each map is standardised over its own image and passed through a sigmoid; the results are added with weights. A constant
map carries no information and becomes 0.5 everywhere.
"""

import torch
from torch import Tensor


def standardise(maps: Tensor) -> Tensor:
    """Scale each (H, W) map of (B, H, W) to mean 0 and standard deviation 1; a constant map becomes 0."""
    flat = maps.double().flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    deviation = centred.square().mean(1, keepdim=True).sqrt()

    # rounding leaves a constant map with a tiny deviation
    noise = torch.finfo(torch.float32).eps * flat.abs().amax(1, keepdim=True)
    constant = deviation <= noise
    scaled = torch.where(constant, 0.0, centred / deviation.masked_fill(constant, 1.0))
    return scaled.float().view_as(maps)


def combine(coarse: Tensor, fine: Tensor, coarse_weight: float) -> Tensor:
    """Return the confidence of every pixel, in (0, 1).

    Args:
        coarse, fine: (B, H, W) relevance by occlusion and by guided backpropagation.
        coarse_weight: weight of the coarse map, in [0, 1]; the fine map gets the rest.

    Returns:
        (B, H, W).
    """
    if coarse.shape != fine.shape:
        raise ValueError(f"expected two maps of the same shape, received {tuple(coarse.shape)} and {tuple(fine.shape)}")
    return coarse_weight * standardise(coarse).sigmoid() + (1 - coarse_weight) * standardise(fine).sigmoid()
