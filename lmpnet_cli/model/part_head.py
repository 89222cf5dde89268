"""The part head: W (c x k) of Algorithm 1, learned once for a data set instead of for each image; not in the paper.

LMPNet ranks the keypoints of each image anew, so that kp1 of one image may be the beak and kp1 of the next the tail.
The part head assigns every cell of a map to one of k parts, or to the background, by the look of the cell and its
context, so that index i means the same part in every image. `lmpnet_cli.parts` learns it.

1. One linear layer over the features of a cell and its context (`cell_features`) and a softmax give k part maps and the
   background.
2. A part counts only as far as its cell is active enough to belong to the object: windows reach beyond its outline.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmpnet_cli.model.cell_features import CellFeatures, context_features, window_size
from lmpnet_cli.model.clustering import GRID

SOFTNESS = 0.3  # width of the line between object and background, in standard deviations of the activation
STEADY = 3  # cells of a 14 x 14 grid: side of the window whose mean is a part's score
BLOCK = 64  # images that are located together


@dataclass(frozen=True)
class PartHeadSpec:
    """What is needed, besides the weights, to build a part head again.

    Attributes:
        names: of the k parts.
        channels: filters of the maps.
        directions: principal directions that are kept of them.
        backgrounds: kinds of background, which count as one.
        windows: sides of the windows, in cells of a 14 x 14 grid.
        threshold: a part with a lower score is not visible.
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
        """Check the values: a checkpoint may come from an untrusted source."""
        if not all(isinstance(name, str) for name in self.names):
            raise ValueError(f"expected names of parts, received {self.names!r:.80}")
        for number in (self.channels, self.directions, self.backgrounds, *self.windows):
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"expected whole numbers above 0, received {number!r:.80}")
        if not self.windows or max(self.windows) > 4 * GRID or not 0 <= self.threshold <= 1:
            raise ValueError(f"windows {self.windows!r:.80} or threshold {self.threshold!r:.80} out of range")

    @property
    def k(self) -> int:
        """Return the number of parts."""
        return len(self.names)


@dataclass(frozen=True)
class Located:
    """Where each part is located on each map of a batch, visible or not.

    Attributes:
        positions: (B, k, 2) row, column; whole numbers are cell centres.
        scores: (B, k) in [0, 1].
    """

    positions: Tensor
    scores: Tensor


def objectness(active: Tensor, level: Tensor | float) -> Tensor:
    """Compute how likely a cell belongs to the object, in [0, 1], from its activation in standard deviations."""
    return torch.sigmoid((active - level) / SOFTNESS)


def presence(parts: Tensor) -> Tensor:
    """Return the highest mean over `STEADY`² cells, (B, k, H, W) -> (B, k): one stray cell is not a part."""
    return functional.avg_pool2d(parts, window_size(STEADY, parts), 1).amax((2, 3))


def soft_argmax(parts: Tensor) -> Located:
    """Locate every part: the mean of the cells, weighted by the square of the part's map, with the score `presence`.

    Args:
        parts: (B, k, H, W) shares in [0, 1], background excluded.
    """
    height, width = parts.shape[2:]
    weight = parts.square().clamp_min(1e-12)
    total = weight.sum((2, 3))

    rows = (weight.sum(3) @ torch.arange(height, device=parts.device, dtype=parts.dtype)) / total
    columns = (weight.sum(2) @ torch.arange(width, device=parts.device, dtype=parts.dtype)) / total
    return Located(torch.stack([rows, columns], -1), presence(parts))


def unflip(positions: Tensor, width: int) -> Tensor:
    """Turn (..., 2) row and column on the map of a mirror image into positions on the map of the image."""
    return torch.stack([positions[..., 0], width - 1 - positions[..., 1]], -1)


def within_one_cell(positions: Tensor, again: Tensor, size: tuple[int, int]) -> Tensor:
    """Tell, (...,), whether two positions on a map of (H, W) are less than a cell of a 14 x 14 grid apart."""
    apart: Tensor = ((positions - again) / (torch.tensor(size) / GRID)).norm(dim=-1)
    return apart < 1


class PartHead(CellFeatures):
    """k parts that are the same in every image; all weights are buffers, learned beforehand."""

    def __init__(self, spec: PartHeadSpec) -> None:
        """Make a part head without weights; `load_state_dict` fills it."""
        super().__init__(spec.channels, spec.directions)
        self.spec = spec
        outputs = spec.k + spec.backgrounds
        self.register_buffer("weight", torch.zeros(len(spec.windows) * spec.directions + 1, outputs))
        self.register_buffer("bias", torch.zeros(outputs))

    def anywhere(self, cells: Tensor) -> Tensor:
        """Map (B, H, W, directions + 1) features to (B, H, W, k) shares of the parts, on the object or beside it."""
        around = context_features(cells, self.spec.windows)
        outputs = (around @ self.get_buffer("weight") + self.get_buffer("bias")).softmax(-1)
        return outputs[..., : self.spec.k]

    def shares(self, cells: Tensor) -> Tensor:
        """Map (B, H, W, directions + 1) features to (B, k + 1, H, W) shares, which sum to 1; the last is background."""
        parts = self.anywhere(cells) * objectness(cells[..., -1:], self.get_buffer("level")[2])
        return torch.cat([parts, 1 - parts.sum(-1, keepdim=True)], -1).permute(0, 3, 1, 2)

    def located(self, cells: Tensor) -> Located:
        """Locate the parts of (N, H, W, directions + 1) features of any float type, block by block to save memory."""
        found = [soft_argmax(self.shares(block.float())[:, : self.spec.k]) for block in torch.split(cells, BLOCK)]
        return Located(torch.cat([each.positions for each in found]), torch.cat([each.scores for each in found]))

    def without(self, names: Collection[str]) -> "PartHead":
        """Return a part head without the parts of these names, whose cells become background; the others stay."""
        kept = [part for part, name in enumerate(self.spec.names) if name not in names]
        order = [*kept, *(output for output in range(self.spec.k + self.spec.backgrounds) if output not in kept)]
        backgrounds = self.spec.backgrounds + self.spec.k - len(kept)
        smaller = PartHead(replace(self.spec, names=tuple(self.spec.names[i] for i in kept), backgrounds=backgrounds))
        changed = {name: self.get_buffer(name)[..., order] for name in ("weight", "bias")}
        smaller.load_state_dict(self.state_dict() | changed)
        return smaller.eval()

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) raw maps to (B, k + 1, H, W) shares, as `shares`."""
        with torch.autocast(maps.device.type, enabled=False):
            return self.shares(self.cells(maps))
