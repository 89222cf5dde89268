"""What one phase trains and validates on, batch by batch: images, or stored maps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from torch import Tensor
from torch.utils.data import DataLoader, Subset

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.data.datasets import ClassData
from lmpnet_cli.io.runtime import resolve_workers
from lmpnet_cli.model.lmpnet import KeypointNetwork, NetworkSpec
from lmpnet_cli.training.dataset import EpochSampler, PlainSet, TrainingSet, in_order, loader
from lmpnet_cli.training.stored_maps import StoredViews, as_input, behind_frozen, stored_maps

Loader = DataLoader[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Batches:
    """Batches of one phase for one process.

    Attributes:
        network: what is trained: the whole network, or its layers behind the frozen ones.
        inputs: makes the input of `network` from a batch as it is loaded.
        sampler: the order of the training samples.
        training, validation: batches and their labels.
    """

    network: KeypointNetwork
    inputs: Callable[[Tensor], Tensor]
    sampler: EpochSampler
    training: Loader
    validation: Loader


def image_batches(
    config: TrainConfig,
    data: ClassData,
    network: KeypointNetwork,
    inputs: Callable[[Tensor], Tensor],
    *,
    replica: bool,
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
) -> Batches:
    """Return batches of images: augmented ones for training, plain ones for validation.

    Args:
        replica: whether they are for the replica, which sees other random crops.
        rank, world: number of this process, and number of processes.
        pin: copy training batches to pinned memory for a GPU.
    """
    samples, held_out, workers = data.of("train"), data.of("val"), resolve_workers(config.workers)

    training = TrainingSet(
        samples, data.classes, config.size, config.seed + replica, config.background, config.max_pixels
    )
    sampler = EpochSampler(len(samples), config.batch_size, config.seed, rank, world)

    validation = PlainSet(held_out, data.classes, config.size, config.max_pixels)
    own = Subset(validation, range(rank, len(held_out), world))
    return Batches(
        network,
        inputs,
        sampler,
        loader(training, sampler, workers, pin),
        in_order(own, config.batch_size, workers),
    )


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
    reading = in_order(images.training.dataset, images.sampler.batch, images.training.num_workers, keys)
    computed = ((compute(batch), labels) for batch, labels in chain(reading, images.validation))

    with stored_maps(out, computed) as stored:
        # the processes that load batches of images would only copy maps, so there are none
        training = loader(StoredViews(stored, count, views), images.sampler, 0, images.training.pin_memory)
        validation = in_order(Subset(stored, range(len(keys), len(stored))), images.sampler.batch, 0)
        yield Batches(behind_frozen(images.network, spec), as_input, images.sampler, training, validation)
