"""The whole pipeline of the second paper for a batch: two relevance maps, combined, to points between pixels.

Tensors in, tensors out (papers.md 2.1 to 2.3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmpnet_cli.saliency.combination import combine
from lmpnet_cli.saliency.foerstner import refine
from lmpnet_cli.saliency.guided_backprop import guided_gradients
from lmpnet_cli.saliency.nms import strongest_points
from lmpnet_cli.saliency.occlusion import Classify, occlusion_scores, spread


@dataclass(frozen=True)
class SalientPoints:
    """What was found on a batch.

    Attributes:
        positions: (B, K, 2) row and column in input pixels; NaN where there are fewer points.
        scores: (B, K) confidences in (0, 1), strongest first; NaN likewise.
        coarse, fine: (B, S, T) relevance by occlusion and by guided gradients.
    """

    positions: Tensor
    scores: Tensor
    coarse: Tensor
    fine: Tensor


def detect(
    classify: Classify,
    images: Tensor,
    target: Tensor,
    colors: Tensor,
    *,
    k: int,
    stride: int = 8,
    coarse_weight: float = 0.5,
    radius: float = 8.0,
    keep: float = 0.4,
    batch_size: int = 32,
    occluded: Classify | None = None,
) -> SalientPoints:
    """The k most relevant points of each image.

    Args:
        classify: for the gradients, and for the occluded copies too unless `occluded` is given.
        images: (B, 3, S, T) RGB bytes.
        target: (B,) class to explain, as a rule the predicted one.
        colors: (patches, 3, patch, patch) what hides each patch.
        stride: of the patches in pixels.
        coarse_weight: of the coarse map in the combination; the fine one gets the rest.
        radius: points nearer than this to a stronger one are dropped, in pixels.
        keep: share of the points left that is kept, by confidence.
        batch_size: occluded copies in one forward pass.
        occluded: the same classifier, faster and perhaps less exact.

    Raises:
        OptionError: when the network has no ReLUs to guide.
    """
    # first what may be refused: the occluded copies take much longer
    fine = guided_gradients(classify, images, target)
    with torch.inference_mode():
        scores = occlusion_scores(occluded or classify, images, target, colors, stride, batch_size)
        coarse = spread(scores, (images.shape[2], images.shape[3]), colors.shape[-1], stride)
        positions, confidences = strongest_points(combine(coarse, fine, coarse_weight), radius, keep, k)
        grey = (images.float() * torch.tensor([0.299, 0.587, 0.114], device=images.device)[:, None, None]).sum(1)
        return SalientPoints(refine(grey, positions), confidences, coarse, fine)
