"""The full-scale filter graph, as the filter atlas of a page takes it."""

from typing import Any

from lmpnet_cli.drawing.grids import tile_box


def atlas_data(document: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """What the scripts draw.

    Args:
        document: `filters.json`.
        size: width and height of `filters.png`.
    """
    side = int(document["tile"])
    return {
        "picture": "graph",
        "width": size[0],
        "height": size[1],
        "columns": [_column(place, each, side) for place, each in enumerate(document["filters"])],
    }


def _column(place: int, view: dict[str, Any], side: int) -> dict[str, Any]:
    left, _, across, _ = tile_box(place, 0, side)
    return {
        "filter": view["filter"],
        "rank": view["rank"],
        "max": view["max_activation"],
        "entropy": view["entropy"],
        "place": [left, across],
        "classes": _rows(view.get("classes")),
        "votes": _rows(view.get("votes")),
        "tiles": [
            {
                "place": tile_box(place, row, side),
                "ranks": tile["ranks"],
                "files": tile["files"],
                "activations": tile["activations"],
            }
            for row, tile in enumerate(view["tiles"])
        ],
    }


def _rows(shares: dict[str, float] | None) -> list[list[Any]]:
    return [[name, share] for name, share in (shares or {}).items()]
