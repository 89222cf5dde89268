"""The second look: find the windows of objects, and read keypoints in them (`--objects`, `--boxes`; not in the paper).

1. The windows come from a first look, in which the network alone sees the whole image, small (`FirstLook`), or from a
   file of boxes (`GivenWindows`).
2. `cut_windows` cuts them out of the image, as the input of the networks: the `second_look`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lmpnet_cli.data.images import Rgb, to_input
from lmpnet_cli.data.listing import GivenBox
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.errors import OptionError
from lmpnet_cli.io.runtime import evaluating
from lmpnet_cli.keypoints import NO_OBJECT, Box
from lmpnet_cli.model.lmpnet import LMPNet

if TYPE_CHECKING:
    from lmpnet_cli.inference.runner import ModelRunner

FIRST_LOOK = 4 / 7  # side of its input for one object, as a share of that of the second look: 128 of 224 pixels
STEP = 32  # the side is a multiple of so many pixels
INSIDE = 0.9  # probability of the object head from which a cell is object, where one object is looked for
SEVERAL = 0.98  # the same where several are: at a lower one, neighbours would be one region
EDGE = 0.6  # prominence from which a cell belongs to the window
FRAMED, EDGE_OF_RESPONSE = 0.25, 0.45  # for a model without an object head: see `touches_border`, and instead of EDGE
FINE = 112  # side of the grid on which the cells are enlarged, so that an edge may lie within a cell
NEARLY_WHOLE = 0.65  # share of the image: in a larger window there is nothing more to see
SMALLEST = 0.1  # mass of a further object, as a share of that of the most prominent one
COVERED = 0.5  # share of a window inside a more prominent one, from which it is the same object

Cells = NDArray[np.float32]  # (H, W) of one image, or (B, H, W)
Extent = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the image
WHOLE: Extent = (0.0, 0.0, 1.0, 1.0)


class WindowFinder(Protocol):
    """Says where the objects of images are, at most `most` on each."""

    most: int

    def find(self, loaded: Sequence[LoadedImage], pixels: Tensor) -> list[list[Extent]]:
        """Return the extents of the objects of each image, the most prominent first; none where there is no object.

        Args:
            loaded: the images.
            pixels: (B, 3, S, S) bytes of the whole images.
        """


class FirstLook:
    """Finds objects by what the network makes of the whole image."""

    def __init__(
        self, look: Callable[[Tensor], tuple[Cells, Cells]], side: int, object_head: bool, most: int = 1
    ) -> None:
        """
        Args:
            look: maps (B, 3, s, s) bytes to prominence and probability, as `LMPNet.objects`.
            side: s in pixels.
            object_head: whether the model has one.
            most: largest number of objects on an image.
        """
        self.look, self.side, self.object_head, self.most = look, side, object_head, most

    def find(self, loaded: Sequence[LoadedImage], pixels: Tensor) -> list[list[Extent]]:
        """Return the extents of the objects, as `WindowFinder.find`."""
        find = self._find if self.object_head else self._find_without_head
        return [find(cells, inside) for cells, inside in zip(*self.look(smaller(pixels, self.side)), strict=True)]

    def _find(self, cells: Cells, inside: Cells) -> list[Extent]:
        if self.most > 1:  # each object counts by itself, however prominent another one is
            return objects(inside, SEVERAL, self.most)
        certain = objects(inside, INSIDE)  # empty where there is no object
        return certain if certain in ([], [WHOLE]) else objects(cells, EDGE, self.most)

    def _find_without_head(self, cells: Cells, inside: Cells) -> list[Extent]:
        framed = touches_border(cells[None])[0] > FRAMED
        return [WHOLE] if framed else objects(cells, EDGE_OF_RESPONSE, self.most)


def first_look_of(runner: "ModelRunner", most: int = 1) -> FirstLook:
    """Return the first look of a network, given a runner of the network alone, without a replica."""

    def look(pixels: Tensor) -> tuple[Cells, Cells]:
        cells, inside = runner.model.objects(runner.run(pixels))
        return cells.float().cpu().numpy(), inside.float().cpu().numpy()

    side = first_look_side(runner.model, runner.size, most)
    return FirstLook(look, side, runner.model.object_head is not None, most)


@torch.inference_mode()
def first_look_side(model: LMPNet, size: int, most: int) -> int:
    """Return the side of the input of the first look: small for one object, that of the second look for several.

    Args:
        size: side of the input of the second look in pixels.
        most: largest number of objects on an image.
    """
    side = min(size, max(STEP, round(FIRST_LOOK * size / STEP) * STEP))
    if most > 1:
        return size
    try:
        with evaluating(model):  # so that no statistics change
            model.network.backbone(torch.zeros(1, 3, side, side, device=model.get_buffer("mean").device))
    except OptionError:  # a transformer whose patches do not fit
        return size
    return side


def touches_border(cells: Cells) -> list[float]:
    """Return how strongly the filters respond at the four sides of each image, (B, H, W) -> B means of maxima.

    Where an object fills the image, it is cut off at most sides, or nearly.
    """
    sides = (cells[:, 0], cells[:, -1], cells[:, :, 0], cells[:, :, -1])
    shares: list[float] = np.mean([side.max(1) for side in sides], axis=0).tolist()
    return shares


class GivenWindows:
    """Takes the objects from the boxes that the images are listed with."""

    def __init__(self, most: int) -> None:
        """
        Args:
            most: largest number of objects on an image.
        """
        self.most = most

    def find(self, loaded: Sequence[LoadedImage], pixels: Tensor) -> list[list[Extent]]:
        """Return the extents of the objects, as `WindowFinder.find`."""
        return [
            [extent for box in image.boxes if (extent := _extent(box, image.width, image.height))][: self.most]
            for image in loaded
        ]


class WiderWindows:
    """Takes the objects of another finder in wider windows, so that tails and feet are not cut off."""

    def __init__(self, finder: WindowFinder, margin: float) -> None:
        """
        Args:
            margin: on every side, as a share of the longer side of the window.
        """
        self.finder, self.margin, self.most = finder, margin, finder.most

    def find(self, loaded: Sequence[LoadedImage], pixels: Tensor) -> list[list[Extent]]:
        """Return the extents of the objects, as `WindowFinder.find`."""
        found = zip(loaded, self.finder.find(loaded, pixels), strict=True)
        return [[self._wider(extent, image.width, image.height) for extent in extents] for image, extents in found]

    def _wider(self, extent: Extent, width: int, height: int) -> Extent:
        left, top, right, bottom = extent
        margin = self.margin * max((right - left) * width, (bottom - top) * height)
        across, down = margin / width, margin / height
        return max(0.0, left - across), max(0.0, top - down), min(1.0, right + across), min(1.0, bottom + down)


def margin_of(model: LMPNet, method: str | None) -> float:
    """Return by how much the windows of a method are wider than its objects, as `LandmarkHeadSpec.margin`."""
    head = model.landmark_head if method == "landmarks" else None
    return 0.0 if head is None else head.spec.margin


def _extent(box: GivenBox, width: int, height: int) -> Extent | None:
    """Return the part of a box that lies inside the image; None where that is less than a pixel."""
    scale = (width, height) if box.relative else (1, 1)
    left, top = max(0.0, box.x * scale[0]), max(0.0, box.y * scale[1])
    right = min(float(width), (box.x + box.width) * scale[0])
    bottom = min(float(height), (box.y + box.height) * scale[1])
    if right - left < 1 or bottom - top < 1:
        return None
    return left / width, top / height, right / width, bottom / height


def smaller(pixels: Tensor, side: int) -> Tensor:
    """Make images smaller for the first look, (B, 3, S, S) bytes -> (B, 3, side, side) bytes."""
    if side == pixels.shape[3]:
        return pixels
    small = functional.interpolate(pixels.float(), (side, side), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).byte()


def objects(cells: Cells, threshold: float, most: int = 1) -> list[Extent]:
    """Return the extents of the connected regions above a threshold, the one with the largest sum first.

    An extent that is nearly the whole image becomes the whole image, and there is no other. A region is left out where
    it is small beside the first one, or lies in the extent of one before it.

    Args:
        cells: (H, W), higher where there is an object.
        most: largest number of extents.
    """
    fine = cv2.resize(np.asarray(cells, np.float32), (FINE, FINE), interpolation=cv2.INTER_LINEAR)
    count, regions, boxes, _ = cv2.connectedComponentsWithStats((fine > threshold).astype(np.uint8), connectivity=8)
    mass = np.bincount(regions.ravel(), weights=fine.ravel(), minlength=count)[1:]

    found: list[Extent] = []
    for region in np.argsort(-mass, kind="stable").tolist():
        left, top, width, height = (boxes[region + 1, :4] / FINE).tolist()
        extent = (left, top, left + width, top + height)
        if not found and width * height > NEARLY_WHOLE:
            return [WHOLE]
        if len(found) == most or mass[region] < SMALLEST * mass.max():
            break
        if all(_covered(extent, other) < COVERED for other in found):
            found.append(extent)
    return found


def _covered(extent: Extent, other: Extent) -> float:
    """Return the share of an extent that lies inside another one."""
    sides = [min(extent[axis + 2], other[axis + 2]) - max(extent[axis], other[axis]) for axis in (0, 1)]
    area = (extent[2] - extent[0]) * (extent[3] - extent[1])
    return max(0.0, sides[0]) * max(0.0, sides[1]) / area


def second_look(
    finder: WindowFinder | None, loaded: list[LoadedImage], pixels: Tensor, at_once: int
) -> Iterable[tuple[list[LoadedImage], Tensor]]:
    """Return what the networks see of a batch, in one or several batches: windows, or the whole images.

    Args:
        finder: finds the windows; None for whole images.
        at_once: as for `cut_windows`.
    """
    return [(loaded, pixels)] if finder is None else cut_windows(loaded, pixels, finder.find(loaded, pixels), at_once)


def cut_windows(
    loaded: Sequence[LoadedImage], pixels: Tensor, found: Sequence[Sequence[Extent]], at_once: int
) -> Iterator[tuple[list[LoadedImage], Tensor]]:
    """Yield one entry with its input for each object, images in their order, in batches of whole images.

    An image without an object has one entry, which says so (`LoadedImage.empty`).

    Args:
        loaded: with a copy to cut from (`scene`).
        pixels: (B, 3, S, S) bytes of the whole images.
        found: the extents of the objects of each image.
        at_once: images in a batch; more only where one image has more objects.
    """
    entries: list[LoadedImage] = []
    inputs: list[Tensor] = []
    for image, whole, extents in zip(loaded, pixels, found, strict=True):
        if entries and len(entries) + len(extents) > at_once:
            yield entries, torch.stack(inputs)
            entries, inputs = [], []
        shown: Sequence[Extent | None] = extents or (None,)
        for extent in shown:
            entry, own = _cut(image, whole, extent)
            entries.append(entry)
            inputs.append(own)
    yield entries, torch.stack(inputs)


def _cut(image: LoadedImage, whole: Tensor, extent: Extent | None) -> tuple[LoadedImage, Tensor]:
    """Return an image with the window of an object, and the input of the networks."""
    if extent is None:
        return replace(image, window=NO_OBJECT), whole
    if extent == WHOLE or image.scene is None:
        return replace(image, window=(0.0, 0.0, float(image.width), float(image.height))), whole

    seen, window = _cut_scene(image.scene, extent, (image.width, image.height))
    own = to_input(seen, whole.shape[2]).transpose(2, 0, 1)
    return replace(image, window=window), torch.from_numpy(own.copy()).to(whole.device)


def _cut_scene(scene: Rgb, extent: Extent, size: tuple[int, int]) -> tuple[Rgb, Box]:
    """Return the pixels of a window, and where it lies in the image of that size, rounded to pixels of the scene."""
    shape = np.array([scene.shape[1], scene.shape[0]])
    low = np.minimum(np.round(np.array(extent[:2]) * shape), shape - 1).astype(int)
    high = np.maximum(np.round(np.array(extent[2:]) * shape), low + 1).astype(int)
    x, y = (low * size / shape).tolist()
    width, height = ((high - low) * size / shape).tolist()
    return scene[low[1] : high[1], low[0] : high[0]], (x, y, width, height)
