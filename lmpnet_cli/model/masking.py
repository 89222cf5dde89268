"""Attention mask-out (LMPNet, section 3.3): hide the first keypoint, so that the replica must look elsewhere.

The mask is the inverse of the first keypoint: 0 there, 1 elsewhere. The paper leaves its size open (docs/papers.md
L15): radius 1 hides the keypoint's own cell only, radius r every cell strictly nearer than r, whatever distance the
clustering uses. What is hidden becomes 0, the mean colour of normalised images.
"""

import torch
from torch import Tensor

from lmpnet_cli.model.clustering import erasing_limit, squared_distances


def keypoint_mask(cells: Tensor, found: Tensor, map_size: tuple[int, int], radius: float = 1.0) -> Tensor:
    """Make the binary mask on the grid of the map.

    Args:
        cells: (B,) row-major cell of the first keypoint.
        found: (B,) False leaves the mask at 1 everywhere.
        map_size: (H, W) in cells.
        radius: in cells of this map.

    Returns:
        (B, 1, H, W) of 0 and 1.
    """
    height, width = map_size
    near = squared_distances(height, width, cells.device)[cells] < erasing_limit(radius, "euclidean")  # (B, HW)
    return (~(near & found[:, None])).float().view(-1, 1, height, width)


def mask_out(images: Tensor, mask: Tensor) -> Tensor:
    """Multiply images by their masks, which are brought to image size by nearest neighbour.

    Args:
        images: (B, 3, S, T) normalised images, so that 0 is the mean colour.
        mask: (B, 1, H, W) of 0 and 1.

    Raises:
        ValueError: when there is not one mask for each image.
    """
    if mask.shape[0] != images.shape[0]:
        raise ValueError(f"expected one mask for each of {images.shape[0]} images, received {mask.shape[0]}")

    full = torch.nn.functional.interpolate(mask.to(images.dtype), size=images.shape[2:], mode="nearest-exact")
    return images * full
