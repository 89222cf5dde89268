"""Images, titles and labels of sheets, grids and galleries are where they belong."""

import numpy as np
import pytest

from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.drawing.grids import contact_sheet, gallery, stack, tile_box, tile_grid


def tile():
    """Return four images of 10 x 10 pixels, each of one grey."""
    return [np.full((10, 10, 3), value, np.uint8) for value in (10, 20, 30, 40)]


@pytest.mark.parametrize(("number", "shape"), [(1, (112, 112)), (3, (112, 324)), (5, (218, 430)), (8, (218, 430))])
def test_a_contact_sheet_is_as_large_as_its_images(number, shape):
    images = [np.full((50, 100, 3), (i, 0, 0), np.uint8) for i in range(number)]
    sheet = contact_sheet(images, columns=4, side=100)
    assert sheet.shape == (*shape, 3)
    for index in range(number):
        row, column = divmod(index, 4)
        assert (sheet[6 + 106 * row + 50, 6 + 106 * column : 106 * (column + 1)] == (index, 0, 0)).all()
    assert (sheet[:6] == 255).all() and (sheet[:, -6:] == 255).all()


def test_a_legend_is_below_the_images_of_a_contact_sheet():
    images = [np.full((50, 100, 3), 7, np.uint8)] * 3
    plain = contact_sheet(images, columns=3, side=100)
    names = ["beak", "crown", "wing", "left leg"]
    sheet = contact_sheet(images, columns=3, side=100, names=names)
    assert (sheet[: len(plain)] == plain).all()
    below = sheet[len(plain) :]
    assert below.shape == (2 * 34, plain.shape[1], 3)  # two names in each line of 324 pixels
    for number, (x, y) in enumerate([(20, 9), (150, 9), (20, 43), (150, 43)]):  # above the number on each disc
        assert tuple(below[y, x]) == keypoint_color(number)
    assert (below[:34, 40:80] < 100).any()  # a name
    long = contact_sheet(images, columns=3, side=100, names=["x" * 30, "y"])
    assert long.shape == sheet.shape  # one in each line


def test_tiles_of_four_are_below_their_titles():
    titles, row_labels, tile_labels = [("a", "b"), ("c", "d")], ["1", "2", "3"], [["0.5"] * 3] * 2
    grid = tile_grid(titles, row_labels, tile_labels, [[tile(), tile()[:1], tile()], [tile()] * 3], 10)
    top, left, width, height = 54, 56, 26, 42
    assert grid.shape == (top + 3 * height, left + 2 * width, 3)
    assert tile_box(0, 0, 10) == (left, top, 20, 20)

    assert grid[top : top + 20 : 10, left : left + 20 : 10, 0].tolist() == [[10, 20], [30, 40]]
    second = grid[top + height :, left:]
    assert second[:20:10, :20:10, 0].tolist() == [[10, 255], [255, 255]]

    assert (second[20:36, :20] < 255).any()  # the label of the tile
    assert (grid[:top] < 255).any() and (grid[top:, :left] < 255).any()  # the titles, and the labels of the rows


def test_a_gallery_is_in_reading_order():
    drawn = gallery("name", [(("a", "b"), tile())] * 5, columns=3, side=10)
    assert drawn.shape == (22 + 2 * 58, 6 + 3 * 26, 3)
    assert drawn[22 + 32 : 22 + 52 : 10, 6:26:10, 0].tolist() == [[10, 20], [30, 40]]
    assert (drawn[22 + 58 :, 6 + 2 * 26 :] == 255).all()  # there is no sixth tile


def test_stacked_images_have_white_beside_the_narrower_one():
    wide, narrow = np.full((20, 80, 3), 10, np.uint8), np.full((30, 50, 3), 20, np.uint8)
    both = stack([wide, narrow])
    assert both.shape == (50, 80, 3)
    assert (both[:20] == 10).all() and (both[20:, :50] == 20).all() and (both[20:, 50:] == 255).all()
