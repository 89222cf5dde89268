"""`parts.png`: each keypoint where it is most certain, on many pictures, so that a person can name it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lmpnet_cli.data.images import Rgb, read_image
from lmpnet_cli.data.listing import ListedImage, UnreadableImage
from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.drawing.grids import GAP, label
from lmpnet_cli.drawing.overlays import disc

SIDE, LEFT = 112, 150  # pixels of a patch, and of the names before the rows
PART = 0.4  # side of a patch as a share of the shorter side of its picture
NEEDED = 700  # pixels of the decoded picture's shorter side, so that patches are not blurred


@dataclass(frozen=True)
class Sighting:
    """One keypoint on one picture; x and y as shares of width and height."""

    file: ListedImage
    x: float
    y: float
    score: float


def draw_part_gallery(
    names: Sequence[str], seen: Sequence[float], rows: Sequence[Sequence[Sighting]], max_pixels: int
) -> Rgb:
    """A row of patches for each keypoint, with its number, its name and on how many pictures it is seen.

    A cross marks the place itself; the patches are parts of the pictures in their own proportions.
    """
    columns = max(map(len, rows))
    canvas = np.full((GAP + len(rows) * (SIDE + GAP), LEFT + columns * (SIDE + GAP), 3), 255, np.uint8)
    for index, (name, share, row) in enumerate(zip(names, seen, rows, strict=True)):
        top = GAP + index * (SIDE + GAP)
        disc(canvas, 24, top + SIDE / 2, 16, str(index + 1), keypoint_color(index))
        label(canvas, (48, top + SIDE // 2 - 2), name)
        label(canvas, (48, top + SIDE // 2 + 16), f"on {100 * share:.0f} %")
        for column, sighting in enumerate(row):
            left = LEFT + column * (SIDE + GAP)
            canvas[top : top + SIDE, left : left + SIDE] = _patch(sighting, keypoint_color(index), max_pixels)
    return canvas


def _patch(sighting: Sighting, color: tuple[int, int, int], max_pixels: int) -> Rgb:
    try:
        rgb = read_image(sighting.file.path, max_pixels, at_least=NEEDED).rgb
    except UnreadableImage:  # it was readable a moment ago
        return np.full((SIDE, SIDE, 3), 200, np.uint8)
    height, width = rgb.shape[:2]
    half = max(4, round(PART * min(height, width) / 2))
    row, column = round(sighting.y * height - 0.5), round(sighting.x * width - 0.5)
    padded = cv2.copyMakeBorder(rgb, half, half, half, half, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    patch = cv2.resize(
        padded[row : row + 2 * half, column : column + 2 * half], (SIDE, SIDE), interpolation=cv2.INTER_AREA
    )
    for paint, thickness in (((0, 0, 0), 4), (color, 2)):
        cv2.drawMarker(patch, (SIDE // 2, SIDE // 2), paint, cv2.MARKER_CROSS, 14, thickness, cv2.LINE_AA)
    return np.asarray(patch, np.uint8)
