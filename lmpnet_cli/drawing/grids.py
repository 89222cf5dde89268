"""Draw many images on one canvas: contact sheets, tile grids and galleries."""

from collections.abc import Sequence

import cv2
import numpy as np

from lmpnet_cli.data.images import Rgb
from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.drawing.overlays import disc, fit

GAP = 6  # pixels between images
LINE_HEIGHT = 16  # pixels of one line of text
BASELINE = 4  # pixels between the baseline of a text and the end of its line
ROW_LABEL_WIDTH = 56  # pixels left of the first column of a tile grid
LEGEND_LINE, LEGEND_COLUMN = 34, 130  # pixels that a name takes in a legend, at least
LETTER = 8  # pixels of a letter at most
RADIUS = 10  # pixels of a disc in a legend


def contact_sheet(images: Sequence[Rgb], columns: int = 6, side: int = 240, names: Sequence[str] = ()) -> Rgb:
    """Draw images side by side, each fitted into a white square of `side` pixels, and a legend below.

    Args:
        names: of the keypoints; none draws no legend.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    step = side + GAP
    sheet = np.full((rows * step + GAP, columns * step + GAP, 3), 255, np.uint8)

    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = GAP + row * step, GAP + column * step
        sheet[top : top + side, left : left + side] = fit(image, side)
    return stack([sheet, legend(names, sheet.shape[1])]) if names else sheet


def legend(names: Sequence[str], width: int) -> Rgb:
    """Draw the numbered disc of each keypoint beside its name, in lines of at most `width` pixels."""
    step = max(LEGEND_COLUMN, 5 * GAP + LETTER * max(map(len, names)))
    in_line = max(1, width // step)
    canvas = np.full((-(-len(names) // in_line) * LEGEND_LINE, width, 3), 255, np.uint8)
    for keypoint, name in enumerate(names):
        line, column = divmod(keypoint, in_line)
        x, y = GAP + RADIUS + 4 + column * step, line * LEGEND_LINE + LEGEND_LINE // 2
        numbered_disc(canvas, x, y, keypoint)
        label(canvas, (x + 16, y + 5), name)
    return canvas


def numbered_disc(canvas: Rgb, x: float, y: float, keypoint: int) -> None:
    """Draw the disc of a keypoint, as a legend shows it, onto the canvas, its centre at x, y in pixels."""
    disc(canvas, x, y, RADIUS, str(keypoint + 1), keypoint_color(keypoint))


def tile_grid(
    titles: Sequence[tuple[str, str]],
    row_labels: Sequence[str],
    tile_labels: Sequence[Sequence[str]],
    columns: Sequence[Sequence[Sequence[Rgb]]],
    side: int,
) -> Rgb:
    """Draw columns of tiles of 2 x 2 images, with titles above, labels of the rows at the left and of each tile below.

    Args:
        titles: for each column two lines of text.
        row_labels: for each row a short text.
        tile_labels, columns: for each column the labels and the tiles from top to bottom, each tile of at most four
            (side, side, 3) images.
    """
    right, bottom, _, _ = tile_box(len(columns), len(row_labels), side)
    grid = np.full((bottom, right, 3), 255, np.uint8)

    # the headings of both axes
    left, _, _, _ = tile_box(0, 0, side)
    label(grid, (left, LINE_HEIGHT - BASELINE), "filters by maximum activation >")
    label(grid, (4, 3 * LINE_HEIGHT - BASELINE), "image v")

    for column, (title, texts, tiles) in enumerate(zip(titles, tile_labels, columns, strict=True)):
        left, _, _, _ = tile_box(column, 0, side)
        for line, text in enumerate(title, start=2):
            label(grid, (left, line * LINE_HEIGHT - BASELINE), text)

        for row, (text, tile) in enumerate(zip(texts, tiles, strict=True)):
            left, top, _, height = tile_box(column, row, side)
            _draw_tile(grid, left, top, tile, side)
            label(grid, (left, top + height + LINE_HEIGHT - BASELINE), text)

    for row, text in enumerate(row_labels):
        label(grid, (4, tile_box(0, row, side)[1] + side), text)
    return grid


def tile_box(column: int, row: int, side: int) -> tuple[int, int, int, int]:
    """Return the box of a tile in a `tile_grid`, without its label: left, top, width, height in pixels."""
    left = ROW_LABEL_WIDTH + column * (2 * side + GAP)
    top = 3 * LINE_HEIGHT + GAP + row * (2 * side + LINE_HEIGHT + GAP)
    return left, top, 2 * side, 2 * side


def gallery(title: str, blocks: Sequence[tuple[tuple[str, str], Sequence[Rgb]]], columns: int, side: int) -> Rgb:
    """Draw tiles of 2 x 2 images in reading order under one title.

    Args:
        blocks: for each tile two lines of text, drawn above it, and at most four (side, side, 3) images.
    """
    rows = -(-len(blocks) // columns)
    block_width, block_height = 2 * side + GAP, 2 * side + 2 * LINE_HEIGHT + GAP
    top_margin = LINE_HEIGHT + GAP
    canvas = np.full((top_margin + rows * block_height, GAP + columns * block_width, 3), 255, np.uint8)
    label(canvas, (GAP, LINE_HEIGHT - BASELINE), title)

    for index, (lines, tile) in enumerate(blocks):
        row, column = divmod(index, columns)
        left, top = GAP + column * block_width, top_margin + row * block_height
        for line, text in enumerate(lines, start=1):
            label(canvas, (left, top + line * LINE_HEIGHT - BASELINE), text)
        _draw_tile(canvas, left, top + 2 * LINE_HEIGHT, tile, side)
    return canvas


def stack(images: Sequence[Rgb]) -> Rgb:
    """Return the images one below the other, with white at the right of narrower ones."""
    width = max(image.shape[1] for image in images)
    padded = [
        np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=255)  # to the same width
        for image in images
    ]
    return np.concatenate(padded)


def _draw_tile(canvas: Rgb, left: int, top: int, images: Sequence[Rgb], side: int) -> None:
    """Draw up to four (side, side, 3) images as 2 x 2, the upper left corner of the first at left, top."""
    for index, image in enumerate(images):
        row, column = divmod(index, 2)
        x, y = left + column * side, top + row * side
        canvas[y : y + side, x : x + side] = image


def label(canvas: Rgb, origin: tuple[int, int], text: str) -> None:
    """Draw one small line of text onto the canvas, its lower left corner at `origin` (x, y)."""
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
