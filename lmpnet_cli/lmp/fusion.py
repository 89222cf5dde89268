"""Fusion (LMPNet, section 3.4, papers.md 1.11.12, 13 and 17): the proposals of both networks to final keypoints.

1. Select the strongest filters of each network, on each image.
2. Cluster the proposals of both together, so that duplicates fall to the same erasing rule.
3. Read the position between cells from the raw maps of the filters that voted.
4. Score: the share of the kept activation that voted for the keypoint.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmpnet_cli.lmp.clustering import ITERATIONS, Clusters, cluster
from lmpnet_cli.lmp.network import GRID, PairMaps
from lmpnet_cli.lmp.selection import Proposals, concatenate, leave_border, propose, select


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
        maps: (B, V, HW) their raw maps.
        of_replica: (B, V) True for the replica's.
    """

    proposals: Proposals
    maps: Tensor
    of_replica: Tensor


def ballot(pair: PairMaps, filters: int | None = None, margin: int = 0) -> Ballot:
    """The selected proposals of both networks.

    Args:
        filters: strongest filters kept of each network; None keeps all.
        margin: outermost rows and columns of cells without a vote; not in the paper.
    """
    all_maps = [pair.maps] if pair.replica_maps is None else [pair.maps, pair.replica_maps]
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
    rows = torch.arange(len(order), device=order.device)[:, None]
    maps = torch.cat([each.flatten(2) for each in all_maps], 1)[rows, order]
    return Ballot(chosen, maps.float(), order >= pair.maps.shape[1])


def fuse(votes: Ballot, k: int = 5, threshold: float = 3.0, iterations: int = ITERATIONS) -> Detections:
    """The keypoint branch on the proposals of both networks.

    Args:
        threshold: erasing distance in cells of a 14 x 14 grid over the image.
        iterations: inner iterations of Algorithm 1, on which neither positions nor scores depend.
    """
    proposals = votes.proposals
    scaled = threshold * proposals.map_size[0] / GRID
    clusters = cluster(proposals, k, iterations, scaled)
    positions = _positions(votes.maps, proposals.map_size, clusters)
    scores, shares = _scores(votes, clusters)
    missing = ~clusters.found
    return Detections(
        positions.masked_fill(missing[..., None], torch.nan),
        scores.masked_fill(missing, torch.nan),
        shares.masked_fill(missing, torch.nan),
        proposals.map_size,
    )


def _positions(maps: Tensor, map_size: tuple[int, int], clusters: Clusters) -> Tensor:
    """Centroid of the 3 x 3 cells around each winner, weighted by the voting filters' raw maps; (B, K, 2)."""
    height, width = map_size
    summed = torch.bmm(clusters.members.float(), maps)  # (B, K, HW)
    cells = torch.arange(height * width, device=maps.device)
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
    tiny = torch.finfo(torch.float32).tiny
    voted = cast.sum(2)
    total = strengths.sum(1, keepdim=True).clamp(min=tiny)
    return (voted / total).clamp(0, 1), (cast * votes.of_replica[:, None]).sum(2) / voted.clamp(min=tiny)
