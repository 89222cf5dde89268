"""Both relevance maps to one map of confidence (papers.md 2.3 and 2.5.7).

Each map is standardised on its own image and goes through a sigmoid; the two are added with weights. A map that is
constant says nothing and becomes 0.5 everywhere.
"""

import torch
from torch import Tensor


def standardise(maps: Tensor) -> Tensor:
    """Each (H, W) map of (B, H, W) to mean 0 and deviation 1; a constant one to 0."""
    flat = maps.double().flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    deviation = centred.square().mean(1, keepdim=True).sqrt()
    # rounding leaves a constant map with a deviation of some last digits
    noise = torch.finfo(torch.float32).eps * flat.abs().amax(1, keepdim=True)
    constant = deviation <= noise
    scaled = torch.where(constant, 0.0, centred / deviation.masked_fill(constant, 1.0))
    return scaled.float().view_as(maps)


def combine(coarse: Tensor, fine: Tensor, coarse_weight: float) -> Tensor:
    """The confidence of every pixel, in (0, 1).

    Args:
        coarse, fine: (B, H, W) relevance by occlusion and by guided gradients.
        coarse_weight: of the coarse map, in [0, 1]; the fine one gets the rest.

    Returns:
        (B, H, W).
    """
    if coarse.shape != fine.shape:
        raise ValueError(f"expected two maps of one shape, received {tuple(coarse.shape)} and {tuple(fine.shape)}")
    return coarse_weight * standardise(coarse).sigmoid() + (1 - coarse_weight) * standardise(fine).sigmoid()
