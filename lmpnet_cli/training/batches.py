"""What one phase trains and validates on, batch by batch: images, from files or on the device, or stored maps."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.data.datasets import ClassData
from lmpnet_cli.errors import OptionError
from lmpnet_cli.io.runtime import free_memory, resolve_workers
from lmpnet_cli.model.lmpnet import KeypointNetwork, NetworkSpec
from lmpnet_cli.training.dataset import EpochSampler, PlainSet, TrainingSet, in_order, loader
from lmpnet_cli.training.preloaded import PreloadedBatches, StoredImages
from lmpnet_cli.training.stored_maps import StoredViews, as_input, behind_frozen, stored_maps

Loader = DataLoader[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Batches:
    """Batches of one phase for one process.

    Attributes:
        network: what is trained: the whole network, or its layers behind the frozen ones.
        inputs: makes the input of `network` from a batch as it is loaded.
        sampler: the order of the training samples.
        training, validation: batches and their labels, each iterated once an epoch.
    """

    network: KeypointNetwork
    inputs: Callable[[Tensor], Tensor]
    sampler: EpochSampler
    training: Loader | PreloadedBatches
    validation: Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Preloaded:
    """The images of a training on the device, for both phases.

    Attributes:
        training: the training images.
        validation: batches of validation images, and their labels.
    """

    training: StoredImages
    validation: list[tuple[Tensor, Tensor]]


def preload(config: TrainConfig, data: ClassData, device: torch.device, rank: int, world: int) -> Preloaded:
    """Decode all images onto the device.

    Raises:
        OptionError: if it has too little memory.
    """
    needed = StoredImages.bytes_for(len(data.of("train")), config.size)
    free = free_memory(device)
    if free is not None and needed > free:
        raise OptionError(
            f"--preload needs {needed / 1e9:.1f} GB for the images, and {free / 1e9:.1f} GB are free. Remove it."
        )

    workers = resolve_workers(config.workers)
    training = StoredImages.load(training_set(config, data, replica=False), device, workers)
    held_out = validation_batches(config, data, workers, rank, world)
    return Preloaded(training, [(images.to(device), labels.to(device)) for images, labels in held_out])


def training_set(config: TrainConfig, data: ClassData, replica: bool) -> TrainingSet:
    """Return the training images; those for the replica are cropped in another way."""
    return TrainingSet(
        data.of("train"),
        data.classes,
        config.size,
        config.seed + replica,
        config.background,
        config.max_pixels,
        config.paste_smallest,
    )


def validation_batches(config: TrainConfig, data: ClassData, workers: int, rank: int, world: int) -> Loader:
    """Return batches of the validation images of one process, without augmentation."""
    held_out = data.of("val")
    validation = PlainSet(held_out, data.classes, config.size, config.max_pixels)
    own = Subset(validation, range(rank, len(held_out), world))
    return in_order(own, config.batch_size, workers)


def image_batches(
    config: TrainConfig,
    data: ClassData,
    network: KeypointNetwork,
    inputs: Callable[[Tensor], Tensor],
    *,
    replica: bool,
    device: torch.device,
    rank: int = 0,
    world: int = 1,
    preloaded: Preloaded | None = None,
) -> Batches:
    """Return batches of images: augmented ones for training, plain ones for validation.

    Args:
        replica: whether they are for the replica, which sees other random crops.
        device: where the network is trained.
        rank, world: number of this process, and number of processes.
        preloaded: the images, where they are on the device already.
    """
    training = training_set(config, data, replica)
    sampler = EpochSampler(len(training), config.batch_size, config.seed, rank, world)
    if preloaded is not None:
        batches = PreloadedBatches(preloaded.training, training, sampler)
        return Batches(network, inputs, sampler, batches, preloaded.validation)

    workers = resolve_workers(config.workers, device)
    batches_of_images = loader(training, sampler, workers, pin=device.type == "cuda")
    return Batches(network, inputs, sampler, batches_of_images, validation_batches(config, data, workers, rank, world))


@contextmanager
def map_batches(
    images: Batches, spec: NetworkSpec, out: Path, views: int, compute: Callable[[Tensor], Tensor]
) -> Iterator[Batches]:
    """Store the frozen maps of these images in `out`, and return batches of them; the maps are deleted at the end.

    Args:
        views: number of augmented views of each training image.
        compute: returns the frozen maps of a batch as it is loaded.
    """
    count = images.sampler.count
    keys = [(view, index) for view in range(views) for index in range(count)]
    assert isinstance(images.training, DataLoader)  # the options exclude both --preload and --stored-maps
    reading = in_order(images.training.dataset, images.sampler.batch, images.training.num_workers, keys)
    computed = ((compute(batch), labels) for batch, labels in chain(reading, images.validation))

    with stored_maps(out, computed) as stored:
        # the processes that load batches of images would only copy maps, so there are none
        training = loader(StoredViews(stored, count, views), images.sampler, 0, images.training.pin_memory)
        validation = in_order(Subset(stored, range(len(keys), len(stored))), images.sampler.batch, 0)
        yield Batches(behind_frozen(images.network, spec), as_input, images.sampler, training, validation)
