"""Non-maximum suppression: points near a stronger one are dropped (papers.md 2.3.1)."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def local_maxima(maps: Tensor, radius: float) -> Tensor:
    """Pixels without a stronger one strictly nearer than `radius` (Euclidean).

    Of equal pixels the first in row-major order counts as the stronger, so a plateau of that size gives one point, its
    first pixel.

    Args:
        maps: (B, H, W).

    Returns:
        (B, H, W) of bool.
    """
    batch, height, width = maps.shape
    # ranks have no ties; whole numbers up to 2^24 are exact in float32
    order = maps.flatten(1).sort(dim=1, descending=True, stable=True).indices
    ranks = torch.empty_like(order).scatter_(
        1, order, torch.arange(height * width, 0, -1, device=maps.device).expand(batch, -1)
    )
    rank = ranks.float().view(batch, 1, height, width)
    reach = min(max(0, math.ceil(radius) - 1), height - 1)  # largest whole distance below the radius
    best = rank
    for step in range(-reach, reach + 1):
        # in the row `step` below, the disc reaches this far to either side
        half = min(max(0, math.ceil(math.sqrt(radius**2 - step**2)) - 1), width - 1)
        strongest = functional.max_pool2d(rank, (1, 2 * half + 1), stride=1, padding=(0, half))
        best = torch.maximum(best, _shifted(strongest, step))
    return (best == rank)[:, 0]


def _shifted(maps: Tensor, step: int) -> Tensor:
    """Row y of the result is row y + step, 0 beyond the border, where ranks begin at 1."""
    padded = functional.pad(maps, (0, 0, max(0, -step), max(0, step)))
    return padded[:, :, max(0, step) : max(0, step) + maps.shape[2]]


def strongest_points(maps: Tensor, radius: float, keep: float, k: int) -> tuple[Tensor, Tensor]:
    """The k strongest of the share `keep` of the points left after suppression.

    Args:
        maps: (B, H, W) confidences, positive.
        keep: share of the points by confidence, rounded up.

    Returns:
        (B, k, 2) row and column, and (B, k) confidences, strongest first; NaN where there are fewer points.
    """
    peaks = local_maxima(maps, radius).flatten(1)
    allowed = (peaks.sum(1).double() * keep).ceil().long().clamp(max=k)  # (B,)
    masked = maps.flatten(1).masked_fill(~peaks, -torch.inf)
    wanted = min(k, masked.shape[1])
    ranked = masked.sort(dim=1, descending=True, stable=True)
    scores, cells = ranked.values[:, :wanted], ranked.indices[:, :wanted]
    missing = torch.arange(wanted, device=maps.device) >= allowed[:, None]
    width = maps.shape[2]
    positions = torch.stack([cells // width, cells % width], -1).float()
    positions = positions.masked_fill(missing[..., None], torch.nan)
    scores = scores.masked_fill(missing, torch.nan)
    return (
        functional.pad(positions, (0, 0, 0, k - wanted), value=torch.nan),
        functional.pad(scores, (0, k - wanted), value=torch.nan),
    )
