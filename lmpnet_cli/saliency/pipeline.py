"""The whole pipeline of the second paper for a batch: two relevance maps, combined, to points between pixels.

Tensors in, tensors out (papers.md 2.1 to 2.3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmpnet_cli.saliency.combination import combine
from lmpnet_cli.saliency.foerstner import refine
from lmpnet_cli.saliency.nms import strongest_points
from lmpnet_cli.saliency.occlusion import Classify, occlusion_scores, spread
from lmpnet_cli.saliency.sparse.occlusion import local_occlusion_scores


@dataclass(frozen=True)
class SaliencyPoints:
    """What was found on a batch, on the CPU.

    Attributes:
        positions: (B, K, 2) row and column in input pixels; NaN where there are fewer points.
        scores: (B, K) confidences in (0, 1), strongest first; NaN likewise.
        coarse, fine: (B, S, T) relevance by occlusion and by guided gradients.
    """

    positions: Tensor
    scores: Tensor
    coarse: Tensor
    fine: Tensor


def coarse_map(
    classify: Classify,
    images: Tensor,
    target: Tensor,
    draws: Tensor,
    *,
    stride: int,
    batch_size: int,
    local: bool = False,
) -> Tensor:
    """Relevance by occlusion, (B, S, T), the mean over draws of random colours.

    Args:
        images: (B, 3, S, T) RGB bytes.
        target: (B,) class to explain.
        draws: (draws, patches, 3, patch, patch) what hides each patch; without draws the map is zero.
        stride: of the patches in pixels.
        batch_size: occluded copies in one forward pass.
        local: computes only what a patch changes, see `local_occlusion`; the same map, sooner on a CPU.
    """
    scored = local_occlusion_scores if local else occlusion_scores
    size = (images.shape[2], images.shape[3])
    if not len(draws):
        return torch.zeros(len(images), *size)
    scores = torch.stack([scored(classify, images, target, each, stride, batch_size) for each in draws])
    return spread(scores.mean(0).cpu(), size, draws.shape[-1], stride)


def detect(
    images: Tensor, coarse: Tensor, fine: Tensor, *, k: int, coarse_weight: float, radius: float, keep: float
) -> SaliencyPoints:
    """The k most relevant points of each image.

    Args:
        images: (B, 3, S, T) RGB bytes.
        coarse, fine: (B, S, T) relevance by occlusion and by guided gradients.
        coarse_weight: of the coarse map in the combination; the fine one gets the rest.
        radius: points nearer than this to a stronger one are dropped, in pixels.
        keep: share of the points left that is kept, by confidence.
    """
    # little work, and in float64, which not every device has
    images, coarse, fine = images.cpu(), coarse.cpu(), fine.cpu()
    positions, confidences = strongest_points(combine(coarse, fine, coarse_weight), radius, keep, k)
    grey = (images.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    return SaliencyPoints(keep_apart(positions, refine(grey, positions), radius), confidences, coarse, fine)


def keep_apart(starts: Tensor, refined: Tensor, radius: float) -> Tensor:
    """Refined points, but a point that came nearer than the radius to a stronger one keeps its start.

    Two points may move to one corner from either side.

    Args:
        starts, refined: (B, K, 2), strongest first.
    """
    kept = refined.clone()
    for index in range(1, starts.shape[1]):
        distance = (kept[:, :index] - kept[:, index : index + 1]).square().sum(2).sqrt()  # NaN is never near
        close = (distance < radius).any(1)
        kept[:, index] = torch.where(close[:, None], starts[:, index], kept[:, index])
    return kept
