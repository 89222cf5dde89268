"""Refine points to sub-pixel positions with the Foerstner operator (poster, "combination"; docs/papers.md P9).

The point where all gradient lines of a small window meet in the least-squares sense solves A x = b with

    A = sum [Ix Ix  Ix Iy; Ix Iy  Iy Iy]      b = sum [Ix Ix u + Ix Iy v; Ix Iy u + Iy Iy v]

over the window's pixels (u, v). A point stays where it was if A is nearly singular (a straight edge, a flat area) or
if the solution falls outside the window.
"""

import torch
from torch import Tensor
from torch.nn import functional

SINGULAR = 1e-3  # smallest ratio of the eigenvalues of A that counts as a corner


def gradients(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Return central differences along x and y of (B, H, W) images; border pixels are repeated outwards."""
    padded = functional.pad(grey[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0]
    along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    along_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return along_x, along_y


def refine(grey: Tensor, points: Tensor, radius: int = 3) -> Tensor:
    """Move each point to the corner inside its window, once, as the paper does.

    Args:
        grey: (B, H, W) images.
        points: (B, K, 2) row and column; NaN stays NaN.
        radius: half the window in pixels: 3 is 7 x 7.

    Returns:
        (B, K, 2), each at most `radius` from its start along either axis.
    """
    start = points.double()
    centre = start.nan_to_num(0.0).round().long()
    shift, is_corner = _corner_shift(*_window_gradients(grey, centre, radius), radius)

    solution = centre + shift
    near = ((solution - start).abs() <= radius).all(-1)
    return torch.where((is_corner & near)[..., None], solution, start).to(points.dtype)


def _window_gradients(grey: Tensor, centre: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Return both gradients in the windows around (B, K, 2) pixels, (B, K, side, side); 0 outside the image."""
    batch, height, width = grey.shape
    offsets = torch.arange(-radius, radius + 1, device=grey.device)
    rows = centre[..., 0, None, None] + offsets[:, None]  # (B, K, side, 1)
    columns = centre[..., 1, None, None] + offsets[None, :]  # (B, K, 1, side)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)

    images = torch.arange(batch, device=grey.device)[:, None, None, None]
    pixels = (images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    along_x, along_y = gradients(grey)
    return (along_x[pixels] * inside).double(), (along_y[pixels] * inside).double()


def _corner_shift(gx: Tensor, gy: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Solve A x = b in each window.

    Args:
        gx, gy: (B, K, side, side) gradients.

    Returns:
        (B, K, 2) row and column of the solution from the window's centre, and (B, K) whether A is well conditioned.
    """
    # u and v count from the window's centre, which keeps the sums small
    offsets = torch.arange(-radius, radius + 1, device=gx.device)
    u, v = offsets[None, :].double(), offsets[:, None].double()
    xx, xy, yy = (gx * gx).sum((2, 3)), (gx * gy).sum((2, 3)), (gy * gy).sum((2, 3))
    bx = (gx * gx * u + gx * gy * v).sum((2, 3))
    by = (gx * gy * u + gy * gy * v).sum((2, 3))

    # eigenvalues of a symmetric 2 x 2 matrix: half the trace plus or minus the root
    half_trace, root = (xx + yy) / 2, ((xx - yy).square() / 4 + xy * xy).sqrt()
    is_corner = (half_trace - root) > SINGULAR * (half_trace + root)

    determinant = torch.where(is_corner, xx * yy - xy * xy, 1.0)
    shift = torch.stack([(xx * by - xy * bx) / determinant, (yy * bx - xy * by) / determinant], -1)
    return shift, is_corner
