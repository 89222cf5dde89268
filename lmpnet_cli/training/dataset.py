"""Training samples as tensors: decoding, augmentation, and an order that depends on seed and epoch only.

The sampler passes (epoch, index) to the workers, so a sample's random numbers depend on seed, epoch and index, and
neither on the number of workers and processes nor on interruptions.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lmpnet_cli.data.backgrounds import draw_background, draw_pasted
from lmpnet_cli.data.datasets import Sample
from lmpnet_cli.data.images import Rgb, read_image, to_input
from lmpnet_cli.data.listing import ListedImage, UnreadableImage
from lmpnet_cli.errors import InputError
from lmpnet_cli.io.runtime import resolve_workers
from lmpnet_cli.training.augmentation import Augmentation, View, draw_view

Key = tuple[int, int]  # epoch, index


class TrainingSet(Dataset[tuple[Tensor, int]]):
    """Augmented samples. With `background` some are pasted or empty; the label len(classes) means "none"."""

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        size: int,
        seed: int,
        background: float,
        max_pixels: int,
        smallest: float | None = None,
    ) -> None:
        """
        Args:
            size: side of the square input in pixels.
            background: share of inputs that show a background without an object.
            max_pixels: larger images are not decoded.
            smallest: smallest side of a pasted image, as a share of the input's side; None for the usual one.
        """
        self.samples = list(samples)
        self.labels = {name: index for index, name in enumerate(classes)}
        self.size, self.seed, self.background, self.max_pixels = size, seed, background, max_pixels
        self.smallest = smallest
        self.augmentation = Augmentation(size)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        read = cache(self.readable)

        def shape_of(index: int) -> tuple[int, int]:
            height, width = read(index)[0].shape[:2]
            return height, width

        view = self.view(key, shape_of)
        rgb, label = (None, len(self.labels)) if view.index is None else read(view.index)
        if view.under is None or view.corner is None:
            assert rgb is not None  # an input without an object has a background
            return self.augmentation.crop(rgb, view.seed), label

        canvas = draw_background(read(view.under)[0], view.corner, self.size)
        if rgb is not None and view.placement is not None:
            canvas = draw_pasted(rgb, canvas, view.placement)
        return self.augmentation.whole(canvas, view.seed), label

    def view(self, key: Key, shape_of: Callable[[int], tuple[int, int]]) -> View:
        """Draw what a training input shows.

        Args:
            shape_of: returns height and width of an image.
        """
        return draw_view((self.seed, *key), len(self), shape_of, self.size, self.background, self.smallest)

    def readable(self, index: int) -> tuple[Rgb, int]:
        """Return the image with this index and its label, or the next readable one, so that batches keep their size."""
        for step in range(len(self.samples)):
            sample = self.samples[(index + step) % len(self.samples)]
            try:
                rgb = read_image(sample.path, self.max_pixels, at_least=2 * self.size).rgb
            except UnreadableImage:
                continue
            return rgb, self.labels[sample.class_name]
        raise InputError("None of the training images can be read. Check the files and their permissions.")


class PlainSet(Dataset[tuple[Tensor, int]]):
    """Samples for validation: the whole image resized to the input, without augmentation."""

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
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8), -1  # ignored in the validation
        return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))), self.labels[sample.class_name]


class EpochSampler(Sampler[list[Key]]):
    """Batches of (epoch, index) for one process; all processes together follow one global order.

    The last incomplete batch is dropped. Fewer samples than a batch make one smaller batch.

    Attributes:
        batch: images per step, in all processes together.
        epoch: the current epoch; set it before iterating.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        """
        Args:
            count: number of samples.
            batch_size: images per step in each process.
            rank, world: number of this process, and number of processes.
        """
        self.batch = max(world, min(batch_size * world, count))
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
    """Return a loader of training batches; `pin` copies them to pinned memory for a GPU."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # otherwise starting the workers would draw from torch's global generator
    )


def in_order(
    dataset: Dataset[Any], batch_size: int, workers: int, keys: Sequence[Any] | None = None
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader of all samples in order, or of those with these keys."""
    return DataLoader(dataset, batch_size, sampler=keys, num_workers=workers)


def unreadable(samples: Sequence[Sample], max_pixels: int) -> tuple[dict[Path, str], dict[str, list[Path]]]:
    """Return the files that cannot be decoded, with the reason, and the notes on others, each with its files.

    All are read once, JPEG files at an eighth of their size.
    """

    def look(image: ListedImage) -> str | tuple[str, ...]:
        """Return the reason why an image cannot be read, or the notes on it."""
        try:
            return read_image(image.readable, max_pixels, at_least=32).notes
        except UnreadableImage as error:
            return str(error)

    files = list({sample.path: sample.listed for sample in samples}.values())
    with ThreadPoolExecutor(resolve_workers(None) + 1) as pool:
        looks = list(pool.map(look, files))

    noted: dict[str, list[Path]] = {}
    for file, seen in zip(files, looks, strict=True):
        for note in seen if isinstance(seen, tuple) else ():
            noted.setdefault(note, []).append(file.path)
    return {file.path: seen for file, seen in zip(files, looks, strict=True) if isinstance(seen, str)}, noted
