"""Change training images at random before the network sees them.

1. Random resized crop, flip and mild colour jitter, the common recipe (torchvision).
2. With `background`, which is not in the paper: some images are scaled down and pasted whole onto a background, and
   some inputs are a background alone, with the label "none" (`data.backgrounds`).

What is drawn for a sample is a `View`, which depends on nothing but seed, epoch and index.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torchvision.transforms import v2

from lmpnet_cli.data.backgrounds import AREA, Corner, Placement
from lmpnet_cli.data.images import Rgb

PASTED = 0.6  # share of the inputs with an object that are pasted, where some are backgrounds


@dataclass(frozen=True)
class Look:
    """How an image is cut out, mirrored and recoloured, as torchvision's transforms draw it.

    Attributes:
        crop: top, left, height and width of what is cut out; None for the whole image.
        mirror: whether left and right are exchanged.
        jitter: the factors of brightness, contrast and saturation, and in which order (`fn_idx`) they change.
    """

    crop: dict[str, int] | None
    mirror: bool
    jitter: dict[str, Any]


class Augmentation:
    """Random crop, flip and colour jitter, with a square result."""

    def __init__(self, size: int, smallest_crop: float = 0.5, jitter: float = 0.3) -> None:
        """
        Args:
            size: side of the result in pixels.
            smallest_crop: smallest share of the image's area in a crop.
            jitter: largest relative change of brightness, contrast and saturation.
        """
        self.size = size
        self._crop = v2.RandomResizedCrop(size, scale=(smallest_crop, 1.0), antialias=True)
        self._mirror = v2.RandomHorizontalFlip()
        self._jitter = v2.ColorJitter(jitter, jitter, jitter)

    def crop(self, rgb: Rgb, seed: int) -> Tensor:
        """Return a random crop of an (h, w, 3) image, flipped and recoloured at random, (3, size, size) bytes."""
        return _transformed(v2.Compose([self._crop, self._mirror, self._jitter]), rgb, seed)

    def whole(self, rgb: Rgb, seed: int) -> Tensor:
        """Return the whole (size, size, 3) image, flipped and recoloured at random, (3, size, size) bytes."""
        return _transformed(v2.Compose([self._mirror, self._jitter]), rgb, seed)

    def look(self, shape: tuple[int, int] | None, seed: int) -> Look:
        """Return what `crop` draws for an image of this height and width, or `whole` for None."""
        with _seeded(seed):
            crop = None if shape is None else self._crop.make_params([torch.empty(3, *shape, device="meta")])
            mirror = bool(torch.rand(1) < self._mirror.p)
            return Look(crop, mirror, self._jitter.make_params([]))


def _transformed(transform: v2.Compose, rgb: Rgb, seed: int) -> Tensor:
    with _seeded(seed):
        result: Tensor = transform(torch.from_numpy(rgb.transpose(2, 0, 1).copy()))
    return result


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, from which torchvision draws, and restore it; only the CPU's is used."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@dataclass(frozen=True)
class View:
    """What one training input shows.

    Attributes:
        index: of the image with the object; None where the input is a background alone.
        under: index of the image whose corner is the background; None where the image is cropped instead.
        corner: of that image.
        placement: where the image is pasted onto the background.
        seed: of what `Augmentation` draws.
    """

    index: int | None
    under: int | None
    corner: Corner | None
    placement: Placement | None
    seed: int


def draw_view(
    key: tuple[int, int, int],
    count: int,
    shape_of: Callable[[int], tuple[int, int]],
    size: int,
    background: float,
    smallest: float | None = None,
) -> View:
    """Draw a training input.

    Args:
        key: seed, epoch and index of the image.
        count: number of images, one of which gives the background.
        shape_of: returns height and width of an image.
        size: side of the input in pixels.
        background: share of inputs that show a background without an object.
        smallest: smallest side of a pasted image, as a share of the input's side; None for the usual one.
    """
    random, index = np.random.default_rng(key), key[2]
    shown: int | None = index
    corner = placement = under = None

    if random.random() < background:
        shown, under = None, _other(random, count)
    elif background and random.random() < PASTED:
        under = index if random.random() < 0.5 else _other(random, count)

    if under is not None:
        corner = Corner.draw(*shape_of(under), size, random)
        if shown is not None:
            area = AREA if smallest is None else (smallest**2, AREA[1])
            placement = Placement.draw(*shape_of(index), size, random, area)
    return View(shown, under, corner, placement, int(random.integers(2**31)))


def _other(random: Generator, count: int) -> int:
    return int(random.integers(count))
