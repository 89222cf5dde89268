"""A heat map is warmest where its map is largest, and an image without activation stays as it is."""

import numpy as np
import pytest
import skimage.data

from lmpnet_cli.drawing.heatmaps import heat_overlay, muted
from lmpnet_cli.keypoints import cells_to_pixels


def warmest(cell, width, height):
    """Return rows and columns of the warmest pixels over a black image, where one cell of 14 x 14 is active."""
    activation = np.zeros((14, 14), np.float32)
    activation[cell] = 2.0
    heat = heat_overlay(np.zeros((height, width, 3), np.uint8), activation, top=2.0).astype(float).sum(2)
    return np.nonzero(heat == heat.max())


@pytest.mark.parametrize(("width", "height"), [(140, 280), (333, 100)])
@pytest.mark.parametrize("cell", [(0, 0), (3, 9), (13, 6)])
def test_heat_is_warmest_at_the_centre_of_its_cell(width, height, cell):
    rows, columns = warmest(cell, width, height)
    expected = cells_to_pixels(np.array(cell[0]), np.array(cell[1]), (14, 14), (width, height))
    # interpolation has no second cell beyond the border, so the maximum is a plateau there
    tolerance = np.array([width, height]) / 28 if min(cell) == 0 or max(cell) == 13 else 1.0
    assert (np.abs(np.array([columns.mean(), rows.mean()]) - expected) <= tolerance).all()


@pytest.mark.parametrize(("width", "height"), [(140, 280), (333, 100)])
def test_heat_has_a_peak_inside_the_image(width, height):
    rows, _ = warmest((3, 9), width, height)
    assert len(rows) < width * height / 14**2 / 4


def test_heat_leaves_an_image_without_activation_unchanged_and_is_limited_to_the_top():
    astronaut = skimage.data.astronaut()
    zeros, ones = np.zeros((7, 7), np.float32), np.ones((7, 7), np.float32)
    np.testing.assert_array_equal(heat_overlay(astronaut, zeros, top=1.0), astronaut)
    np.testing.assert_array_equal(heat_overlay(astronaut, zeros, top=0.0), astronaut)
    np.testing.assert_array_equal(heat_overlay(astronaut, 9 * ones, 1.0), heat_overlay(astronaut, ones, 1.0))


def test_a_muted_image_keeps_its_shapes_and_loses_its_colours():
    astronaut = skimage.data.astronaut()
    pale = muted(astronaut)
    assert pale.shape == astronaut.shape and pale.dtype == np.uint8
    assert np.ptp(pale, axis=2).mean() < 0.3 * np.ptp(astronaut, axis=2).mean()
    assert np.corrcoef(pale.mean(2).ravel(), astronaut.mean(2).ravel())[0, 1] > 0.98
    assert pale.min() > 70
