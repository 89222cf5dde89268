"""Compute the maps of the frozen layers once and read them in every epoch (`--stored-maps`, not in the paper).

Frozen layers keep their weights and their batch norm statistics, so they give the same maps whenever they see the same
image. View v of an image is what the training set gives in epoch v, and epoch e trains on view e mod N. With as many
views as epochs the training is the usual one, up to the rounding to float16.

The maps are in one file in the output folder, mapped into memory: the system keeps in memory what there is room for.
"""

import math
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lmpnet_cli.errors import OutputError, TrainingError
from lmpnet_cli.io.files import TEMPORARY_PREFIX
from lmpnet_cli.model.backbone import TrainedPart
from lmpnet_cli.model.lmpnet import KeypointNetwork, NetworkSpec
from lmpnet_cli.training.dataset import Key

FILE = f"{TEMPORARY_PREFIX}maps"  # if a run is killed, the next one in the folder deletes its file


class StoredMaps(Dataset[tuple[Tensor, int]]):
    """Maps with their labels, by row."""

    def __init__(self, maps: NDArray[np.float16], labels: list[int]) -> None:
        self.maps, self.labels = maps, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return torch.from_numpy(np.array(self.maps[row])), self.labels[row]


class StoredViews(Dataset[tuple[Tensor, int]]):
    """The first rows of stored maps, by (epoch, index): all images of view 0, then all of view 1, and so on."""

    def __init__(self, stored: StoredMaps, images: int, views: int) -> None:
        self.stored, self.images, self.views = stored, images, views

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        return self.stored[epoch % self.views * self.images + index]


def refuse_without_space(out: Path, rows: int, shape: Iterable[int]) -> None:
    """Check that the disk has room for the file.

    Args:
        rows: number of maps.
        shape: of one of them.

    Raises:
        OutputError: if there is too little space.
    """
    needed, free = 2 * rows * math.prod(shape), shutil.disk_usage(out).free
    if needed > free:
        raise OutputError(
            f"--stored-maps needs {needed / 1e9:.1f} GB in {out}, and {free / 1e9:.1f} GB are free. Store fewer views, "
            "or choose an --out on another disk."
        )


@contextmanager
def stored_maps(out: Path, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[StoredMaps]:
    """Write maps to a file in `out`, and delete it at the end, also after an error.

    Args:
        batches: (B, ...) maps and (B,) labels.

    Raises:
        OutputError: if the file cannot be written.
        TrainingError: if a map does not fit in float16.
    """
    path = out / FILE
    try:
        shape, labels = _write(path, batches)
        yield StoredMaps(np.memmap(path, np.float16, "r", shape=(len(labels), *shape)), labels)
    finally:
        path.unlink(missing_ok=True)


def _write(path: Path, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[tuple[int, ...], list[int]]:
    """Write the maps and return the shape of one of them, and all labels."""
    shape: tuple[int, ...] = ()
    all_labels: list[int] = []
    try:
        with path.open("wb") as file:  # on a full disk a write fails with an error; a write to mapped memory kills
            for maps, labels in batches:
                halved = maps.half().cpu()
                if not halved.isfinite().all():
                    raise TrainingError("The maps of the frozen layers do not fit in float16; remove --stored-maps.")
                file.write(halved.contiguous().numpy().data)
                shape = tuple(halved.shape[1:])
                all_labels += labels.tolist()
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}. Choose another --out.") from error
    return shape, all_labels


def behind_frozen(network: KeypointNetwork, spec: NetworkSpec) -> KeypointNetwork:
    """Return a network that takes frozen maps in place of images and shares all its layers with `network`."""
    behind = KeypointNetwork(TrainedPart(network.backbone), spec)
    behind.classifier = network.classifier
    return behind


def as_input(maps: Tensor) -> Tensor:
    """Return a batch of stored maps as the layers behind them take it."""
    return maps.float().contiguous(memory_format=torch.channels_last)
