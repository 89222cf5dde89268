"""`lmpnet viz-filters`: the full-scale filter visualisation (LMPNet, section 3.2, figure 4).

Usual galleries show the best images of the best filters; this one shows the whole range. Each column is one filter, by
decreasing maximum activation; down a column, images follow by decreasing activation, four neighbours in rank per tile.
Filters and ranks are sampled evenly, so weak filters and weak images appear too.

1. A first pass over the images records every filter's strength on every image (`filter_ranking.py`).
2. A second pass over the images that appear draws their maps on them.
3. `compare` does both for further checkpoints and stacks galleries of their filters (figure 5).
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmpnet_cli.config import Paths, VisualizeConfig, as_paths, takes_options
from lmpnet_cli.data.images import Rgb
from lmpnet_cli.data.listing import ListedImage, list_images
from lmpnet_cli.data.loader import OVERLAY_SIDE, LoadedImage
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.drawing.grids import gallery, stack, tile_grid
from lmpnet_cli.drawing.heatmaps import heat_overlay, muted
from lmpnet_cli.drawing.overlays import fit
from lmpnet_cli.export.report.report import update_report
from lmpnet_cli.filters.ranking import FilterView, LayerMaps, Ranking, choose, ranking, significant
from lmpnet_cli.filters.votes import FilterVotes
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

RESULTS = ("filters.png", "filters.json", "comparison.png", "run.json", "report.html")


@dataclass(frozen=True)
class Gallery:
    """One checkpoint of a comparison: filters evenly sampled, each on the images with its strongest activations.

    Attributes:
        entropy: mean over filters and images in nats.
    """

    checkpoint: dict[str, Any]
    pooling: str
    entropy: float
    filters: list[FilterView]
    drawing: Rgb


@dataclass(frozen=True)
class VisualizeResult:
    """The grid and what it shows.

    Attributes:
        comparison: one gallery for each checkpoint, the first among them; empty without `compare`.
    """

    grid: Rgb
    filters: list[FilterView]
    images: int
    skipped: list[tuple[str, str]]
    comparison: list[Gallery]
    out: Path | None
    seconds: float
    device: str


@takes_options(VisualizeConfig)
def visualize_filters(
    images: Paths | None = None,
    *,
    model: LMPNet | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> VisualizeResult:
    """Draw the full-scale filter visualisation.

    Args:
        images: folders and files, one or several; None takes the bundled example images.
        model: a loaded model, in place of a checkpoint.
        **options: listed below; without `out` nothing is written.

    Raises:
        LmpnetError: when there is nothing to read, an option is out of range, or `out` cannot be used.
    """
    config = VisualizeConfig(images=None if images is None else as_paths(images), **options)
    progress = progress or Progress()
    with lock_output(config.out, RESULTS, config.overwrite):
        return _visualize(config, model, progress)


def _visualize(config: VisualizeConfig, model: LMPNet | None, progress: Progress) -> VisualizeResult:
    files = list_images(config.images or (bundled_examples() / "images",), config.follow_links, progress=progress)
    started = time.perf_counter()
    objects = int(config.objects == "one")
    runners = [open_runner(config, model, config.replica, objects=objects)]
    runners += [
        open_runner(replace(config, checkpoint=path), replica=config.replica, objects=objects)
        for path in config.compare
    ]
    sources = [LayerMaps(runner, config.replica, config.layer) for runner in runners]

    galleries = []
    with ranking(sources[0], files, progress, _votes(sources[0])) as found:
        skipped = runners[0].skipped
        readable = [files[index] for index in found.readable]
        views = choose(found, [file.name for file in readable], config.columns, config.rows)
        if config.compare:
            galleries.append(_gallery(sources[0], config, found, readable, progress))
    grid = _grid(config, views, _draw(sources[0], config, readable, views, progress))

    for source in sources[1:]:
        with ranking(source, readable, progress, _votes(source)) as found:
            own = [readable[index] for index in found.readable]
            galleries.append(_gallery(source, config, found, own, progress))

    seconds = time.perf_counter() - started
    device = str(runners[0].device)
    result = VisualizeResult(grid, views, len(readable), skipped, galleries, config.out, seconds, device)
    if config.out:
        _write(config, runners[0], result)
        update_report(config.out, config.report, progress)
    return result


def _votes(source: LayerMaps) -> FilterVotes | None:
    """Count votes as `discover` does by default, where the maps are those that make the keypoints."""
    if source.layer is not None:
        return None

    return FilterVotes(source.runner.model, source.replica, reading=source.runner.reading)


Drawn = dict[tuple[int, int], Rgb]  # (filter, image) -> the image with that filter's map on it


def _draw(
    source: LayerMaps,
    config: VisualizeConfig,
    files: Sequence[ListedImage],
    views: Sequence[FilterView],
    progress: Progress,
) -> Drawn:
    shown: dict[int, list[FilterView]] = {}
    for view in views:
        for tile in view.tiles:
            for image in tile["images"]:
                shown.setdefault(image, []).append(view)

    wanted = sorted(shown)
    progress.start("draw", len(wanted))
    drawn = {}
    preview = 2 * config.tile if config.objects == "none" else OVERLAY_SIDE  # a window is a part of it
    for loaded, maps, _ in source.batches([files[image] for image in wanted], progress, preview):
        for each, own_maps in zip(loaded, maps, strict=True):
            image = wanted[each.index]
            seen = muted(_seen(each))
            for view in shown[image]:
                heat = own_maps[view.filter].cpu().numpy()
                overlay = heat_overlay(seen, heat, view.max_activation)
                drawn[view.filter, image] = fit(overlay, config.tile)
    return drawn


def _seen(image: LoadedImage) -> Rgb:
    """Return the part of the preview that the networks saw: the window, or the whole image where there is none."""
    assert image.preview is not None
    if image.window is None or image.empty:
        return image.preview
    x, y, width, height = image.window
    rows, columns = image.preview.shape[0] / image.height, image.preview.shape[1] / image.width
    low, left = round(y * rows), round(x * columns)
    high, right = round((y + height) * rows), round((x + width) * columns)
    return image.preview[low : max(low + 1, high), left : max(left + 1, right)]


def _tiles(config: VisualizeConfig, view: FilterView, drawn: Drawn) -> list[list[Rgb]]:
    blank = np.full((config.tile, config.tile, 3), 255, np.uint8)  # for a file that was deleted after the first pass
    return [[drawn.get((view.filter, image), blank) for image in tile["images"]] for tile in view.tiles]


def _titles(view: FilterView) -> tuple[str, str]:
    return f"filter {view.filter}", f"#{view.rank + 1}, max {view.max_activation:.3g}"


def _grid(config: VisualizeConfig, views: Sequence[FilterView], drawn: Drawn) -> Rgb:
    ranks = [f"#{tile['ranks'][0] + 1}" for tile in views[0].tiles]
    activations = [[f"{tile['activations'][0]:.3g}" for tile in view.tiles] for view in views]
    return tile_grid(
        [_titles(view) for view in views], ranks, activations, [_tiles(config, v, drawn) for v in views], config.tile
    )


def _gallery(
    source: LayerMaps, config: VisualizeConfig, found: Ranking, files: Sequence[ListedImage], progress: Progress
) -> Gallery:
    """Draw the filters of one checkpoint; `files` are the images of the ranking."""
    views = choose(found, [file.name for file in files], config.columns * config.rows, 1)
    drawn = _draw(source, config, files, views, progress)

    spec = source.runner.model.spec
    pooling = f"leaky_max, epsilon {spec.epsilon:g}" if spec.pooling == "leaky_max" else spec.pooling
    path = source.runner.checkpoint
    name = "/".join(path.absolute().parts[-2:]) if path else "model"
    title = f"{name}: {pooling}; mean entropy {found.mean_entropy:.3f} nats"
    blocks = [(_titles(view), _tiles(config, view, drawn)[0]) for view in views]

    return Gallery(
        source.runner.checkpoint_record(),
        pooling,
        found.mean_entropy,
        views,
        gallery(title, blocks, config.columns, config.tile),
    )


def _write(config: VisualizeConfig, runner: ModelRunner, result: VisualizeResult) -> None:
    assert config.out is not None
    save_png(config.out / "filters.png", result.grid)
    with suppress(OSError):  # of an earlier run
        (config.out / "comparison.png").unlink()
    if result.comparison:
        save_png(config.out / "comparison.png", stack([each.drawing for each in result.comparison]))

    skipped = skipped_entries(result.skipped)
    document = {
        "checkpoint": runner.checkpoint_record(),
        "network": "replica" if config.replica else "network",
        "layer": config.layer or runner.model.spec.backbone.layer,
        "objects": config.objects,
        "images": result.images,
        "tile": config.tile,
        "filters": [_record(view) for view in result.filters],
        "comparison": [
            {
                "checkpoint": each.checkpoint,
                "pooling": each.pooling,
                "entropy": None if np.isnan(each.entropy) else round(each.entropy, 4),
                "filters": [_record(view) for view in each.filters],
            }
            for each in result.comparison
        ],
        "skipped": skipped,
    }

    write_json(config.out / "filters.json", document)
    write_run(
        config.out,
        "viz-filters",
        config.options(),
        result.seconds,
        images=result.images,
        skipped=skipped,
        device=result.device,
        checkpoint=runner.checkpoint_record(),
    )


def _record(view: FilterView) -> dict[str, Any]:
    return {
        "filter": view.filter,
        "rank": view.rank + 1,
        "max_activation": significant(view.max_activation),
        "entropy": view.entropy,
        "tiles": [
            {
                "ranks": [rank + 1 for rank in tile["ranks"]],
                "files": tile["files"],
                "activations": tile["activations"],
            }
            for tile in view.tiles
        ],
        "classes": dict(view.classes),
        "votes": None if view.votes is None else dict(view.votes),
    }
