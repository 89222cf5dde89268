"""Sub-pixel position by the Foerstner operator (papers.md 2.3.2).

The point where all gradient lines of a small window meet in the least-squares sense solves A x = b with

    A = sum [Ix Ix  Ix Iy; Ix Iy  Iy Iy]      b = sum [Ix Ix u + Ix Iy v; Ix Iy u + Iy Iy v]

over the window's pixels (u, v). The start is kept where A is nearly singular (a straight edge, a plain area) or the
solution leaves the window.
"""

import torch
from torch import Tensor
from torch.nn import functional

SINGULAR = 1e-3  # smallest ratio of the eigenvalues of A that counts as a corner


def gradients(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y of (B, H, W) pictures; at the border the outermost pixels are repeated."""
    padded = functional.pad(grey[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0]
    return (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2, (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2


def refine(grey: Tensor, points: Tensor, radius: int = 3) -> Tensor:
    """Moves points to the corner of the picture in their window, once, as the paper does.

    Args:
        grey: (B, H, W).
        points: (B, K, 2) row and column; NaN stays NaN.
        radius: of the window in pixels: 3 is 7 x 7.

    Returns:
        (B, K, 2), each at most `radius` from its start along either side.
    """
    ix, iy = gradients(grey)
    batch, height, width = grey.shape
    offsets = torch.arange(-radius, radius + 1, device=grey.device)
    images = torch.arange(batch, device=grey.device)[:, None, None, None]
    start = points.double()
    centre = start.nan_to_num(0.0).round().long()
    v = centre[..., 0, None, None] + offsets[:, None]  # (B, K, 2r+1, 1) rows
    u = centre[..., 1, None, None] + offsets[None, :]  # (B, K, 1, 2r+1) columns
    inside = (v >= 0) & (v < height) & (u >= 0) & (u < width)
    place = (images, v.clamp(0, height - 1), u.clamp(0, width - 1))
    gx, gy = ((each[place] * inside).double() for each in (ix, iy))
    # u and v count from the window's centre, which keeps the sums small
    du, dv = offsets[None, :].double(), offsets[:, None].double()
    xx, xy, yy = ((a * b).sum((2, 3)) for a, b in ((gx, gx), (gx, gy), (gy, gy)))
    bx = (gx * gx * du + gx * gy * dv).sum((2, 3))
    by = (gx * gy * du + gy * gy * dv).sum((2, 3))
    # eigenvalues of a symmetric 2 x 2 matrix: half the trace plus or minus the root
    half, root = (xx + yy) / 2, ((xx - yy).square() / 4 + xy * xy).sqrt()
    sound = (half - root) > SINGULAR * (half + root)
    determinant = torch.where(sound, xx * yy - xy * xy, 1.0)
    shift = torch.stack([(xx * by - xy * bx) / determinant, (yy * bx - xy * by) / determinant], -1)  # row, column
    solution = centre + shift
    near = ((solution - start).abs() <= radius).all(-1)
    return torch.where((sound & near)[..., None], solution, start).to(points.dtype)
