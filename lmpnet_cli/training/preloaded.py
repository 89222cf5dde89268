"""Training images that are decoded once, kept on the device and augmented there (`--preload`).

What an input shows is drawn as without `--preload` (`augmentation.View`); it is cut out of the stored images, pasted,
mirrored and recoloured for a whole batch at once. Only the interpolation is another one.

An image is stored as bytes, warped to a square a little larger than the input, and again at smaller sizes, from which
small copies are made without aliasing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from lmpnet_cli.data.images import to_input
from lmpnet_cli.training.augmentation import Look, View
from lmpnet_cli.training.dataset import EpochSampler, Key, TrainingSet, in_order

LARGER = 8 / 7  # side of the stored images, as a multiple of the input's
SMALLER = 3  # how often their side is halved
DECODED = 64  # images that are decoded together
LUMA = (0.2989, 0.587, 0.114)  # of torchvision's grey


@dataclass(frozen=True)
class StoredImages:
    """All images of a training set on one device, at several sizes.

    Attributes:
        levels: (N, 3, S, S) bytes each; S halves from one to the next.
        shapes: height and width of each image before it was warped.
        labels: of each image.
    """

    levels: tuple[Tensor, ...]
    shapes: list[tuple[int, int]]
    labels: list[int]

    @classmethod
    def load(cls, training: TrainingSet, device: torch.device, workers: int) -> "StoredImages":
        """Decode all images of a training set."""
        smallest = 2 ** (SMALLER - 1)
        loaded = list(
            in_order(_Warped(training, smallest * round(LARGER * training.size / smallest)), DECODED, workers)
        )

        largest = torch.cat([images for images, _, _ in loaded]).to(device)
        levels = (largest, *(_halved(largest, 2**times) for times in range(1, SMALLER)))
        shapes = [(int(height), int(width)) for _, batch, _ in loaded for height, width in batch]
        return cls(levels, shapes, torch.cat([labels for _, _, labels in loaded]).tolist())

    @staticmethod
    def bytes_for(images: int, size: int) -> int:
        """Return about how many bytes this many images take, for an input of this size."""
        return int(images * 3 * (LARGER * size) ** 2 * sum(4.0**-times for times in range(SMALLER)))


class PreloadedBatches:
    """The training batches of one process, as a loader gives them, but on the device."""

    def __init__(self, images: StoredImages, training: TrainingSet, sampler: EpochSampler) -> None:
        """
        Args:
            images: those of the training set.
            training: says what is drawn.
        """
        self.images, self.training, self.sampler = images, training, sampler
        self.device = images.levels[0].device

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return map(self.batch, self.sampler)

    def batch(self, keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """Return (B, 3, size, size) bytes on the device, and the labels, for (epoch, index) pairs."""
        views = [self.training.view(key, self.images.shapes.__getitem__) for key in keys]
        looks = [self._look(view) for view in views]
        none = len(self.training.labels)
        labels = torch.tensor([none if view.index is None else self.images.labels[view.index] for view in views])
        return self._drawn(views, looks).to(torch.uint8), labels.to(self.device)

    def _look(self, view: View) -> Look:
        shape = self.images.shapes[view.index] if view.index is not None and view.under is None else None
        return self.training.augmentation.look(shape, view.seed)

    def _drawn(self, views: Sequence[View], looks: Sequence[Look]) -> Tensor:
        """Return (B, 3, size, size) from 0 to 255, rounded."""
        mirrored = self._numbers([look.mirror for look in looks]).bool()
        axis = torch.arange(self.training.size, device=self.device) + 0.5
        x = torch.where(mirrored[:, None], self.training.size - axis, axis)
        y = axis.expand_as(x)

        shown = [row for row, view in enumerate(views) if view.index is not None]
        canvas = torch.zeros(len(views), 3, len(axis), len(axis), device=self.device)
        if shown:
            canvas[shown] = self._objects(
                [views[row] for row in shown], [looks[row] for row in shown], x[shown], y[shown]
            )

        behind = [row for row, view in enumerate(views) if view.under is not None]
        if behind:
            alpha = self._alpha([views[row] for row in behind], x[behind], y[behind])
            background = self._backgrounds([views[row] for row in behind], x[behind], y[behind])
            canvas[behind] = background + alpha * (canvas[behind] - background)
        return recoloured(canvas.round(), [look.jitter for look in looks], self.device)

    def _objects(self, views: Sequence[View], looks: Sequence[Look], x: Tensor, y: Tensor) -> Tensor:
        """Return the crops, and the images where they are pasted, whatever is around them."""
        spans = [self._span(view, look) for view, look in zip(views, looks, strict=True)]
        left, top, step_x, step_y = self._numbers(spans).T[..., None]
        across, down = left + x * step_x, top + y * step_y

        # the level at which a cell of the input is about a cell of the stored image
        cells = self.images.levels[0].shape[-1] * np.sqrt([span[2] * span[3] for span in spans])
        levels = np.clip(np.log2(np.maximum(cells, 1)).round().astype(int), 0, SMALLER - 1)
        images = torch.empty(len(views), 3, x.shape[1], x.shape[1], device=self.device)
        for level in np.unique(levels):
            rows = np.flatnonzero(levels == level).tolist()
            indices = [views[row].index or 0 for row in rows]
            images[rows] = sampled(self.images.levels[level], indices, across[rows], down[rows])
        return images

    def _span(self, view: View, look: Look) -> tuple[float, float, float, float]:
        """Return where the corner of the input is in the image, and the step of a pixel, as shares of its sides."""
        if (place := view.placement) is not None:
            return -place.left / place.width, -place.top / place.height, 1 / place.width, 1 / place.height

        assert look.crop is not None and view.index is not None  # what is not pasted is cropped
        height, width = self.images.shapes[view.index]
        left, top = look.crop["left"] / width, look.crop["top"] / height
        step_x, step_y = look.crop["width"] / width, look.crop["height"] / height
        return left, top, step_x / self.training.size, step_y / self.training.size

    def _alpha(self, views: Sequence[View], x: Tensor, y: Tensor) -> Tensor:
        """Return (B, 1, size, size) weights of the pasted images, which rise from 0 to 1 at their edges."""
        places = [view.placement for view in views]
        rectangles = [(p.left, p.top, p.width, p.height, p.edge) if p else (0, 0, -1, -1, 1) for p in places]
        left, top, width, height, edge = self._numbers(rectangles).T[..., None]

        def ramp(position: Tensor, start: Tensor, length: Tensor) -> Tensor:
            inside = position - start + 0.5
            return torch.minimum(inside, length + 1 - inside).div(edge).clamp(0, 1)

        return torch.minimum(ramp(x, left, width)[:, None, None], ramp(y, top, height)[:, None, :, None])

    def _backgrounds(self, views: Sequence[View], x: Tensor, y: Tensor) -> Tensor:
        """Return the corners that fill the input, enlarged and mirrored."""
        numbers, indices = [], []
        for view in views:
            corner = view.corner
            assert corner is not None and view.under is not None  # they are drawn together
            height, width = self.images.shapes[view.under]
            part = (corner.left / width, corner.top / height, corner.width / width, corner.height / height)
            numbers.append((*part, corner.side, corner.x, corner.y))
            indices.append(view.under)

        left, top, width, height, side, begin_x, begin_y = self._numbers(numbers).T[..., None]
        across, down = (_back_and_forth((each + begin) / side) for each, begin in ((x, begin_x), (y, begin_y)))
        return sampled(self.images.levels[0], indices, left + across * width, top + down * height)

    def _numbers(self, values: Sequence[object]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).to(self.device, non_blocking=True)


class _Warped(Dataset[tuple[Tensor, Tensor, int]]):
    """Each image warped to a square, with its height and width, and its label."""

    def __init__(self, training: TrainingSet, side: int) -> None:
        self.training, self.side = training, side

    def __len__(self) -> int:
        return len(self.training)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        rgb, label = self.training.readable(index)
        square = np.ascontiguousarray(to_input(rgb, self.side).transpose(2, 0, 1))
        return torch.from_numpy(square), torch.tensor(rgb.shape[:2]), label


def sampled(images: Tensor, indices: Sequence[int], across: Tensor, down: Tensor) -> Tensor:
    """Return (B, 3, H, W) interpolated images.

    Args:
        images: (N, 3, S, S) bytes.
        indices: of the B images.
        across, down: (B, W) and (B, H) positions of columns and rows, as shares of the side.
    """
    chosen = images[torch.tensor(indices, device=images.device)].float()
    height, width = down.shape[1], across.shape[1]
    grid = torch.stack([across[:, None].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], 3)
    return functional.grid_sample(chosen, 2 * grid - 1, padding_mode="border", align_corners=False)


def recoloured(images: Tensor, jitters: Sequence[dict[str, Any]], device: torch.device) -> Tensor:
    """Change brightness, contrast and saturation of (B, 3, H, W) images from 0 to 255, as `v2.ColorJitter` does.

    Args:
        jitters: its parameters for each image.
    """
    names = ("brightness_factor", "contrast_factor", "saturation_factor")
    factors = torch.tensor([[jitter[name] for name in names] for jitter in jitters]).to(device)
    order = torch.stack([jitter["fn_idx"] for jitter in jitters])
    luma = torch.tensor(LUMA, device=device)[:, None, None]

    for turn in range(order.shape[1]):
        for change in range(len(names)):
            rows = torch.nonzero(order[:, turn] == change)[:, 0].to(device)
            if not len(rows):
                continue
            chosen, factor = images[rows], factors[rows, change, None, None, None]
            grey = (chosen * luma).sum(1, keepdim=True).floor()
            other = (torch.zeros_like(grey), grey.mean((2, 3), keepdim=True), grey)[change]
            images[rows] = (factor * chosen + (1 - factor) * other).clamp(0, 255).floor()
    return images


def _back_and_forth(position: Tensor) -> Tensor:
    """Map positions to [0, 1]: rising in every even interval, falling in every odd one."""
    return 1 - (position.remainder(2) - 1).abs()


def _halved(images: Tensor, times: int) -> Tensor:
    """Return the images with sides divided by `times`, by averages."""
    chunks = torch.split(images, DECODED)
    return torch.cat([functional.avg_pool2d(chunk.float(), times).round().to(torch.uint8) for chunk in chunks])
