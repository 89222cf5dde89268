"""Change training images at random before the network sees them.

1. Random resized crop, flip and mild colour jitter, the common recipe (torchvision).
2. With `background`, which is not in the paper: some images are scaled down and pasted whole onto a background, and
   some inputs are a background alone, with the label "none" (`data.backgrounds`).

Every random number comes from the generator of one sample, so a sample depends neither on workers nor on batch order.
"""

import torch
from numpy.random import Generator
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
