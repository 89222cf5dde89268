"""Overlays: an image with its keypoints as numbered discs."""

import cv2
import numpy as np

from lmpnet_cli.data.images import Rgb
from lmpnet_cli.data.loader import OVERLAY_SIDE
from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.keypoints import Keypoints

OVERLAY_SMALLEST = 320  # longer side in pixels to which smaller images are enlarged


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
        disc(canvas, x, y, radius, str(index + 1), keypoint_color(index))
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


def fit(rgb: Rgb, side: int) -> Rgb:
    """The whole picture centred in a white square."""
    scale = side / max(rgb.shape[:2])
    width, height = (max(1, round(length * scale)) for length in (rgb.shape[1], rgb.shape[0]))
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = small
    return square
