"""The landmark head: named landmarks, learned from a few annotated images on the frozen maps; not in the paper.

1. One linear layer over the features of a cell and its context (`cell_features`) scores every cell for each landmark; a
   softmax over the cells says where the landmark is if it is visible.
2. Another linear layer, over the means of the four quarters of the map, says whether it is visible: the quarters tell
   which way an animal faces.
3. The position is where most of the probability is: the window of 3 x 3 cells with the largest sum is found, and the
   mean of the cells around it is taken. Its score is that sum, times the probability that the landmark is visible.

`lmpnet_cli.landmarks` learns both layers.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmpnet_cli.model.cell_features import CellFeatures, context_features, window_size
from lmpnet_cli.model.clustering import GRID
from lmpnet_cli.model.part_head import Located

NEAR = 3  # cells of a 14 x 14 grid: side of the window whose sum is the score
AROUND = 5  # the same of the window whose mean is the position


@dataclass(frozen=True)
class LandmarkHeadSpec:
    """What is needed, besides the weights, to build a landmark head again.

    Attributes:
        names: of the k landmarks.
        channels: filters of the maps.
        directions: principal directions that are kept of them.
        windows: sides of the windows of cells, in cells of a 14 x 14 grid.
        margin: by which the window of an object is wider on every side, as a share of its longer side.
        learned_from: what it was learned from, for the record.
    """

    names: tuple[str, ...]
    channels: int
    directions: int = 192
    windows: tuple[int, ...] = (1, 3, 7)
    margin: float = 0.2
    learned_from: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the values: a checkpoint may come from an untrusted source."""
        if not all(isinstance(name, str) for name in self.names):
            raise ValueError(f"expected names of landmarks, received {self.names!r:.80}")
        for number in (self.channels, self.directions, *self.windows):
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"expected whole numbers above 0, received {number!r:.80}")
        if not self.windows or max(self.windows) > 4 * GRID or not 0 <= self.margin <= 1:
            raise ValueError(f"windows {self.windows!r:.80} or margin {self.margin!r:.80} out of range")

    @property
    def k(self) -> int:
        """Return the number of landmarks."""
        return len(self.names)


class LandmarkHead(CellFeatures):
    """k named landmarks; all weights are buffers, learned beforehand."""

    def __init__(self, spec: LandmarkHeadSpec) -> None:
        """Make a landmark head without weights; `load_state_dict` fills it."""
        super().__init__(spec.channels, spec.directions)
        self.spec = spec
        self.register_buffer("weight", torch.zeros(len(spec.windows) * spec.directions + 1, spec.k))
        self.register_buffer("visible_weight", torch.zeros(4 * spec.directions, spec.k))
        self.register_buffer("visible_bias", torch.zeros(spec.k))
        self.register_buffer("threshold", torch.zeros(spec.k))  # a landmark with a lower score is not visible

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, H, W) raw maps to the outputs of `shares` and `visible`."""
        with torch.autocast(maps.device.type, enabled=False):
            cells = self.cells(maps)
            return self.shares(cells), self.visible(cells)

    def shares(self, cells: Tensor) -> Tensor:
        """Map (B, H, W, directions + 1) features to (B, k, H, W) probabilities, which sum to 1 over the cells."""
        scores = (context_features(cells, self.spec.windows) @ self.get_buffer("weight")).permute(0, 3, 1, 2)
        return scores.flatten(2).softmax(2).reshape(scores.shape)

    def visible(self, cells: Tensor) -> Tensor:
        """Map (B, H, W, directions + 1) features to (B, k) probabilities that a landmark is visible."""
        return torch.sigmoid(quarters(cells) @ self.get_buffer("visible_weight") + self.get_buffer("visible_bias"))

    def located(self, maps: Tensor) -> Located:
        """Locate the landmarks, visible or not, on (B, C, H, W) raw maps."""
        return _located(*self(maps))

    def located_in(self, cells: Tensor) -> Located:
        """Locate the landmarks, visible or not, by (B, H, W, directions + 1) features."""
        return _located(self.shares(cells), self.visible(cells))


def _located(shares: Tensor, visible: Tensor) -> Located:
    found = most_likely(shares)
    return Located(found.positions, found.scores * visible)


def quarters(cells: Tensor) -> Tensor:
    """Compute the means of the four quarters of a map, (B, H, W, D + 1) -> (B, 4 D) of length 1; no activation."""
    row, column = cells.shape[1] // 2, cells.shape[2] // 2
    halves = (cells[:, :row, :, :-1], cells[:, row:, :, :-1])
    means = [part.mean((1, 2)) for half in halves for part in (half[:, :, :column], half[:, :, column:])]
    return functional.normalize(torch.cat(means, 1), dim=1)


def most_likely(shares: Tensor) -> Located:
    """Find the most likely position of every landmark.

    Args:
        shares: (B, k, H, W) probabilities of the cells.

    Returns:
        Positions, and as scores the probability of the 3 x 3 cells there.
    """
    height, width = shares.shape[2:]
    near = _window_sums(shares)
    best = near.flatten(2).argmax(2)
    row, column = (best // width)[..., None], (best % width)[..., None]

    rows, columns = (torch.arange(side, device=shares.device) for side in (height, width))
    reach = [size // 2 for size in window_size(AROUND, shares)]
    around_rows, around_columns = (rows - row).abs() <= reach[0], (columns - column).abs() <= reach[1]
    weight = shares * around_rows[..., None] * around_columns[..., None, :]

    total = weight.sum((2, 3)).clamp_min(1e-12)
    positions = [(weight.sum(3) * rows).sum(2) / total, (weight.sum(2) * columns).sum(2) / total]
    return Located(torch.stack(positions, -1), near.amax((2, 3)).clamp(0, 1))


def _window_sums(shares: Tensor) -> Tensor:
    """Sum (B, k, H, W) over `NEAR`² cells around each cell; beyond the border there is nothing."""
    size = window_size(NEAR, shares)
    padding = [length // 2 for length in size]
    return functional.avg_pool2d(shares, size, 1, padding) * (size[0] * size[1])
