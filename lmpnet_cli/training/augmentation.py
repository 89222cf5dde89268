"""Change training images at random before the network sees them.

1. Random resized crop, flip and mild colour jitter, the common recipe (torchvision).
2. With `background`, which is not in the paper: some images are scaled down and pasted whole onto a background, and
   some inputs are a background alone, with the label "none". Backgrounds are enlarged corners of training images.

Every random number comes from the generator of one sample, so a sample depends neither on workers nor on batch order.
"""

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from lmpnet_cli.data.images import Rgb


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
        self._look = v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(jitter, jitter, jitter)])

    def crop(self, rgb: Rgb, random: Generator) -> Tensor:
        """Return a random crop of an (h, w, 3) image, flipped and recoloured at random, (3, size, size) bytes."""
        return self._seeded(v2.Compose([self._crop, self._look]), rgb, random)

    def whole(self, rgb: Rgb, random: Generator) -> Tensor:
        """Return the whole (size, size, 3) image, flipped and recoloured at random, (3, size, size) bytes."""
        return self._seeded(self._look, rgb, random)

    def _seeded(self, transform: v2.Compose, rgb: Rgb, random: Generator) -> Tensor:
        # torchvision draws from torch's global generator; only the CPU's is used
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(random.integers(2**31)))
            result: Tensor = transform(torch.from_numpy(rgb.transpose(2, 0, 1).copy()))
        return result


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


def paste(rgb: Rgb, background: Rgb, random: Generator, area: tuple[float, float] = (0.2, 0.9)) -> Rgb:
    """Return the whole image, scaled down and with soft edges, at a random position on a square background.

    Args:
        area: smallest and largest share of the background's area that the image covers.
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
    return result.round().astype(np.uint8)


def _ramp(length: int, edge: float) -> NDArray[np.float32]:
    """Return weights that rise from 0 to 1 over `edge` pixels at both ends."""
    steps = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(1, np.minimum(steps, steps[::-1]) / np.float32(edge))
