"""Learn the object head: what tells a cell of the object from a cell of its surroundings (not in the paper).

No annotation says where the objects are. Instead, training images are scaled down and pasted onto backgrounds. A cell
in the pasted image to which many filters respond is object; a cell beside the pasted image is not. All other cells are
left out. Pasted is the half of the images that their objects fill most; backgrounds are corners of those that are most
like scenes. How strongly the filters respond at the border tells one from the other.

The two kinds of cells are told apart by Fisher's linear discriminant. It needs only sums, so no map stays in memory.
"""

import heapq
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lmpnet_cli.data.backgrounds import corner_background, paste
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.inference.runner import ModelRunner
from lmpnet_cli.inference.windows import first_look_side, smaller, touches_border
from lmpnet_cli.model.objects import ObjectHead, response, square_root
from lmpnet_cli.progress import Progress

SCENES = 64  # images whose corners become backgrounds
AREA = (0.08, 0.95)  # smallest and largest share of the background that a pasted image covers
UNPASTED = 0.15  # share of the training images that stay as they are
RESPONDS = 0.2  # response from which a cell of a pasted image counts as object
WITHIN, BESIDE = 0.95, 0.05  # share of a cell that the pasted image covers, at least and at most
SHRINKAGE = 0.01  # of the covariance towards a multiple of the identity, so that it can be inverted


Square = NDArray[np.uint8]  # (S, S, 3) image


class Discriminant:
    """Fisher's linear discriminant of two kinds of rows, given batch after batch."""

    def __init__(self) -> None:
        self.counts = [0, 0]
        self.sums: list[Tensor] = [torch.zeros(()), torch.zeros(())]
        self.products = torch.zeros(())

    def update(self, rows: Tensor, kind: int) -> None:
        """Add (N, C) rows of kind 0 or 1."""
        self.counts[kind] += len(rows)
        self.sums[kind] = self.sums[kind] + rows.sum(0, dtype=torch.float64)
        self.products = self.products + (rows.T @ rows).double()

    def solve(self) -> tuple[Tensor, Tensor]:
        """Return weight (C,) and bias (1,) of the logit of kind 1, where both kinds are equally frequent.

        Raises:
            ValueError: where one kind has no rows.
        """
        if not all(self.counts):
            raise ValueError(f"expected rows of both kinds, received {self.counts}")
        means = [total / count for total, count in zip(self.sums, self.counts, strict=True)]
        scatter = self.products - sum(
            count * torch.outer(mean, mean) for count, mean in zip(self.counts, means, strict=True)
        )
        covariance = scatter / sum(self.counts)
        ridge = SHRINKAGE * covariance.diagonal().mean().clamp(min=1e-12)
        weight = torch.linalg.solve(covariance + ridge * torch.eye(len(covariance)), means[1] - means[0])
        return weight.float(), (-(means[0] + means[1]) @ weight / 2).float()[None]


def fit_object_head(
    runner: ModelRunner, images: Sequence[ListedImage], seed: int, progress: Progress
) -> ObjectHead | None:
    """Learn an object head from images, without labels and annotations; None where all cells are of one kind.

    Raises:
        InputError: if no image can be read.
    """
    side = first_look_side(runner.model, runner.size, most=1)
    framed, scenes = _framed_and_scenes(runner, images, side, progress)
    discriminant = Discriminant()
    progress.start("learn what is object", len(framed))
    for loaded, pixels in runner.loader.batches(framed, Progress()):
        composed, covers = _composites(pixels, [image.index for image in loaded], scenes, seed)
        maps = runner.run(smaller(composed, side)).maps.cpu()
        for kind, rows in enumerate(_rows_by_kind(maps, covers)):
            discriminant.update(rows, kind)
        progress.advance(len(loaded))

    try:
        weight, bias = discriminant.solve()
    except ValueError:
        return None
    head = ObjectHead(len(weight))
    head.load_state_dict({"weight": weight, "bias": bias})
    return head.eval()


def _framed_and_scenes(
    runner: ModelRunner, images: Sequence[ListedImage], side: int, progress: Progress
) -> tuple[list[ListedImage], list[Square]]:
    """Return the half of the images that their objects fill most, and those that are scenes above all others."""
    touched: dict[int, float] = {}
    scenes: list[tuple[float, int, Square]] = []
    progress.start("look for objects", len(images))
    for loaded, pixels in runner.loader.batches(images, progress):
        shares = touches_border(response(runner.run(smaller(pixels, side)).maps).cpu().numpy())
        for image, whole, share in zip(loaded, pixels, shares, strict=True):
            touched[image.index] = share
            heapq.heappush(scenes, (-share, image.index, whole.permute(1, 2, 0).numpy()))
            if len(scenes) > SCENES:
                heapq.heappop(scenes)

    order = sorted(touched, key=lambda index: -touched[index])
    return [images[index] for index in order[: -(-len(order) // 2)]], [square for *_, square in sorted(scenes)]


def _composites(pixels: Tensor, indices: Sequence[int], scenes: Sequence[Square], seed: int) -> tuple[Tensor, Tensor]:
    """Paste the images of a batch onto backgrounds.

    Args:
        pixels: (B, 3, S, S) bytes.
        indices: of the images; each has random numbers of its own.
        scenes: images whose corners become backgrounds, (S, S, 3) each.

    Returns:
        The new images, of the same shape, and (B, S, S) ones where the pasted image is, else zeros.
    """
    squares = pixels.permute(0, 2, 3, 1).numpy()
    size = pixels.shape[3]
    composed, covers = np.empty_like(squares), np.ones((len(squares), size, size), np.float32)
    for position, index in enumerate(indices):
        random = np.random.default_rng([seed, index])
        composed[position] = squares[position]
        if random.random() >= UNPASTED:
            background = corner_background(scenes[int(random.integers(len(scenes)))], size, random)
            composed[position], (left, top, width, height) = paste(squares[position], background, random, AREA)
            covers[position] = 0
            covers[position, top : top + height, left : left + width] = 1
    return torch.from_numpy(composed).permute(0, 3, 1, 2), torch.from_numpy(covers)


def _rows_by_kind(maps: Tensor, covers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features of the cells beside and within the pasted images, (N, C) each."""
    share = functional.adaptive_avg_pool2d(covers[:, None], (maps.shape[2], maps.shape[3]))[:, 0]
    cells = square_root(maps).permute(0, 2, 3, 1)
    return cells[share <= BESIDE], cells[(share >= WITHIN) & (response(maps) > RESPONDS)]
