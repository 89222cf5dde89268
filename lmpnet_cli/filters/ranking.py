"""Which filters and images the full-scale visualisation shows (LMPNet, section 3.2, figure 4).

One pass over the images records every filter's strength, the maximum of its map, on every image. The table is a
temporary file, so memory does not grow with the number of images.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.data.images import evenly
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.errors import OptionError
from lmpnet_cli.filters.votes import FilterVotes
from lmpnet_cli.inference.runner import ModelRunner
from lmpnet_cli.model.entropy import feature_map_entropy
from lmpnet_cli.model.lmpnet import LMPNetOutput
from lmpnet_cli.progress import Progress

TILE = 4  # images to a tile, 2 x 2


@dataclass(frozen=True)
class FilterView:
    """One filter and the images shown for it.

    Attributes:
        filter: its index among the maps.
        rank: by decreasing maximum activation, from 0.
        max_activation, entropy: over all images; the entropy is the mean in nats.
        tiles: for each row, the ranks, files and activations of its images.
        classes: predicted classes of the tenth of the images where it responds most strongly, with their shares.
        votes: keypoints it votes for, with their shares; None where the maps are not those that vote.
    """

    filter: int
    rank: int
    max_activation: float
    entropy: float | None
    tiles: list[dict[str, list[Any]]]
    classes: list[tuple[str, float]]
    votes: list[tuple[str, float]] | None


class LayerMaps:
    """The maps of one layer of the network, or of its replica, over images."""

    def __init__(self, runner: ModelRunner, replica: bool, layer: str | None) -> None:
        """
        Args:
            layer: one of the network's layers before its last; None takes the maps that make the keypoints.

        Raises:
            OptionError: when the checkpoint has no replica, or the network has no such layer.
        """
        self.runner, self.replica, self.layer = runner, replica, layer
        network = runner.model.replica if replica else runner.model.network
        if network is None:
            raise OptionError("This checkpoint has no replica; remove --replica.")

        backbone = network.backbone.network
        modules = dict(backbone.named_children())
        if layer is not None and layer not in modules:
            raise OptionError(f"The network has no layer {layer!r}. It has {', '.join(modules)}.")
        self._module = None if layer is None else modules[layer]
        self._channels_last = str(getattr(backbone, "output_fmt", "")).endswith("NHWC")  # Swin

    def batches(
        self, files: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], Tensor, LMPNetOutput]]:
        """Yield readable images with their (B, C, H, W) maps, none negative, and the output of the networks."""
        with self._recording() as recorded:
            for loaded, output in self.runner.batches(files, progress, preview):
                maps = output.replica_maps if self.replica else output.maps
                if self._module is not None:
                    maps = self._of_layer(recorded, len(loaded))
                assert maps is not None  # __init__ has checked that there is a replica
                yield loaded, maps.float().relu(), output

    def _of_layer(self, recorded: list[Tensor], count: int) -> Tensor:
        """Return the maps of the last `count` images: several pieces, where memory did not suffice for the batch."""
        if not recorded or recorded[-1].ndim != 4:
            raise OptionError(f"Layer {self.layer!r} of this network has no maps to show; pass another.")

        pieces: list[Tensor] = []
        while recorded and sum(map(len, pieces)) < count:
            pieces.insert(0, recorded.pop())
        recorded.clear()  # of a piece that ran out of memory in a later layer
        maps = torch.cat(pieces)
        return maps.permute(0, 3, 1, 2) if self._channels_last else maps

    @contextmanager
    def _recording(self) -> Iterator[list[Tensor]]:
        recorded: list[Tensor] = []
        if self._module is None:
            yield recorded
            return

        def record(_module: object, _inputs: object, output: Tensor) -> None:
            recorded.append(output)

        handle = self._module.register_forward_hook(record)
        try:
            yield recorded
        finally:
            handle.remove()


@dataclass(frozen=True)
class Ranking:
    """The strengths of all filters on all readable images.

    Attributes:
        strengths: (N, C), on disk.
        entropy: (C,) mean over images in nats; NaN for a filter whose maps are all zero.
        mean_entropy: over all maps that are not zero, as in `eval`; NaN without any.
        readable: (N,) indices of the images in the list that was measured.
        labels: (N,) names of the predicted classes.
        votes: of the filters, for keypoints; None where the maps are not those that vote.
    """

    strengths: NDArray[np.float32]
    entropy: NDArray[np.float64]
    mean_entropy: float
    readable: list[int]
    labels: list[str]
    votes: FilterVotes | None


@contextmanager
def ranking(
    source: LayerMaps, files: Sequence[ListedImage], progress: Progress, votes: FilterVotes | None
) -> Iterator[Ranking]:
    """Make the first pass; the table of strengths exists until the context ends."""
    progress.start("strength of every filter", len(files))
    entropy_sum, entropy_count = np.zeros(1), np.zeros(1)  # over images, for each filter
    readable: list[int] = []
    labels: list[str] = []
    model = source.runner.model

    with tempfile.TemporaryFile() as table:
        for loaded, maps, output in source.batches(files, progress):
            readable += [each.index for each in loaded]
            labels += [model.spec.classes[index] for index in model.classes(output)[0].tolist()]
            if votes is not None:
                votes.add(output)

            strengths = maps.amax((2, 3)).cpu().numpy()
            table.write(strengths.tobytes())
            entropy = feature_map_entropy(maps).cpu().double().numpy()
            entropy_sum = entropy_sum + np.nansum(entropy, axis=0)
            entropy_count = entropy_count + (~np.isnan(entropy)).sum(0)

        table.flush()
        whole = np.memmap(table, np.float32, "r", shape=(len(readable), strengths.shape[1]))
        mean = np.where(entropy_count > 0, entropy_sum / np.maximum(entropy_count, 1), np.nan)
        live = entropy_count.sum()
        overall = float(entropy_sum.sum() / live) if live else float("nan")
        yield Ranking(whole, mean, overall, readable, labels, votes)


def significant(value: float) -> float:
    """Round to five significant digits, so that weak filters keep theirs."""
    return float(f"{value:.5g}")


def choose(found: Ranking, names: Sequence[str], filters: int, tiles: int) -> list[FilterView]:
    """Sample filters evenly by decreasing maximum activation, each with images evenly sampled by rank.

    Args:
        names: of the readable images.
        filters: number of filters.
        tiles: number of tiles for each, from the first to the last rank; 1 shows the strongest images alone.
    """
    order = np.argsort(-found.strengths.max(0), kind="stable")
    starts = evenly(max(1, len(found.strengths) - TILE + 1), tiles)
    return [_view(found, names, int(order[rank]), rank, starts) for rank in evenly(len(order), filters)]


def _view(found: Ranking, names: Sequence[str], index: int, rank: int, starts: Sequence[int]) -> FilterView:
    """Describe one filter; each tile begins at one of the ranks in `starts`."""
    images = len(found.strengths)
    column = np.array(found.strengths[:, index])
    by_rank = np.argsort(-column, kind="stable")

    rows: list[dict[str, list[Any]]] = []
    for start in starts:
        ranks = list(range(start, min(start + TILE, images)))
        chosen = [int(by_rank[each]) for each in ranks]
        activations = [significant(column[each]) for each in chosen]
        rows.append({"ranks": ranks, "images": chosen, "files": [names[i] for i in chosen], "activations": activations})

    entropy = None if np.isnan(found.entropy[index]) else round(float(found.entropy[index]), 4)
    strongest = Counter(found.labels[image] for image in by_rank[: max(1, images // 10)] if column[image] > 0)
    classes = [(name, round(count / strongest.total(), 4)) for name, count in strongest.most_common()]
    votes = None if found.votes is None else found.votes.shares(index)
    return FilterView(index, rank, float(column.max()), entropy, rows, classes, votes)
