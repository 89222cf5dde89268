"""`parts.png`: examples of each part in many images, so that a person can name it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lmpnet_cli.data.images import Rgb, read_image
from lmpnet_cli.data.listing import ListedImage, UnreadableImage
from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.drawing.grids import GAP, label
from lmpnet_cli.drawing.overlays import disc

SIDE, LEFT = 112, 150  # pixels of a patch, and of the names to the left of each row
PATCH_SHARE = 0.4  # side of a patch as a share of the shorter side of its image
DECODED_SIDE = 700  # smallest shorter side of the decoded image in pixels, so that patches are not blurred


@dataclass(frozen=True)
class PartExample:
    """One part in one image; x and y are shares of the image's width and height."""

    image: ListedImage
    x: float
    y: float
    score: float


def draw_part_gallery(
    names: Sequence[str], seen: Sequence[float], rows: Sequence[Sequence[PartExample]], max_pixels: int
) -> Rgb:
    """Draw a row of patches for each part, with its number, its name and the share of images in which it is visible.

    A cross marks the position of the part; the patches keep the proportions of their images.
    """
    columns = max(map(len, rows))
    canvas = np.full((GAP + len(rows) * (SIDE + GAP), LEFT + columns * (SIDE + GAP), 3), 255, np.uint8)

    for index, (name, share, row) in enumerate(zip(names, seen, rows, strict=True)):
        color, top = keypoint_color(index), GAP + index * (SIDE + GAP)
        disc(canvas, 24, top + SIDE / 2, 16, str(index + 1), color)
        label(canvas, (48, top + SIDE // 2 - 2), name)
        label(canvas, (48, top + SIDE // 2 + 16), f"on {100 * share:.0f} %")

        for column, example in enumerate(row):
            left = LEFT + column * (SIDE + GAP)
            canvas[top : top + SIDE, left : left + SIDE] = _patch(example, color, max_pixels)
    return canvas


def _patch(example: PartExample, color: tuple[int, int, int], max_pixels: int) -> Rgb:
    """Cut a square patch around the part and mark the part with a cross."""
    try:
        rgb = read_image(example.image.path, max_pixels, at_least=DECODED_SIDE).rgb
    except UnreadableImage:  # the file has changed since it was first read
        return np.full((SIDE, SIDE, 3), 200, np.uint8)

    height, width = rgb.shape[:2]
    half = max(4, round(PATCH_SHARE * min(height, width) / 2))
    row, column = round(example.y * height - 0.5), round(example.x * width - 0.5)
    padded = cv2.copyMakeBorder(rgb, half, half, half, half, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cut = padded[row : row + 2 * half, column : column + 2 * half]
    patch = cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    centre = (SIDE // 2, SIDE // 2)
    cv2.drawMarker(patch, centre, (0, 0, 0), cv2.MARKER_CROSS, 14, 4, cv2.LINE_AA)  # outline
    cv2.drawMarker(patch, centre, color, cv2.MARKER_CROSS, 14, 2, cv2.LINE_AA)
    return np.asarray(patch, np.uint8)
