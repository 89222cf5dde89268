"""`lmpnet viz-filters`: the full-scale filter visualisation (LMPNet, section 3.3, figure 4).

Usual galleries show the best images of the best filters; this one shows the whole range. Each column is one filter, by
decreasing maximum activation; down a column images follow by decreasing activation, four neighbours in rank to a tile.
Filters and ranks are sampled evenly, so weak filters and weak images appear too.

1. A first pass over the images records every filter's strength on every image.
2. A second pass over the images that appear draws their maps on them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.bundled import bundled_examples
from lmpnet_cli.config import VisualizeConfig
from lmpnet_cli.errors import OptionError
from lmpnet_cli.images import ListedImage, list_images
from lmpnet_cli.inference import Engine
from lmpnet_cli.lmp.network import LMPNet, PairMaps
from lmpnet_cli.metrics import feature_map_entropy
from lmpnet_cli.progress import Progress
from lmpnet_cli.rendering import Rgb, fit, heat_overlay, save_png, tile_grid
from lmpnet_cli.runtime import prepare_output, seed_everything, write_json, write_run

RESULTS = ("filters.png", "filters.json", "run.json")
TILE = 4  # images to a tile, 2 x 2


@dataclass(frozen=True)
class FilterView:
    """One column: a filter and the images shown for it.

    Attributes:
        filter: its index among the maps.
        rank: its place by decreasing maximum activation, from 0.
        max_activation, entropy: over all images; the entropy is the mean in nats.
        tiles: for each row, the ranks, files and activations of its images.
    """

    filter: int
    rank: int
    max_activation: float
    entropy: float | None
    tiles: list[dict[str, list[Any]]]


@dataclass(frozen=True)
class VisualizeResult:
    """The grid and what it shows."""

    grid: Rgb
    filters: list[FilterView]
    images: int
    skipped: list[tuple[str, str]]
    out: Path | None
    seconds: float
    device: str


def visualize_filters(
    images: Any = None, *, model: LMPNet | None = None, progress: Progress | None = None, **options: Any
) -> VisualizeResult:
    """Draws the full-scale filter visualisation.

    Args:
        images: folders and files; None takes the bundled example pictures.
        model: a loaded model, in place of a checkpoint.
        **options: the fields of `VisualizeConfig`; without `out` nothing is written.

    Raises:
        LmpnetError: when there is nothing to read, an option is out of range, or `out` cannot be used.
    """
    config = VisualizeConfig(images=images, **options)
    progress = progress or Progress()
    if config.out:
        prepare_output(config.out, RESULTS, config.overwrite)
    files = list_images(config.images or (bundled_examples() / "images",))
    seed_everything(config.seed)
    engine = Engine(config, model)
    if config.replica and engine.model.replica is None:
        raise OptionError("This checkpoint holds no replica. Leave --replica out.")
    started = time.perf_counter()
    strengths, entropy, readable = _measure(engine, files, config.replica, progress)
    skipped = engine.skipped
    columns = _columns(config, strengths, entropy, [files[index].name for index in readable])
    tiles = _draw_tiles(engine, config, [files[index] for index in readable], columns, progress)
    grid = _draw_grid(config, columns, tiles)
    result = VisualizeResult(
        grid, columns, len(readable), skipped, config.out, time.perf_counter() - started, str(engine.device)
    )
    if config.out:
        _write(config, engine, result)
    return result


def _measure(
    engine: Engine, files: Sequence[ListedImage], replica: bool, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.float64], list[int]]:
    """Strength (N, C) of every filter on every readable image, mean entropy (C,), and those images."""
    progress.start("strength of every filter", len(files))
    strengths: list[NDArray[np.float32]] = []
    entropy_sum, entropy_count = np.zeros(1), np.zeros(1)  # over images, for each filter
    readable: list[int] = []
    for pictures, pair in engine.batches(files, progress):
        readable += [picture.index for picture in pictures]
        maps = _of(pair, replica)
        strengths.append(maps.amax((2, 3)).cpu().numpy())
        entropy = feature_map_entropy(maps).cpu().double().numpy()
        entropy_sum = entropy_sum + np.nansum(entropy, axis=0)
        entropy_count = entropy_count + (~np.isnan(entropy)).sum(0)
    mean = np.where(entropy_count > 0, entropy_sum / np.maximum(entropy_count, 1), np.nan)
    return np.concatenate(strengths), mean, readable


def _of(pair: PairMaps, replica: bool) -> Tensor:
    maps = pair.replica_maps if replica else pair.maps
    assert maps is not None  # checked before the work began
    return maps.float()


def evenly(count: int, wanted: int) -> list[int]:
    """So many indices out of `count`, evenly spaced, first and last included.

    >>> evenly(10, 4)
    [0, 3, 6, 9]
    """
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, wanted)).tolist()})


def _columns(
    config: VisualizeConfig, strengths: NDArray[np.float32], entropy: NDArray[np.float64], names: Sequence[str]
) -> list[FilterView]:
    order = np.argsort(-strengths.max(0), kind="stable")
    images = len(strengths)
    starts = evenly(max(1, images - TILE + 1), config.rows)
    views = []
    for rank in evenly(len(order), config.columns):
        index = int(order[rank])
        by_rank = np.argsort(-strengths[:, index], kind="stable")
        tiles: list[dict[str, list[Any]]] = []
        for start in starts:
            ranks = list(range(start, min(start + TILE, images)))
            chosen = [int(by_rank[each]) for each in ranks]
            activations = [round(float(strengths[each, index]), 4) for each in chosen]
            tiles.append(
                {"ranks": ranks, "images": chosen, "files": [names[i] for i in chosen], "activations": activations}
            )
        mean = None if np.isnan(entropy[index]) else round(float(entropy[index]), 4)
        views.append(FilterView(index, rank, round(float(strengths[:, index].max()), 4), mean, tiles))
    return views


def _draw_tiles(
    engine: Engine,
    config: VisualizeConfig,
    files: Sequence[ListedImage],
    columns: Sequence[FilterView],
    progress: Progress,
) -> dict[tuple[int, int], Rgb]:
    """(filter, image) -> the picture with that filter's map on it."""
    shown: dict[int, list[FilterView]] = {}
    for view in columns:
        for tile in view.tiles:
            for image in tile["images"]:
                shown.setdefault(image, []).append(view)
    wanted = sorted(shown)
    progress.start("draw", len(wanted))
    drawn = {}
    for pictures, pair in engine.batches([files[image] for image in wanted], progress, preview=2 * config.tile):
        for picture, own in zip(pictures, _of(pair, config.replica), strict=True):
            image = wanted[picture.index]
            assert picture.preview is not None
            for view in shown[image]:
                heat = own[view.filter].cpu().numpy()
                drawn[view.filter, image] = fit(heat_overlay(picture.preview, heat, view.max_activation), config.tile)
    return drawn


def _draw_grid(config: VisualizeConfig, columns: Sequence[FilterView], tiles: dict[tuple[int, int], Rgb]) -> Rgb:
    titles = [(f"filter {view.filter}", f"#{view.rank + 1}, max {view.max_activation:.3g}") for view in columns]
    ranks = [str(tile["ranks"][0] + 1) for tile in columns[0].tiles]
    blank = np.full((config.tile, config.tile, 3), 255, np.uint8)  # a file that has gone since the first pass
    pictures = [
        [[tiles.get((view.filter, image), blank) for image in tile["images"]] for tile in view.tiles]
        for view in columns
    ]
    return tile_grid(titles, ranks, pictures, config.tile)


def _write(config: VisualizeConfig, engine: Engine, result: VisualizeResult) -> None:
    assert config.out is not None
    save_png(config.out / "filters.png", result.grid)
    filters = [
        {
            "filter": view.filter,
            "rank": view.rank + 1,
            "max_activation": view.max_activation,
            "entropy": view.entropy,
            "tiles": [
                {
                    "ranks": [rank + 1 for rank in tile["ranks"]],
                    "files": tile["files"],
                    "activations": tile["activations"],
                }
                for tile in view.tiles
            ],
        }
        for view in result.filters
    ]
    network = "replica" if config.replica else "network"
    skipped = [{"file_name": name, "reason": reason} for name, reason in result.skipped]
    write_json(
        config.out / "filters.json",
        {
            "checkpoint": engine.checkpoint_record(),
            "network": network,
            "images": result.images,
            "filters": filters,
            "skipped": skipped,
        },
    )
    write_run(
        config.out,
        "viz-filters",
        config.options(),
        result.seconds,
        images=result.images,
        skipped=skipped,
        device=result.device,
        checkpoint=engine.checkpoint_record(),
    )
