"""The drawing of `lmpnet match`: images in rows, and lines between keypoints of the same name."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.data.images import Rgb
from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.drawing.grids import GAP, legend, numbered_disc, stack
from lmpnet_cli.drawing.overlays import fit
from lmpnet_cli.keypoints import Keypoints

SIDE = 420  # pixels of an image in the drawing
CELL = SIDE + 3 * GAP  # pixels from one image to the next


def draw_matches(images: Sequence[Rgb], found: Sequence[Keypoints], names: Sequence[str], columns: int) -> Rgb:
    """Return the images in rows of `columns`; keypoint i has one colour, and is joined within a row by lines.

    Args:
        images: (h, w, 3) each, at any scale.
        found: the keypoints of each image.
        names: of the keypoints, for the legend below the images.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    canvas = np.full((rows * CELL, columns * CELL, 3), 255, np.uint8)

    positions = []  # (k, 2) of each image, in pixels of the canvas
    for index, (image, keypoints) in enumerate(zip(images, found, strict=True)):
        row, column = divmod(index, columns)
        top, left = row * CELL + GAP, column * CELL + GAP
        canvas[top : top + SIDE, left : left + SIDE] = fit(image, SIDE)
        positions.append(np.array([left, top]) + _in_square(keypoints))

    for index in range(1, len(positions)):
        if index % columns:
            _draw_lines(canvas, positions[index - 1], positions[index])
    for each in positions:
        for keypoint in np.flatnonzero(~np.isnan(each[:, 0])).tolist():
            numbered_disc(canvas, each[keypoint, 0], each[keypoint, 1], keypoint)

    return stack([canvas, legend(names, canvas.shape[1])])


def _draw_lines(canvas: Rgb, left: NDArray[np.float64], right: NDArray[np.float64]) -> None:
    """Join the keypoints of two images, (k, 2) each, that were found in both."""
    for keypoint in np.flatnonzero(~np.isnan(left + right).any(axis=1)).tolist():
        start, end = (tuple(np.round(each[keypoint] * 16).astype(int).tolist()) for each in (left, right))
        for color, width in (((0, 0, 0), 4), (keypoint_color(keypoint), 2)):
            cv2.line(canvas, start, end, color, width, cv2.LINE_AA, shift=4)  # in sixteenths of a pixel


def _in_square(found: Keypoints) -> NDArray[np.float64]:
    """Return the (k, 2) positions in an image that was fitted into a square."""
    scale = SIDE / max(found.width, found.height)
    size = np.array([max(1, round(found.width * scale)), max(1, round(found.height * scale))])
    xy = (found.xy + 0.5) * size / (found.width, found.height) - 0.5 + (SIDE - size) // 2
    return np.asarray(xy)
