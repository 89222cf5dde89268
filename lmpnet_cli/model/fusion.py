"""Fusion (LMPNet, section 3.3; docs/papers.md L12, L13, L17): the proposals of both networks to final keypoints.

1. Select the strongest filters of each network, on each image.
2. Cluster the proposals of both together, so that duplicates fall to the same erasing rule.
3. Read the position between cells from the raw maps of the filters that voted.
4. Score: the share of the selected activation that voted for the keypoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmpnet_cli.model.clustering import ITERATIONS, Clusters, cluster, to_map_cells
from lmpnet_cli.model.selection import Proposals, concatenate, propose, select

TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Detections:
    """Keypoints of a batch in map coordinates; everything is NaN where a keypoint was not found.

    Attributes:
        positions: (B, K, 2) row, column; whole numbers are cell centres.
        scores: (B, K) in [0, 1]; of the paper's keypoints the share of the selected activation that voted.
        map_size: (H, W) in cells.
        replica_shares: (B, K) the replica's part of that share, in [0, 1]; None for parts, which need no replica.
    """

    positions: Tensor
    scores: Tensor
    map_size: tuple[int, int]
    replica_shares: Tensor | None = None


@dataclass(frozen=True)
class Voters:
    """The selected proposals of a batch; the same for every threshold.

    Attributes:
        proposals: (B, V) the selected filters of the network, then the replica's, in the order of their indices.
        filters: (B, V) those indices; the replica's follow the network's.
        maps: (B, C, HW) raw maps of the network and, where there is one, of the replica: all of them, since copying the
            selected ones would cost more than everything else here.
    """

    proposals: Proposals
    filters: Tensor
    maps: Sequence[Tensor]

    @property
    def counts(self) -> list[int]:
        """Return the number of filters of each network."""
        return [maps.shape[1] for maps in self.maps]

    def by_filter(self, values: Tensor) -> Tensor:
        """Spread (B, K, V) values of the voters over all filters, zero elsewhere: (B, K, filters of all networks)."""
        spread = values.new_zeros(*values.shape[:2], sum(self.counts))
        return spread.scatter_(2, self.filters[:, None].expand_as(values), values)


def select_voters(maps: Sequence[Tensor], filters: int | None = None, margin: int = 0) -> Voters:
    """Select the proposals that vote.

    Args:
        maps: (B, C, H, W) raw maps of the network and, where there is one, of the replica.
        filters: strongest filters kept of each network; None keeps all.
        margin: outermost rows and columns of cells without a vote; not in the paper.
    """
    selected = [select(propose(each.float()), filters) for each in maps]
    proposals = selected[0] if len(selected) == 1 else concatenate(*selected)

    # zero padding causes responses in the outermost cells
    height, width = proposals.map_size
    rows, columns = proposals.cells // width, proposals.cells % width
    to_border = torch.minimum(torch.minimum(rows, height - 1 - rows), torch.minimum(columns, width - 1 - columns))
    proposals = proposals.voting(to_border >= margin)

    # filters that were not selected are dropped, which halves all work that follows
    count = sum(min(filters or each.shape[1], each.shape[1]) for each in maps)
    order = proposals.live.byte().sort(dim=1, descending=True, stable=True).indices[:, :count]  # (B, V)
    voting = Proposals(
        proposals.cells.gather(1, order),
        proposals.strengths.gather(1, order),
        proposals.live.gather(1, order),
        proposals.map_size,
    )
    return Voters(voting, order, [each.float().flatten(2) for each in maps])


def fuse(
    voters: Voters, k: int = 5, thresholds: Sequence[float] = (3.0,), iterations: int = ITERATIONS
) -> list[Detections]:
    """Apply the keypoint branch to the proposals of both networks, once for each threshold.

    The raw maps, which are large, are read once for all thresholds.

    Args:
        thresholds: erasing distances in cells of a 14 x 14 grid over the image.
        iterations: inner iterations of Algorithm 1; neither positions nor scores depend on them.
    """
    size = voters.proposals.map_size
    sweep = [cluster(voters.proposals, k, iterations, to_map_cells(each, size)) for each in thresholds]
    summed = torch.split(_summed_maps(voters, torch.cat([clusters.members for clusters in sweep], 1)), k, 1)
    return [_detections(voters, clusters, maps) for clusters, maps in zip(sweep, summed, strict=True)]


def _detections(voters: Voters, clusters: Clusters, summed: Tensor) -> Detections:
    missing = ~clusters.found
    positions = _positions(summed, voters.proposals.map_size, clusters)
    scores, shares = _scores(voters, clusters)

    return Detections(
        positions.masked_fill(missing[..., None], torch.nan),
        scores.masked_fill(missing, torch.nan),
        voters.proposals.map_size,
        shares.masked_fill(missing, torch.nan),
    )


def _summed_maps(voters: Voters, members: Tensor) -> Tensor:
    """Sum the raw maps of each keypoint's voting filters, (B, K, V) of bool -> (B, K, HW)."""
    weights = torch.split(voters.by_filter(members.float()), voters.counts, 2)
    sums = [torch.bmm(own, maps) for own, maps in zip(weights, voters.maps, strict=True)]
    return sums[0] if len(sums) == 1 else sums[0] + sums[1]


def _positions(summed: Tensor, map_size: tuple[int, int], clusters: Clusters) -> Tensor:
    """Return the centroid of the 3 x 3 cells around each winner, weighted by the summed maps (B, K, HW): (B, K, 2)."""
    height, width = map_size
    cells = torch.arange(height * width, device=summed.device)
    rows, columns = cells // width, cells % width
    row, column = clusters.cells // width, clusters.cells % width  # (B, K)

    near = ((rows - row[..., None]).abs() <= 1) & ((columns - column[..., None]).abs() <= 1)
    weights = summed * near  # (B, K, HW)
    total = weights.sum(2).clamp(min=TINY)
    offset_row = (weights * (rows - row[..., None])).sum(2) / total
    offset_column = (weights * (columns - column[..., None])).sum(2) / total
    return torch.stack([row + offset_row, column + offset_column], -1)


def _scores(voters: Voters, clusters: Clusters) -> tuple[Tensor, Tensor]:
    """Return the score of each keypoint and the replica's part of it, (B, K) both."""
    strengths = voters.proposals.strengths * voters.proposals.live  # (B, V)
    cast = clusters.members * strengths[:, None]  # (B, K, V)
    of_replica = voters.filters >= voters.counts[0]

    voted = cast.sum(2)
    total = strengths.sum(1, keepdim=True).clamp(min=TINY)
    return (voted / total).clamp(0, 1), (cast * of_replica[:, None]).sum(2) / voted.clamp(min=TINY)
