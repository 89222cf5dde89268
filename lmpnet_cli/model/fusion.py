"""Fusion (LMPNet, section 3.3; docs/papers.md L12, L13, L17): the proposals of both networks to final keypoints.

1. Select the strongest filters of each network, on each image.
2. Cluster the proposals of both together, so that duplicates fall to the same erasing rule; or cluster those of each
   network and merge the two lists of keypoints.
3. The position is the cell with most votes, or the centroid of the voting filters' raw maps around it.
4. Score: the share of the selected activation that voted for the keypoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmpnet_cli.model.clustering import Clusters, cluster, erasing_limit, squared_distances, to_map_cells
from lmpnet_cli.model.reading import DEFAULT_READING, Distance, Reading
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

    @property
    def of_replica(self) -> Tensor:
        """Tell which voters are the replica's, (B, V)."""
        return self.filters >= self.counts[0]

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
    voters: Voters, k: int = 5, thresholds: Sequence[float] = (3.0,), reading: Reading = DEFAULT_READING
) -> list[Detections]:
    """Apply the keypoint branch to the proposals of both networks, once for each threshold.

    The raw maps, which are large, are read once for all thresholds, and only where they decide the position.

    Args:
        thresholds: erasing distances in cells of a 14 x 14 grid over the image.
    """
    sweep = [fused_clusters(voters, k, each, reading) for each in thresholds]
    if reading.position == "cell":
        return [_detections(voters, clusters, _cells(voters, clusters)) for clusters in sweep]

    summed = torch.split(_summed_maps(voters, torch.cat([clusters.members for clusters in sweep], 1)), k, 1)
    return [
        _detections(voters, clusters, _centroids(maps, voters.proposals.map_size, clusters))
        for clusters, maps in zip(sweep, summed, strict=True)
    ]


def fused_clusters(voters: Voters, k: int, thr: float, reading: Reading = DEFAULT_READING) -> Clusters:
    """Find the keypoints of both networks together, as cells with their members among the voters.

    Args:
        thr: erasing distance in cells of a 14 x 14 grid over the image.
    """
    proposals, distance = voters.proposals, reading.distance
    threshold = to_map_cells(thr, proposals.map_size, distance)
    if reading.fusion == "proposals" or len(voters.maps) == 1:
        return cluster(proposals, k, reading.iterations, threshold, distance)

    of_each = (proposals.voting(~voters.of_replica), proposals.voting(voters.of_replica))
    first, second = (cluster(own, k, reading.iterations, threshold, distance) for own in of_each)
    return merge(proposals, first, second, threshold, distance)


def merge(proposals: Proposals, first: Clusters, second: Clusters, threshold: float, distance: Distance) -> Clusters:
    """Merge the keypoints of two networks into as many as either has (docs/papers.md L17).

    Those with most votes come first, a keypoint nearer than `threshold` to an earlier one is its duplicate, and the
    members of duplicates count for the keypoint that is kept. Among equal votes the network comes before the replica.

    Args:
        proposals: of both networks; the members of `first` and `second` refer to them.
        threshold: in cells of the map.
    """
    cells, found, maps, members = (
        torch.cat(pair, 1)
        for pair in (
            (first.cells, second.cells),
            (first.found, second.found),
            (first.votes, second.votes),
            (first.members, second.members),
        )
    )
    in_cell = members & (proposals.cells[:, None] == cells[..., None])  # (B, 2K, V)
    votes = in_cell.sum(2)
    squared, limit = squared_distances(*proposals.map_size, cells.device), erasing_limit(threshold, distance)

    chosen, kept, merged = [], [], []
    left = found
    for _ in range(first.cells.shape[1]):
        best = torch.where(left, votes, -1).argmax(1, keepdim=True)  # (B, 1)
        near = left & (squared[cells.gather(1, best)[:, 0]].gather(1, cells) < limit)  # (B, 2K)
        chosen.append(best)
        kept.append(left.any(1, keepdim=True))
        merged.append((members & near[..., None]).any(1))
        left = left & ~near

    order, is_found = torch.cat(chosen, 1), torch.cat(kept, 1)
    in_order = maps.gather(1, order[..., None, None].expand(-1, -1, *proposals.map_size))
    return Clusters(in_order * is_found[..., None, None], cells.gather(1, order), is_found, torch.stack(merged, 1))


def _detections(voters: Voters, clusters: Clusters, positions: Tensor) -> Detections:
    missing = ~clusters.found
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


def _cells(voters: Voters, clusters: Clusters) -> Tensor:
    """Return row and column of each winner, (B, K, 2)."""
    width = voters.proposals.map_size[1]
    return torch.stack([clusters.cells // width, clusters.cells % width], -1).float()


def _centroids(summed: Tensor, map_size: tuple[int, int], clusters: Clusters) -> Tensor:
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

    voted = cast.sum(2)
    total = strengths.sum(1, keepdim=True).clamp(min=TINY)
    return (voted / total).clamp(0, 1), (cast * voters.of_replica[:, None]).sum(2) / voted.clamp(min=TINY)
