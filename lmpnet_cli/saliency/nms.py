"""Non-maximum suppression: drop points near a stronger one, keep the strongest rest (poster, "combination")."""

import math

import torch
from torch import Tensor
from torch.nn import functional

MAX_POINTS = 1000  # per image; a larger image, or a radius near 0, may have tens of thousands


def local_maxima(maps: Tensor, radius: float) -> Tensor:
    """Mark the pixels that have no stronger pixel strictly closer than `radius` (Euclidean, in pixels).

    Among equal pixels the first in row-major order counts as the stronger one, so a plateau of that size yields one
    point, its first pixel.

    Args:
        maps: (B, H, W).

    Returns:
        (B, H, W) of bool.
    """
    batch, height, width = maps.shape

    # replace values by ranks, which have no ties; whole numbers up to 2^24 are exact in float32
    order = maps.flatten(1).sort(dim=1, descending=True, stable=True).indices
    descending = torch.arange(height * width, 0, -1, device=maps.device).expand(batch, -1)
    rank = torch.empty_like(order).scatter_(1, order, descending).float().view(batch, 1, height, width)

    # take the maximum over a disc, one row of the disc at a time
    reach = min(max(0, math.ceil(radius) - 1), height - 1)  # largest whole distance below the radius
    best = rank
    for step in range(-reach, reach + 1):
        half = min(max(0, math.ceil(math.sqrt(radius**2 - step**2)) - 1), width - 1)  # half the disc's width here
        strongest = functional.max_pool2d(rank, (1, 2 * half + 1), stride=1, padding=(0, half))
        best = torch.maximum(best, _shift_rows(strongest, step))
    return (best == rank)[:, 0]


def _shift_rows(maps: Tensor, step: int) -> Tensor:
    """Move row y + step to row y; rows from outside the map become 0, which is below every rank."""
    padded = functional.pad(maps, (0, 0, max(0, -step), max(0, step)))
    return padded[:, :, max(0, step) : max(0, step) + maps.shape[2]]


def strongest_points(maps: Tensor, radius: float, keep: float, k: int | None) -> tuple[Tensor, Tensor]:
    """Return the strongest share `keep` of the local maxima, at most k of them (docs/papers.md P8, P10).

    Args:
        maps: (B, H, W) confidences, positive.
        radius: points closer than this to a stronger one are dropped, in pixels.
        keep: share of the local maxima to keep, by confidence; the count is rounded up.
        k: None takes the largest number that an image of the batch has, at most `MAX_POINTS`.

    Returns:
        (B, k, 2) row and column, and (B, k) confidences, strongest first; NaN if there are fewer points.
    """
    peaks = local_maxima(maps, radius).flatten(1)
    allowed = (peaks.sum(1).double() * keep).ceil().long()  # (B,)
    if k is None:
        k = min(int(allowed.max()), MAX_POINTS)
    allowed = allowed.clamp(max=k)

    masked = maps.flatten(1).masked_fill(~peaks, -torch.inf)
    available = min(k, masked.shape[1])
    ranked = masked.sort(dim=1, descending=True, stable=True)
    scores, pixels = ranked.values[:, :available], ranked.indices[:, :available]

    width = maps.shape[2]
    positions = torch.stack([pixels // width, pixels % width], -1).float()

    missing = torch.arange(available, device=maps.device) >= allowed[:, None]
    positions = positions.masked_fill(missing[..., None], torch.nan)
    scores = scores.masked_fill(missing, torch.nan)
    return (
        functional.pad(positions, (0, 0, 0, k - available), value=torch.nan),
        functional.pad(scores, (0, k - available), value=torch.nan),
    )
