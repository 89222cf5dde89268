"""Images and maps turned, scaled, shifted and mirrored: parts must keep their places (learning of a vocabulary)."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def random_affines(count: int, generator: torch.Generator) -> Tensor:
    """(count, 2, 3) affine maps from places of the turned image to those of the image, both from -1 to 1.

    Turned by up to 30 degrees, scaled by up to e^0.3, shifted by up to 0.24; every other one mirrored.
    """
    angle, scale, *shift = torch.rand(4, count, generator=generator) * 2 - 1
    cosine, sine = (angle * math.pi / 6).cos(), (angle * math.pi / 6).sin()
    warped = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], 1)
    warped = warped * (0.3 * scale).exp()[:, None, None]
    warped[::2, :, 0] *= -1
    return torch.cat([warped, 0.24 * torch.stack(shift, -1)[..., None]], -1)


def warp(planes: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) images or maps turned by (B, 2, 3), and (B, H, W) which places lie inside the original ones."""
    grid = functional.affine_grid(theta, list(planes.shape), align_corners=False)
    inside = (grid.abs() <= 1 - 1 / torch.tensor(planes.shape[3:1:-1])).all(-1)
    return functional.grid_sample(planes, grid, padding_mode="reflection", align_corners=False), inside
