"""Training samples as tensors: decoding, augmentation and an order that depends on seed and epoch alone.

The sampler hands (epoch, index) to the workers, so a sample's random numbers depend on seed, epoch and index: not on
the number of workers or processes, and not on whether the run was interrupted.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lmpnet_cli.data.datasets import Sample
from lmpnet_cli.data.images import Rgb, read_image, to_input
from lmpnet_cli.data.listing import ListedImage, UnreadableImage
from lmpnet_cli.errors import InputError
from lmpnet_cli.io.runtime import resolve_workers
from lmpnet_cli.training.augmentation import Augmentation, corner_background, paste

Key = tuple[int, int]  # epoch, index


class TrainingSet(Dataset[tuple[Tensor, int]]):
    """Augmented samples; with `background`, pasted and empty ones among them. The label len(classes) means "none"."""

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        size: int,
        seed: int,
        background: float,
        max_pixels: int,
    ) -> None:
        self.samples = list(samples)
        self.labels = {name: index for index, name in enumerate(classes)}
        self.size, self.seed, self.background, self.max_pixels = size, seed, background, max_pixels
        self.augmentation = Augmentation(size)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        random = np.random.default_rng([self.seed, epoch, index])
        rgb, sample = self._readable(index)
        draw = random.random()
        if draw < self.background:
            empty = corner_background(self._other(random), self.size, random)
            return self.augmentation.whole(empty, random), len(self.labels)
        label = self.labels[sample.class_name]
        if self.background and random.random() < 0.6:
            under = rgb if random.random() < 0.5 else self._other(random)
            pasted = paste(rgb, corner_background(under, self.size, random), random)
            return self.augmentation.whole(pasted, random), label
        return self.augmentation.crop(rgb, random), label

    def _other(self, random: np.random.Generator) -> Rgb:
        return self._readable(int(random.integers(len(self.samples))))[0]

    def _readable(self, index: int) -> tuple[Rgb, Sample]:
        """The picture of that index, or of the next one that can be read, so that batches keep their size."""
        for step in range(len(self.samples)):
            sample = self.samples[(index + step) % len(self.samples)]
            try:
                return read_image(sample.path, self.max_pixels, at_least=2 * self.size).rgb, sample
            except UnreadableImage:
                continue
        raise InputError("None of the training images can be read.")


class PlainSet(Dataset[tuple[Tensor, int]]):
    """Samples without augmentation, the whole picture warped to the input, for validation."""

    def __init__(self, samples: Sequence[Sample], classes: Sequence[str], size: int, max_pixels: int) -> None:
        self.samples = list(samples)
        self.labels = {name: index for index, name in enumerate(classes)}
        self.size, self.max_pixels = size, max_pixels

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        sample = self.samples[index]
        try:
            rgb = to_input(read_image(sample.path, self.max_pixels, at_least=2 * self.size).rgb, self.size)
        except UnreadableImage:
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8), -1  # -1 counts for nothing
        return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))), self.labels[sample.class_name]


class EpochSampler(Sampler[list[Key]]):
    """Batches of (epoch, index) for one process; all processes together go through one global order.

    The last incomplete batch is left out. Fewer samples than a batch make one smaller batch.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.batch = max(world, min(batch_size * world, count))  # of all processes
        self.count, self.seed, self.rank, self.world = count, seed, rank, world
        self.epoch = 0

    def __len__(self) -> int:
        return self.count // self.batch

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        for start in range(0, len(self) * self.batch, self.batch):
            chosen = order[start : start + self.batch][self.rank :: self.world]
            yield [(self.epoch, int(index)) for index in chosen]


def loader(dataset: Dataset[Any], sampler: EpochSampler, workers: int, pin: bool) -> DataLoader[tuple[Tensor, Tensor]]:
    """Training batches."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # else the start of the workers would draw from the generator of the networks
    )


def unreadable(samples: Sequence[Sample], max_pixels: int) -> dict[Path, str]:
    """Files that cannot be decoded, with the reason: all are read once, JPEG files at an eighth of their size."""

    def reason(image: ListedImage) -> str | None:
        try:
            read_image(image.readable, max_pixels, at_least=32)
        except UnreadableImage as error:
            return str(error)
        return None

    files = list({sample.path: sample.listed for sample in samples}.values())
    with ThreadPoolExecutor(resolve_workers(None) + 1) as pool:
        return {file.path: why for file, why in zip(files, pool.map(reason, files), strict=True) if why is not None}
