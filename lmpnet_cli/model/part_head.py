"""A keypoint vocabulary: W (c x k) of section 3.4, learned once for a data set instead of for each image.

LMPNet orders the keypoints of each image by prominence, so that kp1 of one image may be the beak and kp1 of the next
the tail. A vocabulary assigns every cell of a map to one of k parts, or to none, by what the cell and its surroundings
look like, so that index i means the same part in every image. Not in the paper; `vocabulary_learning.py` learns it.

1. Each cell's vector over the filters is brought to length 1, less the mean over the image, to length 1 again: what
   sets a cell apart from the rest of its own image. Its principal directions on the training images are kept.
2. They are put beside their means over windows around the cell (a beak and a claw look alike until one sees what they
   are attached to) and beside the activation, the sum over all filters: filters learned from class labels answer to the
   object.
3. One linear layer and a softmax give k part maps and the background.
4. A part counts as far as a cell is active enough for a part of the object: windows reach beyond its outline.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATION = 0.2  # of a standard deviation of the activation, beside cells of length 1
SOFTNESS = 0.3  # of the line between object and surroundings, in standard deviations of the activation
STEADY = 3  # cells of a 14 x 14 grid: side of the window whose mean is a part's score
BLOCK = 64  # images located together
PADDING = 2  # cells of a 14 x 14 grid that padding reaches
EXTREME = (
    4.0  # standard deviations of the activation, beyond which it says no more: a silent cell's logarithm is far off
)
GRID = 14  # thr, the mask radius and windows are given in cells of a 14 x 14 grid over the image, whatever the map


@dataclass(frozen=True)
class PartHeadSpec:
    """What is needed, beside the weights, to build a vocabulary again.

    Attributes:
        names: of the k keypoints.
        channels: filters of the maps.
        directions: principal directions that are kept of them.
        backgrounds: kinds of background, which count as one.
        windows: sides of the windows, in cells of a 14 x 14 grid.
        threshold: a keypoint with a lower score is not seen.
        learned_from: what it was learned from, for the record.
    """

    names: tuple[str, ...]
    channels: int
    directions: int = 96
    backgrounds: int = 6
    windows: tuple[int, ...] = (1, 3, 7)
    threshold: float = 0.5
    learned_from: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # a checkpoint may be a stranger's
        if not all(isinstance(name, str) for name in self.names):
            raise ValueError(f"expected names of keypoints, received {self.names!r:.80}")
        for number in (self.channels, self.directions, self.backgrounds, *self.windows):
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"expected whole numbers above 0, received {number!r:.80}")
        if not self.windows or max(self.windows) > 4 * GRID or not 0 <= self.threshold <= 1:
            raise ValueError(f"windows {self.windows!r:.80} or threshold {self.threshold!r:.80} out of range")

    @property
    def k(self) -> int:
        """Keypoints."""
        return len(self.names)


@dataclass(frozen=True)
class Located:
    """Where each part lies on each map of a batch.

    Attributes:
        positions: (B, k, 2) row, column; whole numbers are cell centres.
        scores: (B, k) in [0, 1].
    """

    positions: Tensor
    scores: Tensor


def centred_features(maps: Tensor) -> Tensor:
    """(B, C, H, W) raw maps -> (B, H, W, C), of each cell what sets it apart from its image, of length 1 (or 0)."""
    cells = functional.normalize(maps.float().permute(0, 2, 3, 1), dim=-1)
    return functional.normalize(cells - cells.mean((1, 2), keepdim=True), dim=-1)


def activation(maps: Tensor) -> Tensor:
    """(B, C, H, W) raw maps -> (B, H, W), the logarithm of the sum over all filters.

    Near the border, where padding answers even on empty sky, a cell counts no more than the nearest one that lies
    beyond its reach.
    """
    total = maps.float().sum(1)
    for dim in (1, 2):
        side = total.shape[dim]
        reach = round(PADDING * side / GRID)
        inner = torch.arange(side, device=total.device).clamp(reach, max(reach, side - 1 - reach))
        total = torch.minimum(total, total.index_select(dim, inner.clamp_max(side - 1)))
    return total.clamp_min(1e-6).log()


def objectness(active: Tensor, level: Tensor | float) -> Tensor:
    """How sure it is that a cell is the object's, in [0, 1], by its activation in standard deviations."""
    return torch.sigmoid((active - level) / SOFTNESS)


def context_features(cells: Tensor, windows: tuple[int, ...]) -> Tensor:
    """Each cell as the linear layer takes it.

    Args:
        cells: (B, H, W, directions + 1), the activation last.

    Returns:
        (B, H, W, len(windows) directions + 1): the means over windows around the cell, together of length 1, and the
        activation. At the border a mean is over the cells that there are.
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
    """Rows and columns of a window of so many cells of a 14 x 14 grid on (..., H, W): odd, so that it has a middle."""
    return [2 * max(0, round((window * side / GRID - 1) / 2)) + 1 for side in planes.shape[-2:]]


def steady(parts: Tensor) -> Tensor:
    """(B, k, H, W) -> (B, k), the highest mean over `STEADY` x `STEADY` cells: one stray cell is no keypoint."""
    return functional.avg_pool2d(parts, window_size(STEADY, parts), 1).amax((2, 3))


def soft_argmax(parts: Tensor) -> Located:
    """Position and score of every part.

    The position is the mean of the cells weighted by the square of the part's map; the score is that of `steady`.

    Args:
        parts: (B, k, H, W) shares in [0, 1], background left out.
    """
    height, width = parts.shape[2:]
    weight = parts.square().clamp_min(1e-12)
    total = weight.sum((2, 3))
    rows = (weight.sum(3) @ torch.arange(height, device=parts.device, dtype=parts.dtype)) / total
    columns = (weight.sum(2) @ torch.arange(width, device=parts.device, dtype=parts.dtype)) / total
    return Located(torch.stack([rows, columns], -1), steady(parts))


def unflip(positions: Tensor, width: int) -> Tensor:
    """(..., 2) row and column on the map of a mirror image, as places on the map of the image."""
    return torch.stack([positions[..., 0], width - 1 - positions[..., 1]], -1)


def within_one_cell(positions: Tensor, again: Tensor, size: tuple[int, int]) -> Tensor:
    """(...,) whether two places on a map of (H, W) are less than a cell of a 14 x 14 grid apart."""
    apart: Tensor = ((positions - again) / (torch.tensor(size) / GRID)).norm(dim=-1)
    return apart < 1


class PartHead(nn.Module):
    """k parts that are the same in every image; all weights are buffers, learned before."""

    def __init__(self, spec: PartHeadSpec) -> None:
        """Without weights; `load_state_dict` fills it."""
        super().__init__()
        self.spec = spec
        self.register_buffer("centre", torch.zeros(spec.channels))
        self.register_buffer("projection", torch.zeros(spec.channels, spec.directions))
        # of the activation: mean, standard deviation, and in such deviations where the object begins
        self.register_buffer("level", torch.tensor([0.0, 1.0, 0.0]))
        answers = spec.k + spec.backgrounds
        self.register_buffer("weight", torch.zeros(len(spec.windows) * spec.directions + 1, answers))
        self.register_buffer("bias", torch.zeros(answers))

    def cells(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) raw maps -> (B, H, W, directions + 1), the activation last."""
        # the centre moves to after the product, which is then the only pass over all filters
        projection, (mean, deviation, _) = self.get_buffer("projection"), self.get_buffer("level")
        directions = centred_features(maps) @ projection - self.get_buffer("centre") @ projection
        active = ((activation(maps) - mean) / deviation).clamp(-EXTREME, EXTREME)
        return torch.cat([directions, active[..., None]], -1)

    def shares(self, cells: Tensor) -> Tensor:
        """(B, H, W, directions + 1) -> (B, k + 1, H, W) shares of each cell, which sum to 1; the last is background."""
        around = context_features(cells, self.spec.windows)
        answers = (around @ self.get_buffer("weight") + self.get_buffer("bias")).softmax(-1)
        parts = answers[..., : self.spec.k] * objectness(cells[..., -1:], self.get_buffer("level")[2])
        return torch.cat([parts, 1 - parts.sum(-1, keepdim=True)], -1).permute(0, 3, 1, 2)

    def located(self, cells: Tensor) -> Located:
        """Where the parts of (N, H, W, directions + 1) cells of any float type lie; block by block, to save memory."""
        found = [soft_argmax(self.shares(block.float())[:, : self.spec.k]) for block in torch.split(cells, BLOCK)]
        return Located(torch.cat([each.positions for each in found]), torch.cat([each.scores for each in found]))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) raw maps -> (B, k + 1, H, W) as `shares`."""
        with torch.autocast(maps.device.type, enabled=False):
            return self.shares(self.cells(maps))
