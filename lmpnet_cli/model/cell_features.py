"""The features of a cell, from which the part head and the landmark head tell what is there.

1. Each cell's vector over the filters is normalised to length 1, centred by the mean over the image, and normalised
   again: what sets a cell apart from the rest of its own image. Its principal directions on the training images are
   kept.
2. They are joined with their means over windows around the cell (a beak and a claw look alike until one sees what they
   are attached to) and with the activation, the sum over all filters: filters learned from class labels respond to the
   object.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmpnet_cli.model.clustering import GRID

ACTIVATION = 0.2  # weight of a standard deviation of the activation, besides features of length 1
PADDING = 2  # cells of a 14 x 14 grid that zero padding reaches
EXTREME = 4.0  # standard deviations: the activation is clamped there, as the logarithm of a silent cell is far off


def centred_features(maps: Tensor) -> Tensor:
    """Compute what sets each cell apart from its image: (B, C, H, W) raw maps -> (B, H, W, C) of length 1 (or 0)."""
    cells = functional.normalize(maps.float().permute(0, 2, 3, 1), dim=-1)
    return functional.normalize(cells - cells.mean((1, 2), keepdim=True), dim=-1)


def activation(maps: Tensor) -> Tensor:
    """Compute the logarithm of the sum over all filters, (B, C, H, W) raw maps -> (B, H, W).

    Near the border, where zero padding causes responses even on empty sky, a cell counts no more than the nearest one
    beyond the reach of the padding.
    """
    total = maps.float().sum(1)
    for dim in (1, 2):
        side = total.shape[dim]
        reach = round(PADDING * side / GRID)
        inner = torch.arange(side, device=total.device).clamp(reach, max(reach, side - 1 - reach))
        total = torch.minimum(total, total.index_select(dim, inner.clamp_max(side - 1)))
    return total.clamp_min(1e-6).log()


def context_features(cells: Tensor, windows: tuple[int, ...]) -> Tensor:
    """Join each cell with its context, as the linear layer takes it.

    Args:
        cells: (B, H, W, directions + 1), the activation last.

    Returns:
        (B, H, W, len(windows) directions + 1): the means over windows around the cell, together of length 1, and the
        activation. At the border a mean is taken over the cells that exist.
    """
    planes = cells[..., :-1].permute(0, 3, 1, 2)
    views = []
    for window in windows:
        size = window_size(window, planes)
        padding = [side // 2 for side in size]
        mean = functional.avg_pool2d(planes, size, 1, padding, count_include_pad=False) if max(size) > 1 else planes
        views.append(functional.normalize(mean.permute(0, 2, 3, 1), dim=-1) / len(windows) ** 0.5)
    return torch.cat([*views, ACTIVATION * cells[..., -1:]], -1)


def window_size(window: int, planes: Tensor) -> list[int]:
    """Return (rows, columns) of a window of cells of a 14 x 14 grid on (..., H, W); odd, so it has a centre."""
    return [2 * max(0, round((window * side / GRID - 1) / 2)) + 1 for side in planes.shape[-2:]]


class CellFeatures(nn.Module):
    """Reduces raw maps to the features of their cells; the weights are buffers, learned beforehand."""

    def __init__(self, channels: int, directions: int) -> None:
        """Make it without weights; `load_state_dict` fills them."""
        super().__init__()
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("projection", torch.zeros(channels, directions))
        # of the activation: mean, standard deviation and, in such deviations, the level from which on a cell is object
        self.register_buffer("level", torch.tensor([0.0, 1.0, 0.0]))

    def cells(self, maps: Tensor) -> Tensor:
        """Project (B, C, H, W) raw maps to (B, H, W, directions + 1) features of cells, the activation last."""
        # the centre is subtracted after the product, which is then the only pass over all filters
        projection, (mean, deviation, _) = self.get_buffer("projection"), self.get_buffer("level")
        directions = centred_features(maps) @ projection - self.get_buffer("centre") @ projection
        active = ((activation(maps) - mean) / deviation).clamp(-EXTREME, EXTREME)
        return torch.cat([directions, active[..., None]], -1)
