"""Many images on one sheet: contact sheets, tile grids and galleries."""

from collections.abc import Sequence

import cv2
import numpy as np

from lmpnet_cli.data.images import Rgb
from lmpnet_cli.drawing.overlays import fit

GAP, LABEL = 6, 16  # pixels between tiles, and for a line of text


def contact_sheet(pictures: Sequence[Rgb], columns: int = 6, side: int = 240) -> Rgb:
    """Pictures side by side, each fitted into a square of `side` pixels on white."""
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    gap = 6
    sheet = np.full((rows * (side + gap) + gap, columns * (side + gap) + gap, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = ((position * (side + gap)) + gap for position in divmod(index, columns))
        sheet[top : top + side, left : left + side] = fit(picture, side)
    return sheet


def tile_grid(
    titles: Sequence[tuple[str, str]],
    row_labels: Sequence[str],
    tile_labels: Sequence[Sequence[str]],
    columns: Sequence[Sequence[Sequence[Rgb]]],
    side: int,
) -> Rgb:
    """Columns of tiles of 2 x 2 pictures: two lines above each column, a label before each row and below each tile.

    Args:
        tile_labels, columns: for each column the labels and the tiles from top to bottom, each tile of at most four
            (side, side, 3) pictures.
    """
    left = tile_place(0, 0, side)[0]
    right, bottom, _, _ = tile_place(len(columns), len(row_labels), side)
    grid = np.full((bottom, right, 3), 255, np.uint8)
    label(grid, (left, LABEL - 4), "filters by maximum activation >")
    label(grid, (4, 3 * LABEL - 4), "image v")
    for column, (tiles, labels, lines) in enumerate(zip(columns, tile_labels, titles, strict=True)):
        for line, text in enumerate(lines, start=2):
            label(grid, (tile_place(column, 0, side)[0], line * LABEL - 4), text)
        for row, (tile, below) in enumerate(zip(tiles, labels, strict=True)):
            x, y, _, high = tile_place(column, row, side)
            _tile(grid, (x, y), tile, side)
            label(grid, (x, y + high + LABEL - 4), below)
    for row, text in enumerate(row_labels):
        label(grid, (4, tile_place(0, row, side)[1] + side), text)
    return grid


def gallery(title: str, blocks: Sequence[tuple[tuple[str, str], Sequence[Rgb]]], columns: int, side: int) -> Rgb:
    """Tiles of 2 x 2 pictures in reading order, each below its two lines of text, under one title."""
    rows = -(-len(blocks) // columns)
    across, down = 2 * side + GAP, 2 * side + 2 * LABEL + GAP
    canvas = np.full((LABEL + GAP + rows * down, GAP + columns * across, 3), 255, np.uint8)
    label(canvas, (GAP, LABEL - 4), title)
    for index, (lines, tile) in enumerate(blocks):
        x, y = GAP + index % columns * across, LABEL + GAP + index // columns * down
        for line, text in enumerate(lines, start=1):
            label(canvas, (x, y + line * LABEL - 4), text)
        _tile(canvas, (x, y + 2 * LABEL), tile, side)
    return canvas


def stack(pictures: Sequence[Rgb]) -> Rgb:
    """Pictures one below the other on white."""
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate(
        [np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255) for each in pictures]
    )


def tile_place(column: int, row: int, side: int) -> tuple[int, int, int, int]:
    """Where `tile_grid` puts a tile: left, top, width, height in pixels, its label aside."""
    return (56 + column * (2 * side + GAP), 3 * LABEL + GAP + row * (2 * side + LABEL + GAP), 2 * side, 2 * side)


def _tile(canvas: Rgb, place: tuple[int, int], pictures: Sequence[Rgb], side: int) -> None:
    """Up to four (side, side, 3) pictures as 2 x 2, their upper left corner at x, y."""
    for index, picture in enumerate(pictures):
        x, y = place[0] + index % 2 * side, place[1] + index // 2 * side
        canvas[y : y + side, x : x + side] = picture


def label(grid: Rgb, origin: tuple[int, int], text: str) -> None:
    """One small line of text, its lower left corner at `origin`."""
    cv2.putText(grid, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
