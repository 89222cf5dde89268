"""Prepare the full-scale filter visualisation for the filter atlas of a report."""

from collections.abc import Mapping
from typing import Any

from lmpnet_cli.drawing.grids import tile_box

IMAGE_ID = "filters-image"  # element id of the visualisation


def atlas_data(document: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return what `filters.js` draws.

    Args:
        document: the content of `filters.json`.
        size: width and height of `filters.png` in pixels.
    """
    side = int(document["tile"])
    columns = [_column(column, view, side) for column, view in enumerate(document["filters"])]
    return {"image": IMAGE_ID, "width": size[0], "height": size[1], "columns": columns}


def _column(column: int, view: Mapping[str, Any], side: int) -> dict[str, Any]:
    left, _, width, _ = tile_box(column, 0, side)
    tiles = [
        {
            "box": tile_box(column, row, side),
            "ranks": tile["ranks"],
            "files": tile["files"],
            "activations": tile["activations"],
        }
        for row, tile in enumerate(view["tiles"])
    ]
    return {
        "filter": view["filter"],
        "rank": view["rank"],
        "max": view["max_activation"],
        "entropy": view["entropy"],
        "left": left,
        "width": width,
        "classes": _rows(view.get("classes")),
        "votes": _rows(view.get("votes")),
        "tiles": tiles,
    }


def _rows(shares: Mapping[str, float] | None) -> list[list[Any]]:
    return [[name, share] for name, share in (shares or {}).items()]
