"""Figure 2 of the second paper for any picture: what its two relevance maps say, beside the points made of them.

From left to right: picture, coarse heat map, guided gradients, detected points, and annotated points where there are
any.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.data.images import Rgb
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.drawing.grids import GAP
from lmpnet_cli.drawing.heatmaps import heat_overlay, muted
from lmpnet_cli.drawing.image_writer import ImageWriter
from lmpnet_cli.keypoints import Keypoints

Map = NDArray[np.float32]
PANEL_SIDE = 240  # height of a panel in pixels


class Panels(ImageWriter):
    """One row of panels for each picture, in `out/panels`, where `--panels` asks for them."""

    def __init__(self, config: KeypointConfig, names: Sequence[str]) -> None:
        super().__init__(config.out, "panels", names, bool(config.panels))

    def add_batch(
        self,
        pictures: Sequence[LoadedImage],
        results: Sequence[Keypoints],
        relevance: Sequence[tuple[Map, Map]] | None,
        annotated: Sequence[NDArray[np.float64]] | None = None,
    ) -> None:
        """Queues the panels of one batch.

        Args:
            annotated: for each picture its true points in image pixels, all inside the picture.
        """
        if not self.wanted or relevance is None:
            return
        truths: Sequence[Any] = annotated if annotated is not None else [None] * len(pictures)
        for picture, result, maps, truth in zip(pictures, results, relevance, truths, strict=True):
            assert picture.preview is not None  # pictures are read for drawing where panels are wanted
            self.add(picture.name, partial(_draw, picture.preview, result, maps, truth))


def _draw(preview: Rgb, result: Keypoints, maps: tuple[Map, Map], truth: NDArray[np.float64] | None) -> Rgb:
    size = (result.width, result.height)
    return draw_panels(preview, *maps, size, result.xy[result.found], truth)


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
