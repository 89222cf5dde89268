"""Learnable clustering (LMPNet, section 3.5, Algorithm 1) for a batch, with no loop over images or filters.

Proposals are one-hot maps, so a map is kept as the index of its cell and a vote is a `scatter_add`. What the paper
leaves open is settled as in papers.md 1.11: similarity 1 / max(d, 0.5), so that d = 0 counts 2 and grid distances from
1 up are untouched; Euclidean d in cells; a proposal that was erased keeps its share of the softmax, gains no
similarity and casts no vote; between cells with equal votes the larger sum of live raw maxima wins, then the lower
row-major index.

"Learnable" means the update of W, which starts at 1 for every image: nothing is learned by gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmpnet_cli.lmp.selection import Proposals, propose

DISTANCE_FLOOR = 0.5
ITERATIONS = 5


@dataclass(frozen=True)
class Clusters:
    """What Algorithm 1 found.

    Attributes:
        votes: (B, K, H, W) the keypoint maps Yout; zero for a keypoint that was not found.
        cells: (B, K) row-major cell of each keypoint; undefined where not found.
        found: (B, K) True where proposals were left.
        members: (B, K, C) True for the live proposals that the keypoint erased: those that belong to it.
    """

    votes: Tensor
    cells: Tensor
    found: Tensor
    members: Tensor


def learnable_clustering(x: Tensor, k: int = 5, iterations: int = ITERATIONS, threshold: float = 3.0) -> Tensor:
    """Algorithm 1 on raw maps, which are reduced to one-hot proposals first.

    Args:
        x: (B, C, H, W) raw maps; an all-zero map makes no proposal.
        k: keypoints to look for.
        iterations: n, the inner iterations; they change the values of the result, never the positions.
        threshold: thr, in cells of x; proposals strictly nearer to a keypoint are erased.

    Returns:
        (B, k, H, W) keypoint maps, zero for a keypoint that was not found.
    """
    return cluster(propose(x), k, iterations, threshold).votes


def cluster(proposals: Proposals, k: int, iterations: int = ITERATIONS, threshold: float = 3.0) -> Clusters:
    """Algorithm 1 on proposals; arguments as for `learnable_clustering`."""
    if k < 1 or iterations < 1 or threshold < 0:
        raise ValueError(f"expected k >= 1, iterations >= 1, threshold >= 0, received {k}, {iterations}, {threshold}")
    cells, live = proposals.cells, proposals.live
    height, width = proposals.map_size
    batch, count = cells.shape
    distances = cell_distances(height, width, cells.device)  # (HW, HW)
    maps, positions, found, members = [], [], [], []
    for _ in range(k):
        # the order of equally voted cells: the sum of raw maxima of the live proposals there
        strengths = _whole_sums(proposals.strengths.float(), cells, live, height * width)[0]  # (B, HW)
        weights = torch.ones(batch, count, device=cells.device)  # W[:, i]
        for _ in range(iterations):
            softmax = weights.softmax(1)
            peak = _peak(_whole_sums(softmax, cells, live, height * width)[0], strengths)  # (B,)
            distance = distances[peak].gather(1, cells)  # (B, C)
            similarity = torch.where(live, 1 / distance.clamp(min=DISTANCE_FLOOR), 0.0)
            weights = softmax + similarity
        whole, unit = _whole_sums(weights.softmax(1), cells, live, height * width)
        votes = whole * unit  # Y, (B, HW)
        erased = live & (distance < threshold)
        # at threshold 0 nothing is erased and the same keypoint is found again, as the letter has it
        any_left = live.any(1)
        maps.append(votes)
        positions.append(peak)
        found.append(any_left)
        members.append(erased)
        live = live & ~erased
    stacked = torch.stack(maps, 1).view(batch, k, height, width)
    return Clusters(stacked, torch.stack(positions, 1), torch.stack(found, 1), torch.stack(members, 1))


def cell_distances(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(HW, HW) Euclidean distances between the cells of a map, in cells."""
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    squared = (rows[:, None] - rows).square() + (columns[:, None] - columns).square()
    return squared.float().sqrt()


def _whole_sums(weights: Tensor, cells: Tensor, live: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Sum over live proposals of weight times one-hot map, (B, C) -> (B, HW), in whole multiples of a unit (B, 1).

    Whole numbers add up to the same sum in any order, so that equal votes are equal on a GPU too.
    """
    kept = torch.where(live, weights, 0.0)
    top = kept.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    unit = torch.exp2(top.log2().ceil() - 40)  # 2^40 for each of at most 2^22 proposals stays within int64
    whole = (kept / unit).round().long()
    return whole.new_zeros(whole.shape[0], size).scatter_add_(1, cells, whole), unit


def _peak(votes: Tensor, strengths: Tensor) -> Tensor:
    """The cell with most votes, ties by strength and then by index, (B, HW) -> (B,)."""
    tied = votes == votes.amax(1, keepdim=True)
    return torch.where(tied, strengths, -1).argmax(1)
