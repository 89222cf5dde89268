"""Fusion (LMPNet, section 3.4, papers.md 1.11.12, 13 and 17): the proposals of both networks to final keypoints.

1. Select the strongest filters of each network, on each image.
2. Cluster the proposals of both together, so that duplicates fall to the same erasing rule.
3. Read the position between cells from the raw maps of the filters that voted.
4. Score: the share of the kept activation that voted for the keypoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmpnet_cli.model.clustering import ITERATIONS, Clusters, cluster
from lmpnet_cli.model.lmpnet import LMPNetOutput
from lmpnet_cli.model.part_head import GRID
from lmpnet_cli.model.selection import Proposals, concatenate, leave_border, propose, select


@dataclass(frozen=True)
class Detections:
    """Keypoints of a batch in map coordinates; everything is NaN where a keypoint was not found.

    Attributes:
        positions: (B, K, 2) row, column; whole numbers are cell centres.
        scores: (B, K) share of the kept activation that voted, in [0, 1].
        replica_shares: (B, K) the replica's part in that share, in [0, 1].
        map_size: (H, W) in cells.
    """

    positions: Tensor
    scores: Tensor
    replica_shares: Tensor
    map_size: tuple[int, int]


@dataclass(frozen=True)
class Ballot:
    """Who may vote in a batch; the same for every threshold.

    Attributes:
        proposals: (B, V) the selected filters of the network, then the replica's, in the order of their indices.
        filters: (B, V) those indices; the replica's follow the network's.
        maps: (B, C, HW) raw maps of the network and, where there is one, of the replica: all, since picking the
            selected ones would copy more than everything else here.
    """

    proposals: Proposals
    filters: Tensor
    maps: Sequence[Tensor]


def ballot(output: LMPNetOutput, filters: int | None = None, margin: int = 0) -> Ballot:
    """The selected proposals of both networks.

    Args:
        filters: strongest filters kept of each network; None keeps all.
        margin: outermost rows and columns of cells without a vote; not in the paper.
    """
    all_maps = [output.maps] if output.replica_maps is None else [output.maps, output.replica_maps]
    selected = [leave_border(select(propose(maps.float()), filters), margin) for maps in all_maps]
    proposals = selected[0] if len(selected) == 1 else concatenate(*selected)
    # filters that were not selected are left out, which halves all work that follows
    voters = sum(min(filters or maps.shape[1], maps.shape[1]) for maps in all_maps)
    order = proposals.live.byte().sort(dim=1, descending=True, stable=True).indices[:, :voters]  # (B, V)
    chosen = Proposals(
        proposals.cells.gather(1, order),
        proposals.strengths.gather(1, order),
        proposals.live.gather(1, order),
        proposals.map_size,
    )
    return Ballot(chosen, order, [maps.float().flatten(2) for maps in all_maps])


def fuse(votes: Ballot, k: int = 5, threshold: float = 3.0, iterations: int = ITERATIONS) -> Detections:
    """The keypoint branch on the proposals of both networks.

    Args:
        threshold: erasing distance in cells of a 14 x 14 grid over the image.
        iterations: inner iterations of Algorithm 1, on which neither positions nor scores depend.
    """
    return fuse_sweep(votes, k, [threshold], iterations)[0]


def fuse_sweep(votes: Ballot, k: int, thresholds: Sequence[float], iterations: int = ITERATIONS) -> list[Detections]:
    """`fuse` for several thresholds; the raw maps, which are large, are read once for all."""
    size = votes.proposals.map_size
    sweep = [cluster(votes.proposals, k, iterations, threshold * size[0] / GRID) for threshold in thresholds]
    summed = torch.split(_summed_maps(votes, torch.cat([clusters.members for clusters in sweep], 1)), k, 1)
    found = []
    for clusters, maps in zip(sweep, summed, strict=True):
        scores, shares = _scores(votes, clusters)
        missing = ~clusters.found
        found.append(
            Detections(
                _positions(maps, size, clusters).masked_fill(missing[..., None], torch.nan),
                scores.masked_fill(missing, torch.nan),
                shares.masked_fill(missing, torch.nan),
                size,
            )
        )
    return found


def _summed_maps(votes: Ballot, members: Tensor) -> Tensor:
    """For each keypoint the sum of its voting filters' raw maps, (B, K, V) of bool -> (B, K, HW)."""
    batch, k, _ = members.shape
    counts = [maps.shape[1] for maps in votes.maps]
    members = members.float()
    members = members.new_zeros(batch, k, sum(counts)).scatter_(2, votes.filters[:, None].expand_as(members), members)
    sums = [torch.bmm(own, maps) for own, maps in zip(torch.split(members, counts, 2), votes.maps, strict=True)]
    return sums[0] if len(sums) == 1 else sums[0] + sums[1]


def _positions(summed: Tensor, map_size: tuple[int, int], clusters: Clusters) -> Tensor:
    """Centroid of the 3 x 3 cells around each winner, weighted by the summed maps (B, K, HW); (B, K, 2)."""
    height, width = map_size
    cells = torch.arange(height * width, device=summed.device)
    rows, columns = cells // width, cells % width
    row, column = clusters.cells // width, clusters.cells % width  # (B, K)
    near = ((rows - row[..., None]).abs() <= 1) & ((columns - column[..., None]).abs() <= 1)
    weights = summed * near  # (B, K, HW)
    total = weights.sum(2).clamp(min=torch.finfo(torch.float32).tiny)
    offset_row = (weights * (rows - row[..., None])).sum(2) / total
    offset_column = (weights * (columns - column[..., None])).sum(2) / total
    return torch.stack([row + offset_row, column + offset_column], -1)


def _scores(votes: Ballot, clusters: Clusters) -> tuple[Tensor, Tensor]:
    strengths = votes.proposals.strengths * votes.proposals.live  # (B, V)
    cast = clusters.members * strengths[:, None]  # (B, K, V)
    of_replica = votes.filters >= votes.maps[0].shape[1]
    tiny = torch.finfo(torch.float32).tiny
    voted = cast.sum(2)
    total = strengths.sum(1, keepdim=True).clamp(min=tiny)
    return (voted / total).clamp(0, 1), (cast * of_replica[:, None]).sum(2) / voted.clamp(min=tiny)
