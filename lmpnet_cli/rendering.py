"""Pictures of results: arrays in, arrays out; `save_jpeg` and `save_png` write them, whole or not at all."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lmpnet_cli.colors import identity_color
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.runtime import write_atomically

Rgb = NDArray[np.uint8]
OVERLAY_SIDE = 1024  # longer side of an overlay; smaller pictures are enlarged to at least OVERLAY_SMALLEST
OVERLAY_SMALLEST = 320


def draw_overlay(rgb: Rgb, result: Keypoints) -> Rgb:
    """The picture with its keypoints as numbered discs, legible at any size.

    Args:
        rgb: (h, w, 3), perhaps at another scale than the image whose pixels `result` counts.
    """
    height, width = rgb.shape[:2]
    longer = max(height, width)
    scale = min(OVERLAY_SIDE / longer, 1.0) if longer >= OVERLAY_SMALLEST else OVERLAY_SMALLEST / longer
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = (
        cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR) if scale != 1 else rgb
    )
    canvas = _pad_thin(np.array(canvas, np.uint8))  # the caller's picture stays as it is
    radius = max(7, round(max(canvas.shape[:2]) / 50))
    # last keypoint first, so that the most prominent one lies on top
    for index in reversed(np.flatnonzero(result.found).tolist()):
        x = (result.xy[index, 0] + 0.5) * size[0] / result.width - 0.5
        y = (result.xy[index, 1] + 0.5) * size[1] / result.height - 0.5
        disc(canvas, x, y, radius, str(index + 1), identity_color(index))
    return canvas


def _pad_thin(canvas: Rgb) -> Rgb:
    """White below or beside a very thin picture, so that discs have room."""
    height, width = canvas.shape[:2]
    missing = (max(0, 48 - height), max(0, 48 - width))
    return np.pad(canvas, ((0, missing[0]), (0, missing[1]), (0, 0)), constant_values=255) if any(missing) else canvas


def disc(canvas: Rgb, x: float, y: float, radius: int, text: str, color: tuple[int, int, int]) -> None:
    """A numbered disc, its centre at x, y."""
    shift = 4  # cv2 counts in sixteenths of a pixel then
    center = (round(x * 2**shift), round(y * 2**shift))
    for extra, paint in ((2, (0, 0, 0)), (0, color)):
        cv2.circle(canvas, center, (radius + extra) << shift, paint, -1, cv2.LINE_AA, shift)
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, radius // 6)
    scale = radius / (14 if len(text) == 1 else 20)
    (text_width, text_height), _ = cv2.getTextSize(text, font, scale, thickness)
    origin = (round(x - text_width / 2), round(y + text_height / 2))
    cv2.putText(canvas, text, origin, font, scale, (0, 0, 0), thickness, cv2.LINE_AA)


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


def fit(rgb: Rgb, side: int) -> Rgb:
    """The whole picture centred in a white square."""
    scale = side / max(rgb.shape[:2])
    width, height = (max(1, round(length * scale)) for length in (rgb.shape[1], rgb.shape[0]))
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = small
    return square


GAP, LABEL = 6, 16  # pixels between tiles, and for a line of text
PANEL_SIDE = 240  # height of a panel


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


def muted(rgb: Rgb) -> Rgb:
    """The picture half-way to pale grey, so that colours drawn on it stand out."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.asarray((0.25 * rgb + 0.45 * grey + 0.3 * 255).round().astype(np.uint8))


def heat_overlay(rgb: Rgb, activation: NDArray[np.float32], top: float) -> Rgb:
    """A map drawn over a picture: bilinear, cell centres in place, warm where it answers most.

    Args:
        rgb: (h, w, 3).
        activation: (H, W) map over the whole picture.
        top: the value that is drawn strongest.
    """
    height, width = rgb.shape[:2]
    share = np.clip(cv2.resize(activation, (width, height), interpolation=cv2.INTER_LINEAR) / max(top, 1e-12), 0, 1)
    colors = cv2.cvtColor(cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    alpha = (0.75 * share**0.7)[..., None]  # weak answers show, too
    return np.asarray(rgb * (1 - alpha) + colors * alpha).round().astype(np.uint8)


def draw_panels(
    rgb: Rgb,
    coarse: NDArray[np.float32],
    fine: NDArray[np.float32],
    image_size: tuple[int, int],
    detected: NDArray[np.float64],
    annotated: NDArray[np.float64] | None,
) -> Rgb:
    """Side by side: the picture, both relevance maps over it, detected points in red, annotated ones in green.

    Args:
        rgb: (h, w, 3), perhaps at another scale than the image.
        coarse, fine: (S, T) maps over the whole picture.
        image_size: width, height of the image whose pixels the points count.
        detected, annotated: (N, 2) x, y; without annotations the last panel is left out.
    """
    height = PANEL_SIDE
    width = max(8, min(4 * height, round(height * image_size[0] / image_size[1])))
    small = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    pale = muted(small)
    # gradients have a few very large values, beside which the others would not show
    panels = [small, *(heat_overlay(pale, each, float(np.percentile(each, 99.5))) for each in (coarse, fine))]
    for points, color in ((detected, (220, 20, 20)), (annotated, (20, 170, 20))):
        if points is None:
            continue
        panel = small.copy()
        for x, y in (points + 0.5) * (width, height) / image_size - 0.5:
            center = (round(x * 16), round(y * 16))
            cv2.circle(panel, center, 6 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
            cv2.circle(panel, center, 4 * 16, color, -1, cv2.LINE_AA, 4)
        panels.append(panel)
    gap = np.full((height, GAP, 3), 255, np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


def save_jpeg(path: Path, rgb: Rgb) -> None:
    """Writes a JPEG file aside and renames it."""
    _save(path, rgb, format="JPEG", quality=88)


def save_png(path: Path, rgb: Rgb) -> None:
    """Writes a PNG file aside and renames it."""
    _save(path, rgb, format="PNG")


def _save(path: Path, rgb: Rgb, **options: Any) -> None:
    # through memory: Pillow does not notice a disk that is full in the middle of a file
    encoded = io.BytesIO()
    Image.fromarray(rgb).save(encoded, **options)
    write_atomically(path, lambda aside: aside.write_bytes(encoded.getbuffer()))
