"""Filter selection (LMPNet, section 3.2): on each image, keep the filters that answer most strongly.

A filter's pattern is clear where its activation is high and is lost further down, so the selection is made anew for
every image. Each selected filter makes one keypoint proposal: the cell of its maximum.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Proposals:
    """One-hot keypoint proposals, one for each filter, stored as cells.

    Attributes:
        cells: (B, C) row-major cell of each map's first maximum.
        strengths: (B, C) the maximum itself.
        live: (B, C) True for proposals that may vote.
        map_size: (H, W) in cells.
    """

    cells: Tensor
    strengths: Tensor
    live: Tensor
    map_size: tuple[int, int]

    def voting(self, kept: Tensor) -> "Proposals":
        """Return the same proposals, of which only those in `kept`, (B, C), may still vote."""
        return Proposals(self.cells, self.strengths, self.live & kept, self.map_size)


def propose(maps: Tensor) -> Proposals:
    """Make one proposal for each map that is not zero everywhere.

    Args:
        maps: (B, C, H, W) raw maps, after the last ReLU.
    """
    strengths, cells = maps.flatten(2).max(2)
    return Proposals(cells, strengths, strengths > 0, (maps.shape[2], maps.shape[3]))


def select(proposals: Proposals, filters: int | None = None) -> Proposals:
    """Keep the `filters` strongest proposals of each image; None or a number above C keeps all.

    Among equal strengths the lower filter index is kept.
    """
    count = proposals.live.shape[1]
    if filters is None or filters >= count:
        return proposals

    order = proposals.strengths.sort(stable=True, dim=1, descending=True).indices[:, :filters]
    return proposals.voting(torch.zeros_like(proposals.live).scatter_(1, order, True))


def concatenate(first: Proposals, second: Proposals) -> Proposals:
    """Join the proposals of two networks into one list (docs/papers.md L17).

    Raises:
        ValueError: when their maps differ in size.
    """
    if first.map_size != second.map_size:
        raise ValueError(f"expected maps of one size, received {first.map_size} and {second.map_size}")

    return Proposals(
        torch.cat([first.cells, second.cells], 1),
        torch.cat([first.strengths, second.strengths], 1),
        torch.cat([first.live, second.live], 1),
        first.map_size,
    )
