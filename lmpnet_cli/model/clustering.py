"""Learnable clustering (LMPNet, section 3.4, Algorithm 1) for a batch, with no loop over images or filters.

Proposals are one-hot maps and W starts alike for all of them, so the proposals of one cell stay alike: each cell is
weighed once and counts as often as it has live proposals. Erased proposals stay alike as well; they are the last entry
of each weight vector. What the paper leaves open is decided in docs/papers.md: similarity 1 / max(d, 0.5) (L1), d is
the squared distance between cells unless the Euclidean one is asked for (L3), an erased proposal keeps its share of the
softmax but gains no similarity and casts no vote (L6), and between cells with equal votes the larger sum of live raw
maxima wins, then the lower row-major index (L7).

"Learnable" refers to the update of W, which starts at 1 for every image: nothing is learned by gradient.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lmpnet_cli.model.reading import Distance, Reading
from lmpnet_cli.model.selection import Proposals, propose

GRID = 14  # distances on the outside of the model count cells of a 14 x 14 grid over the image, whatever the map (L4)
DISTANCE_FLOOR = 0.5
ITERATIONS = Reading.iterations
VOTE = 2.0**40


@dataclass(frozen=True)
class Clusters:
    """The result of Algorithm 1.

    Attributes:
        votes: (B, K, H, W) the keypoint maps Yout; zero for a keypoint that was not found.
        cells: (B, K) row-major cell of each keypoint; undefined where not found.
        found: (B, K) True where proposals were left.
        members: (B, K, C) True for the live proposals that the keypoint erased, which are those that belong to it.
    """

    votes: Tensor
    cells: Tensor
    found: Tensor
    members: Tensor


def learnable_clustering(
    x: Tensor, k: int = 5, iterations: int = ITERATIONS, threshold: float = 3.0, distance: Distance = "squared"
) -> Tensor:
    """Apply Algorithm 1 to raw maps, which are reduced to one-hot proposals first.

    Args:
        x: (B, C, H, W) raw maps; an all-zero map makes no proposal.
        k: number of keypoints to look for.
        iterations: n, the inner iterations; they change the values of the result, never the positions.
        threshold: thr, in cells of x; proposals strictly nearer to a keypoint are erased.
        distance: what thr is compared with: the squared distance (thr 3 / 2 / 1 erases 9 / 5 / 1 cells) or the
            euclidean one (25 / 9 / 1).

    Returns:
        (B, k, H, W) keypoint maps, zero for a keypoint that was not found.

    Raises:
        ValueError: for k or iterations below 1, a negative threshold, or an unknown distance.
    """
    return cluster(propose(x), k, iterations, threshold, distance).votes


def cluster(
    proposals: Proposals,
    k: int,
    iterations: int = ITERATIONS,
    threshold: float = 3.0,
    distance: Distance = "squared",
) -> Clusters:
    """Apply Algorithm 1 to proposals; arguments and errors as for `learnable_clustering`."""
    if k < 1 or iterations < 1 or threshold < 0:
        raise ValueError(f"expected k >= 1, iterations >= 1, threshold >= 0, received {k}, {iterations}, {threshold}")

    height, width = proposals.map_size
    alive = proposals.live
    counts = _count(proposals)  # (B, HW + 1)
    strengths = _strengths(proposals)  # (B, HW), decides between cells with equal votes
    squared = squared_distances(height, width, counts.device)  # (HW, HW)
    limit = erasing_limit(threshold, distance)
    distances = squared.float() if distance == "squared" else squared.float().sqrt()
    similarities = torch.nn.functional.pad(1 / distances.clamp(min=DISTANCE_FLOOR), (0, 1))  # 0 for erased proposals

    maps, positions, found, members = [], [], [], []
    for _ in range(k):
        live, logarithm = counts[:, :-1], counts.log()  # -inf for cells without a proposal
        order = torch.where(live > 0, strengths, 0)

        # lines 2 to 6: W starts at 1 and is drawn towards the cell that leads the vote
        weights = torch.ones_like(logarithm)  # W[:, i]
        for _ in range(iterations):
            softmax = _softmax(weights, logarithm)
            peak = _peak(_vote(softmax, live), order)  # (B,)
            weights = softmax + similarities[peak]

        # lines 7 to 9: the keypoint map; at threshold 0 nothing is erased and the same keypoint is found again
        near = squared[peak] < limit  # (B, HW)
        maps.append(_vote(_softmax(weights, logarithm), live) / VOTE)  # Y, (B, HW)
        positions.append(peak)
        found.append((live > 0).any(1))
        members.append(alive & near.gather(1, proposals.cells))

        # line 10: erase what is near
        alive = alive & ~members[-1]
        left = torch.where(near, 0, live)
        counts = torch.cat([left, counts[:, -1:] + (live - left).sum(1, keepdim=True)], 1)

    stacked = torch.stack(maps, 1).view(counts.shape[0], k, height, width)
    return Clusters(stacked, torch.stack(positions, 1), torch.stack(found, 1), torch.stack(members, 1))


def squared_distances(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return the (HW, HW) squared distances between the cells of a map, whole numbers."""
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    return (rows[:, None] - rows).square() + (columns[:, None] - columns).square()


def erasing_limit(threshold: float, distance: Distance) -> int:
    """Return the whole number that a squared distance is below exactly where the distance is below `threshold`.

    Whole numbers are compared because the root of 2, squared again, is not 2.

    Raises:
        ValueError: for an unknown distance.

    >>> erasing_limit(3, "squared"), erasing_limit(3, "euclidean"), erasing_limit(2.5, "squared")
    (3, 9, 3)
    """
    if distance == "squared":
        return math.ceil(threshold)
    if distance == "euclidean":
        return math.ceil(threshold * threshold)
    raise ValueError(f"expected the distance squared or euclidean, received {distance!r:.80}")


def to_map_cells(value: float, map_size: tuple[int, int], distance: Distance = "euclidean") -> float:
    """Convert a distance in cells of the 14 x 14 grid over the image to cells of a map (docs/papers.md L4).

    A squared distance is multiplied by the square, so that the same region is erased on every map.
    """
    scale = map_size[0] / GRID
    return value * scale * scale if distance == "squared" else value * scale


def _count(proposals: Proposals) -> Tensor:
    """Count the live proposals of each cell and, as the last entry, those that are not live: (B, HW + 1)."""
    live = proposals.live.long()
    cells = live.new_zeros(live.shape[0], proposals.map_size[0] * proposals.map_size[1])
    return torch.cat([cells.scatter_add(1, proposals.cells, live), (1 - live).sum(1, keepdim=True)], 1)


def _strengths(proposals: Proposals) -> Tensor:
    """Sum the raw maxima of the live proposals of each cell, (B, HW), in whole multiples of a unit."""
    kept = torch.where(proposals.live, proposals.strengths.float(), 0.0)
    top = kept.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    unit = torch.exp2(top.log2().ceil() - 40)  # 2^40 for each of at most 2^22 proposals stays within int64
    whole = (kept / unit).round().long()
    cells = whole.new_zeros(whole.shape[0], proposals.map_size[0] * proposals.map_size[1])
    return cells.scatter_add(1, proposals.cells, whole)


def _softmax(weights: Tensor, logarithm: Tensor) -> Tensor:
    """Compute the softmax over all proposals; `logarithm` is that of the number of proposals behind each weight."""
    return (weights - (weights + logarithm).logsumexp(1, keepdim=True)).exp()


def _vote(softmax: Tensor, live: Tensor) -> Tensor:
    """Sum softmax times one-hot map over the live proposals, (B, HW), as a whole number of which `VOTE` make 1.

    Whole numbers add up to the same sum in any order, so equal votes are equal on a GPU as well.
    """
    return (softmax[:, :-1] * VOTE).round().long() * live


def _peak(votes: Tensor, strengths: Tensor) -> Tensor:
    """Return the cell with most votes, ties by strength and then by index, (B, HW) -> (B,)."""
    tied = votes == votes.amax(1, keepdim=True)
    return torch.where(tied, strengths, -1).argmax(1)
