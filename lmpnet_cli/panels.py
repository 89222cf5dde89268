"""Figure 2 of the second paper for any picture: what its two relevance maps say, beside the points made of them.

From left to right: picture, coarse heat map, guided gradients, detected points, and annotated points where there are
any.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.drawings import Drawings
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.pictures import Prepared
from lmpnet_cli.rendering import Rgb, draw_panels

Map = NDArray[np.float32]


class Panels(Drawings):
    """One row of panels for each picture, in `out/panels`, where `--panels` asks for them."""

    def __init__(self, config: KeypointConfig, names: Sequence[str]) -> None:
        super().__init__(config.out, "panels", names, config.panels)

    def add_batch(
        self,
        pictures: Sequence[Prepared],
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
