"""Backgrounds without an object, made from images with one, and images pasted onto them.

What is drawn at random (`Corner`, `Placement`) is apart from the drawing, so that a device can draw many at once
(`training.views`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from lmpnet_cli.data.images import Rgb

AREA = (0.2, 0.9)  # smallest and largest share of the background's area that a pasted image covers


@dataclass(frozen=True)
class Corner:
    """A corner of an image, where the object seldom is, which becomes a background.

    Attributes:
        left, top, width, height: of the corner, in pixels of the image.
        side: of the tile that it is enlarged to; mirrored tiles fill the background.
        x, y: where the background begins in the tiles.
    """

    left: int
    top: int
    width: int
    height: int
    side: int
    x: int
    y: int

    @classmethod
    def draw(cls, height: int, width: int, size: int, random: Generator) -> "Corner":
        """Draw a corner of an image of this height and width for a background of this size."""
        share = random.uniform(0.12, 0.3)
        patch_height, patch_width = max(1, round(height * share)), max(1, round(width * share))
        top = 0 if random.random() < 0.6 else height - patch_height  # feet and ground are at the bottom
        left = 0 if random.random() < 0.5 else width - patch_width

        side = max(8, round(size * random.uniform(0.25, 1.0)))
        y, x = random.integers(0, 2 * side * tiles(side, size) - size, size=2)
        return cls(left, top, patch_width, patch_height, side, int(x), int(y))


def tiles(side: int, size: int) -> int:
    """Return how many pairs of mirrored tiles are more than the size."""
    return -(-2 * size // (2 * side))


def corner_background(rgb: Rgb, size: int, random: Generator) -> Rgb:
    """Return a corner of an image, enlarged and mirrored to fill (size, size, 3)."""
    height, width = rgb.shape[:2]
    return draw_background(rgb, Corner.draw(height, width, size, random), size)


def draw_background(rgb: Rgb, corner: Corner, size: int) -> Rgb:
    """Return a corner of an image as a background, (size, size, 3)."""
    patch = rgb[corner.top : corner.top + corner.height, corner.left : corner.left + corner.width]
    tile = np.asarray(Image.fromarray(patch).resize((corner.side, corner.side), Image.Resampling.BICUBIC))

    # mirrored tiles meet without an edge
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    repeats = tiles(corner.side, size)
    canvas = np.tile(tile, (repeats, repeats, 1))
    return np.ascontiguousarray(canvas[corner.y : corner.y + size, corner.x : corner.x + size])


@dataclass(frozen=True)
class Placement:
    """Where an image is pasted onto a background: a rectangle, and the width of its soft edges, in pixels."""

    left: int
    top: int
    width: int
    height: int
    edge: float

    @classmethod
    def draw(
        cls, height: int, width: int, size: int, random: Generator, area: tuple[float, float] = AREA
    ) -> "Placement":
        """Draw where an image of this height and width is pasted onto a background of this size."""
        side = size * np.sqrt(random.uniform(*area))
        aspect = np.sqrt(width / height) * np.exp(random.uniform(-0.2, 0.2))
        height, width = (int(np.clip(length, 16, size)) for length in (side / aspect, side * aspect))
        top, left = (int(random.integers(0, size - length + 1)) for length in (height, width))
        return cls(left, top, width, height, max(2.0, min(height, width) * random.uniform(0.02, 0.12)))


def paste(
    rgb: Rgb, background: Rgb, random: Generator, area: tuple[float, float] = AREA
) -> tuple[Rgb, tuple[int, int, int, int]]:
    """Paste the whole image, scaled down and with soft edges, at a random position onto a square background.

    Args:
        area: smallest and largest share of the background's area that the image covers.

    Returns:
        The result, and where the image is on it: left, top, width, height in pixels.
    """
    height, width = rgb.shape[:2]
    placement = Placement.draw(height, width, background.shape[0], random, area)
    result = draw_pasted(rgb, background, placement)
    return result, (placement.left, placement.top, placement.width, placement.height)


def draw_pasted(rgb: Rgb, background: Rgb, placement: Placement) -> Rgb:
    """Return the background with the image pasted onto it."""
    width, height = placement.width, placement.height
    small = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0))

    # blend the edges
    alpha = np.minimum(_ramp(height, placement.edge)[:, None], _ramp(width, placement.edge))[..., None]
    result = background.astype(np.float32)
    window = result[placement.top : placement.top + height, placement.left : placement.left + width]
    window += alpha * (small - window)
    return result.round().astype(np.uint8)


def _ramp(length: int, edge: float) -> NDArray[np.float32]:
    """Return weights that rise from 0 to 1 over `edge` pixels at both ends."""
    steps = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(1, np.minimum(steps, steps[::-1]) / np.float32(edge))
