"""Rotate, scale, shift and flip images and maps: parts must move with them (affine equivariance)."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def random_affines(count: int, generator: torch.Generator) -> Tensor:
    """Draw (count, 2, 3) affine maps from positions in the warped image to positions in the image, both from -1 to 1.

    They rotate by up to 30 degrees, scale by up to e^0.3, shift by up to 0.24, and flip every other image.
    """
    angle, scale, *shift = torch.rand(4, count, generator=generator) * 2 - 1
    cosine, sine = (angle * math.pi / 6).cos(), (angle * math.pi / 6).sin()

    linear = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], 1)
    linear = linear * (0.3 * scale).exp()[:, None, None]
    linear[::2, :, 0] *= -1
    return torch.cat([linear, 0.24 * torch.stack(shift, -1)[..., None]], -1)


def warp(planes: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Warp (B, C, H, W) images or maps by (B, 2, 3) affine maps.

    Returns:
        (B, C, H, W), and (B, H, W) of bool: which positions are inside the original image.
    """
    grid = functional.affine_grid(theta, list(planes.shape), align_corners=False)
    inside = (grid.abs() <= 1 - 1 / torch.tensor(planes.shape[3:1:-1])).all(-1)
    return functional.grid_sample(planes, grid, padding_mode="reflection", align_corners=False), inside
