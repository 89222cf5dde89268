"""Draw overlays: an image with its keypoints as numbered discs, or as dots where they are many."""

from collections.abc import Sequence

import cv2
import numpy as np

from lmpnet_cli.data.images import Rgb
from lmpnet_cli.data.loader import OVERLAY_SIDE
from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.keypoints import NO_OBJECT, Box, Keypoints

MIN_OVERLAY_SIDE = 320  # pixels: images whose longer side is shorter are enlarged to it
MANY = 20  # keypoints on an image: more are drawn as small dots without a number
MIN_OVERLAY_WIDTH = 48  # pixels: thinner images get a white border, so that discs have room


def draw_overlay(rgb: Rgb, objects: Sequence[Keypoints]) -> Rgb:
    """Draw the keypoints of each object as numbered discs of a legible size, or more than `MANY` as dots.

    Args:
        rgb: (h, w, 3) image, possibly at a smaller scale than the image whose pixels `objects` count; not changed.
        objects: of this image, at least one entry, which may be `empty`.
    """
    canvas = np.array(_resize_for_overlay(rgb), np.uint8)
    scale = (canvas.shape[1] / objects[0].width, canvas.shape[0] / objects[0].height)
    for each in objects:
        if each.window not in (None, NO_OBJECT, (0, 0, each.width, each.height)):
            _draw_window(canvas, each.window, scale)
    canvas = _pad_thin(canvas)

    for each in reversed(objects):  # the first object is drawn last, on top
        _draw_keypoints(canvas, each, scale)
    return canvas


def _draw_keypoints(canvas: Rgb, result: Keypoints, scale: tuple[float, float]) -> None:
    side, found = max(canvas.shape[:2]), np.flatnonzero(result.found).tolist()
    numbered = len(found) <= MANY
    radius = max(7, round(side / 50)) if numbered else max(3, round(side / 160))
    for index in reversed(found):  # the first keypoint is drawn last, on top
        x, y = ((result.xy[index] + 0.5) * scale - 0.5).tolist()
        disc(canvas, x, y, radius, str(index + 1) if numbered else "", keypoint_color(index))


def _draw_window(canvas: Rgb, window: Box, scale: tuple[float, float]) -> None:
    """Draw a thin white frame with a dark edge around a window, which is in pixels of the image."""
    x, y, width, height = window
    low = (round(x * scale[0]), round(y * scale[1]))
    high = (round((x + width) * scale[0]) - 1, round((y + height) * scale[1]) - 1)
    for thickness, color in ((3, (0, 0, 0)), (1, (255, 255, 255))):
        cv2.rectangle(canvas, low, high, color, thickness)


def _resize_for_overlay(rgb: Rgb) -> Rgb:
    """Scale an image so that its longer side has `MIN_OVERLAY_SIDE` to `OVERLAY_SIDE` pixels."""
    longer = max(rgb.shape[:2])
    if longer < MIN_OVERLAY_SIDE:
        return scaled(rgb, MIN_OVERLAY_SIDE / longer)
    return scaled(rgb, OVERLAY_SIDE / longer) if longer > OVERLAY_SIDE else rgb


def scaled(rgb: Rgb, scale: float) -> Rgb:
    """Return an (h, w, 3) image whose sides are multiplied by `scale`, at least 1 pixel each."""
    height, width = rgb.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=interpolation), np.uint8)


def _pad_thin(canvas: Rgb) -> Rgb:
    """Add white below or beside an image that is thinner than `MIN_OVERLAY_WIDTH`."""
    below = max(0, MIN_OVERLAY_WIDTH - canvas.shape[0])
    beside = max(0, MIN_OVERLAY_WIDTH - canvas.shape[1])
    return np.pad(canvas, ((0, below), (0, beside), (0, 0)), constant_values=255)


def disc(canvas: Rgb, x: float, y: float, radius: int, text: str, color: tuple[int, int, int]) -> None:
    """Draw a disc with a black ring and a number, or an empty text, onto the canvas, its centre at x, y in pixels."""
    shift = 4  # OpenCV counts in sixteenths of a pixel then
    center = (round(x * 2**shift), round(y * 2**shift))
    for extra, paint in ((2 if text else 1, (0, 0, 0)), (0, color)):
        cv2.circle(canvas, center, (radius + extra) << shift, paint, -1, cv2.LINE_AA, shift)

    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, radius // 6)
    scale = radius / (14 if len(text) == 1 else 20)
    (text_width, text_height), _ = cv2.getTextSize(text, font, scale, thickness)
    origin = (round(x - text_width / 2), round(y + text_height / 2))
    cv2.putText(canvas, text, origin, font, scale, (0, 0, 0), thickness, cv2.LINE_AA)


def fit(rgb: Rgb, side: int) -> Rgb:
    """Return the whole image, scaled to fit and centred in a white square of `side` pixels."""
    resized = scaled(rgb, side / max(rgb.shape[:2]))
    height, width = resized.shape[:2]

    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = resized
    return square
