"""Draw figure 2 of the second paper for any image: its relevance maps and the keypoints derived from them.

From left to right: the image, the coarse heat map, the guided gradients, their combination (not in the figure), the
detected points and, where there are annotations, the annotated points.
"""

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.data.images import Rgb
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.drawing.grids import GAP
from lmpnet_cli.drawing.heatmaps import heat_overlay, muted
from lmpnet_cli.drawing.image_writer import ImageWriter
from lmpnet_cli.drawing.overlays import MANY
from lmpnet_cli.keypoints import Keypoints

Map = NDArray[np.float32]
Points = NDArray[np.float64]

PANEL_HEIGHT = 240  # pixels
DETECTED_COLOR, ANNOTATED_COLOR = (220, 20, 20), (20, 170, 20)
# Gradients have a few very large values, and the others would be invisible beside them: the colour scale ends here.
TOP_PERCENTILE = 99.5


class Panels(ImageWriter):
    """Writes one row of panels per image into `out/panels`, where `--panels` asks for it."""

    def __init__(self, config: KeypointConfig, names: Sequence[str]) -> None:
        super().__init__(config.out, "panels", names, bool(config.panels))

    def add_batch(
        self,
        loaded: Sequence[LoadedImage],
        results: Sequence[Keypoints],
        relevance: Sequence[tuple[Map, ...]] | None,
        annotated: Sequence[Points] | None = None,
    ) -> None:
        """Queue the panels of one batch.

        Args:
            relevance: for each image its coarse, fine and combined map; None, for a method without maps, draws nothing.
            annotated: for each image its annotated points in image pixels, all inside the image.
        """
        if not self.wanted or relevance is None:
            return

        truths = [None] * len(loaded) if annotated is None else annotated
        for image, result, maps, truth in zip(loaded, results, relevance, truths, strict=True):
            assert image.preview is not None  # images are loaded with a preview where panels are wanted
            image_size, detected = (result.width, result.height), result.xy[result.found]
            self.add(image.name, partial(draw_panels, image.preview, maps, image_size, detected, truth))


def draw_panels(
    rgb: Rgb, maps: Sequence[Map], image_size: tuple[int, int], detected: Points, annotated: Points | None
) -> Rgb:
    """Draw side by side: the image, relevance maps over it, detected points in red, annotated ones in green.

    Args:
        rgb: (h, w, 3) image, possibly at another scale than `image_size`.
        maps: (S, T) each, over the whole image; the smallest value of a map is not coloured.
        image_size: width and height of the image whose pixels the points count.
        detected, annotated: (N, 2) x, y; without annotations there is no last panel.
    """
    width = round(PANEL_HEIGHT * image_size[0] / image_size[1])
    width = max(8, min(4 * PANEL_HEIGHT, width))
    resized = np.asarray(cv2.resize(rgb, (width, PANEL_HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)

    panels = [resized]
    pale = muted(resized)
    for each in maps:
        relevance = each - each.min()
        top = float(np.percentile(relevance, TOP_PERCENTILE))
        panels.append(heat_overlay(pale, relevance, top))
    panels.append(_draw_points(resized, detected, image_size, DETECTED_COLOR))
    if annotated is not None:
        panels.append(_draw_points(resized, annotated, image_size, ANNOTATED_COLOR))

    gap = np.full((PANEL_HEIGHT, GAP, 3), 255, np.uint8)
    pieces = [panels[0]]
    for panel in panels[1:]:
        pieces += [gap, panel]
    return np.concatenate(pieces, axis=1)


def _draw_points(rgb: Rgb, points: Points, image_size: tuple[int, int], color: tuple[int, int, int]) -> Rgb:
    """Return a copy of the image with each point as a disc with a white ring, a smaller one where they are many."""
    panel = rgb.copy()
    ring, radius = (6, 4) if len(points) <= MANY else (4, 3)
    for x, y in (points + 0.5) * (rgb.shape[1], rgb.shape[0]) / image_size - 0.5:
        center = (round(x * 16), round(y * 16))  # OpenCV counts in sixteenths of a pixel
        cv2.circle(panel, center, ring * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
        cv2.circle(panel, center, radius * 16, color, -1, cv2.LINE_AA, 4)
    return panel
