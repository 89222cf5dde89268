"""Backgrounds without an object, made from images with one, and images pasted onto them."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from lmpnet_cli.data.images import Rgb


def corner_background(rgb: Rgb, size: int, random: Generator) -> Rgb:
    """Return a corner of an image, where the object seldom is, enlarged and mirrored to fill (size, size, 3)."""
    # cut a corner
    height, width = rgb.shape[:2]
    share = random.uniform(0.12, 0.3)
    patch_height, patch_width = max(1, round(height * share)), max(1, round(width * share))
    top = 0 if random.random() < 0.6 else height - patch_height  # feet and ground are at the bottom
    left = 0 if random.random() < 0.5 else width - patch_width
    patch = rgb[top : top + patch_height, left : left + patch_width]

    # tile it; mirrored tiles meet without an edge
    side = max(8, round(size * random.uniform(0.25, 1.0)))
    tile = np.asarray(Image.fromarray(patch).resize((side, side), Image.Resampling.BICUBIC))
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    repeats = -(-2 * size // tile.shape[0])
    canvas = np.tile(tile, (repeats, repeats, 1))

    y, x = random.integers(0, canvas.shape[0] - size, size=2)
    return np.ascontiguousarray(canvas[y : y + size, x : x + size])


def paste(
    rgb: Rgb, background: Rgb, random: Generator, area: tuple[float, float] = (0.2, 0.9)
) -> tuple[Rgb, tuple[int, int, int, int]]:
    """Paste the whole image, scaled down and with soft edges, at a random position onto a square background.

    Args:
        area: smallest and largest share of the background's area that the image covers.

    Returns:
        The result, and where the image is on it: left, top, width, height in pixels.
    """
    # size and position
    size = background.shape[0]
    side = size * np.sqrt(random.uniform(*area))
    aspect = np.sqrt(rgb.shape[1] / rgb.shape[0]) * np.exp(random.uniform(-0.2, 0.2))
    height, width = (int(np.clip(length, 16, size)) for length in (side / aspect, side * aspect))
    small = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0))
    top, left = (int(random.integers(0, size - length + 1)) for length in (height, width))

    # blend the edges
    edge = max(2.0, min(height, width) * random.uniform(0.02, 0.12))
    alpha = np.minimum(_ramp(height, edge)[:, None], _ramp(width, edge))[..., None]
    result = background.astype(np.float32)
    window = result[top : top + height, left : left + width]
    window += alpha * (small - window)
    return result.round().astype(np.uint8), (left, top, width, height)


def _ramp(length: int, edge: float) -> NDArray[np.float32]:
    """Return weights that rise from 0 to 1 over `edge` pixels at both ends."""
    steps = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(1, np.minimum(steps, steps[::-1]) / np.float32(edge))
