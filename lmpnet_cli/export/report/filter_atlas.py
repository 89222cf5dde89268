"""Prepare the full-scale filter visualisation for the filter atlas of a report."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from lmpnet_cli.drawing.grids import tile_box

IMAGE_ID = "filters-image"  # element id of the visualisation


class Tile(Struct):
    """The images of one tile: their ranks, names and largest activations."""

    ranks: list[int]
    files: list[str]
    activations: list[float]


class Filter(Struct):
    """One column of the visualisation."""

    filter: int
    rank: int
    max_activation: float
    entropy: float
    tiles: list[Tile]
    classes: dict[str, float] | None = None
    votes: dict[str, float] | None = None


class FilterDocument(Struct):
    """The schema of `filters.json`, as far as a report shows it."""

    network: str
    layer: str
    images: int
    tile: Annotated[int, Meta(ge=1)]
    filters: list[Filter]


def atlas_data(document: FilterDocument, size: tuple[int, int]) -> dict[str, Any]:
    """Return what `filters.js` draws.

    Args:
        size: width and height of `filters.png` in pixels.
    """
    columns = [_column(column, view, document.tile) for column, view in enumerate(document.filters)]
    return {"image": IMAGE_ID, "width": size[0], "height": size[1], "columns": columns}


def _column(column: int, view: Filter, side: int) -> dict[str, Any]:
    left, _, width, _ = tile_box(column, 0, side)
    tiles = [
        {
            "box": tile_box(column, row, side),
            "ranks": tile.ranks,
            "files": tile.files,
            "activations": tile.activations,
        }
        for row, tile in enumerate(view.tiles)
    ]
    return {
        "filter": view.filter,
        "rank": view.rank,
        "max": view.max_activation,
        "entropy": view.entropy,
        "left": left,
        "width": width,
        "classes": list((view.classes or {}).items()),
        "votes": list((view.votes or {}).items()),
        "tiles": tiles,
    }
