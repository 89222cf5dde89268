"""Run the whole pipeline of the poster on a batch: two relevance maps are combined and reduced to sub-pixel points.

It takes tensors and returns tensors. This is the only module that uses `saliency.sparse`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from lmpnet_cli.saliency import sparse
from lmpnet_cli.saliency.combination import combine
from lmpnet_cli.saliency.foerstner import refine
from lmpnet_cli.saliency.nms import strongest_points
from lmpnet_cli.saliency.occlusion import Classify, ScoreBatches, occlusion_scores, score_batches, scores_to_pixels


@dataclass(frozen=True)
class SaliencyPoints:
    """The points found on a batch, on the CPU.

    Attributes:
        positions: (B, K, 2) row and column in input pixels; NaN if there are fewer points.
        scores: (B, K) confidences in (0, 1), strongest first; NaN likewise.
        coarse, fine: (B, S, T) relevance by occlusion and by guided backpropagation.
        combined: (B, S, T) confidence of every pixel, in (0, 1).
    """

    positions: Tensor
    scores: Tensor
    coarse: Tensor
    fine: Tensor
    combined: Tensor


def fast_occlusion_works(classify: Classify, size: int, device: torch.device) -> bool:
    """Return whether `coarse_map` can use the sparse occlusion for a classifier.

    That is the case on a CPU, where it is faster, if it gives the same logits as whole occluded copies do.
    """
    return device.type == "cpu" and sparse.is_supported(classify, size)


def coarse_map(
    classify: Classify,
    images: Tensor,
    target: Tensor,
    draws: Tensor,
    *,
    stride: int,
    batch_size: int,
    fast: bool = False,
) -> Tensor:
    """Return the relevance by occlusion, (B, S, T), averaged over draws of random colours.

    Args:
        images: (B, 3, S, T) RGB bytes.
        target: (B,) class to explain.
        draws: (draws, patches, 3, patch, patch) what hides each patch; without draws the map is zero.
        stride: of the patches in pixels.
        batch_size: occluded copies per forward pass.
        fast: compute only what a patch changes; the map is the same up to rounding. See `fast_occlusion_works`.
    """
    size = (images.shape[2], images.shape[3])
    if not len(draws):
        return torch.zeros(len(images), *size)

    batches = _batches(fast)
    scores = [occlusion_scores(classify, images, target, colors, stride, batch_size, batches) for colors in draws]
    return scores_to_pixels(torch.stack(scores).mean(0).cpu(), size, draws.shape[-1], stride)


def seconds_per_image(
    classify: Classify, image: Tensor, draws: Tensor, *, stride: int, batch_size: int, fast: bool = False
) -> float:
    """Time one forward pass of occluded copies and estimate how many seconds `coarse_map` needs for one image.

    Args:
        image: (1, 3, S, S) RGB bytes; others as in `coarse_map`.
    """
    colors, target = draws[0], torch.zeros(1, dtype=torch.long, device=image.device)

    def passes() -> Iterator[tuple[Tensor, Tensor]]:
        return _batches(fast)(classify, image, target, colors, stride, batch_size)

    # the first pass is slower than the others, so the second one counts; a small image has one only, and is repeated
    seconds_per_patch = 0.0
    timed = chain(passes(), passes())
    for _ in range(2):
        started = time.perf_counter()
        _, scores = next(timed)
        scores.sum().item()  # waits for the device
        seconds_per_patch = (time.perf_counter() - started) / len(scores)
    return seconds_per_patch * len(colors) * len(draws)


def _batches(fast: bool) -> ScoreBatches:
    """Return the way to score patches: by windows, or by whole occluded copies."""
    return sparse.score_batches if fast else score_batches


def detect(
    images: Tensor, coarse: Tensor, fine: Tensor, *, k: int | None, coarse_weight: float, radius: float, keep: float
) -> SaliencyPoints:
    """Return the most relevant points of each image.

    Args:
        images: (B, 3, S, T) RGB bytes.
        coarse, fine: (B, S, T) relevance by occlusion and by guided backpropagation.
        k: largest number of points; None keeps all.
        coarse_weight: weight of the coarse map in the combination; the fine map gets the rest.
        radius: points closer than this to a stronger one are dropped, in pixels.
        keep: share of the remaining points to keep, by confidence.
    """
    # this takes little time, and float64, which not every device has
    images, coarse, fine = images.cpu(), coarse.cpu(), fine.cpu()
    combined = combine(coarse, fine, coarse_weight)
    positions, confidences = strongest_points(combined, radius, keep, k)

    grey = (images.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    refined = keep_apart(positions, refine(grey, positions), radius)
    return SaliencyPoints(refined, confidences, coarse, fine, combined)


def keep_apart(starts: Tensor, refined: Tensor, radius: float) -> Tensor:
    """Return the refined points, except that a point that came too close to a stronger one keeps its start.

    Two points may move to the same corner from either side.

    Args:
        starts, refined: (B, K, 2), strongest first.
        radius: the smallest distance between two points, in pixels.
    """
    kept = refined.clone()
    for index in range(1, starts.shape[1]):
        distance = (kept[:, :index] - kept[:, index : index + 1]).square().sum(2).sqrt()  # NaN is never close
        close = (distance < radius).any(1)
        kept[:, index] = torch.where(close[:, None], starts[:, index], kept[:, index])
    return kept
