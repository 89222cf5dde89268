"""Panels show both maps and the points of an image, in order."""

import numpy as np
import pytest

from lmpnet_cli.drawing.grids import GAP
from lmpnet_cli.drawing.panels import PANEL_HEIGHT, draw_panels


def test_panels_show_maps_and_points_in_order():
    """On a white image of 80 x 40 pixels: coarse map at the left, fine at the right, one red and one green point."""
    coarse, fine = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    coarse[:, :2], fine[:, 6:] = 1, 1
    combined = 0.3 + 0.4 * coarse  # only what is above its minimum is coloured
    white = np.full((40, 80, 3), 255, np.uint8)
    panels = draw_panels(
        white, (coarse, fine, combined), (800, 400), np.array([[200.0, 100]]), np.array([[600.0, 300]])
    )
    width = 2 * PANEL_HEIGHT
    assert panels.shape == (PANEL_HEIGHT, 6 * width + 5 * GAP, 3)

    image, warm, sharp, both, found, true = (panels[:, i * (width + GAP) :][:, :width].astype(int) for i in range(6))
    assert image.min() == 255
    assert warm[:, :40].mean() < warm[:, -40:].mean() - 20  # a heat colour is darker than white
    assert sharp[:, -40:].mean() < sharp[:, :40].mean() - 20
    assert (both == warm).all()

    y, x = PANEL_HEIGHT // 4, width // 4
    assert found[y, x, 0] > 200 and found[y, x, 1:].max() < 60
    assert true[3 * y, 3 * x, 1] > 150 and true[3 * y, 3 * x, [0, 2]].max() < 60
    assert found[3 * y, 3 * x].min() == true[y, x].min() == 255


def test_many_points_are_smaller():
    maps, white = np.zeros((8, 8), np.float32), np.full((40, 40, 3), 255, np.uint8)

    def red_pixels(count):
        points = np.array([[20.0 + 18 * index, 200.0] for index in range(count)])
        panels = draw_panels(white, [maps], (400, 400), points, None)[..., :3].astype(int)
        return ((panels[..., 0] > 150) & (panels[..., 1] < 90)).sum() / count

    assert 0 < red_pixels(21) < 0.75 * red_pixels(20)


@pytest.mark.parametrize(
    ("size", "panel_width"),
    [((1, 3000), 8), ((3000, 1), 4 * PANEL_HEIGHT), ((1, 1), PANEL_HEIGHT)],
)
def test_panels_of_extreme_images_are_neither_too_thin_nor_too_wide(size, panel_width):
    maps = np.zeros((8, 8), np.float32)
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    panels = draw_panels(rgb, [maps] * 3, size, np.empty((0, 2)), None)
    assert panels.shape == (PANEL_HEIGHT, 5 * panel_width + 4 * GAP, 3)
