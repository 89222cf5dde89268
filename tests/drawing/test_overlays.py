"""Discs are on their keypoints at any size of the image, and `fit` keeps the whole image."""

import math

import numpy as np
import pytest

from lmpnet_cli.drawing.colors import COLORS
from lmpnet_cli.drawing.overlays import draw_overlay, fit
from lmpnet_cli.keypoints import Keypoints

NAN = math.nan
GREY = (90, 90, 90)


def grey(height, width):
    return np.full((height, width, 3), GREY, np.uint8)


def keypoints(width, height, *xy):
    xy = np.array(xy, dtype=np.float64).reshape(-1, 2)
    return Keypoints("a.jpg", width, height, xy, np.where(np.isnan(xy[:, 0]), NAN, 1.0))


def centre_of(image, color):
    """Return x, y of the middle of all pixels of this colour."""
    rows, columns = np.nonzero((image == color).all(2))
    assert len(rows), f"nothing is drawn in {color}"
    return (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (400, 300, (400, 300)),
        (2048, 1024, (1024, 512)),
        (8, 8, (320, 320)),
        (3000, 100, (1024, 48)),  # 34 rows, and white below
        (100, 3000, (48, 1024)),
        (1, 1, (320, 320)),
    ],
)
def test_a_disc_is_on_its_keypoint_at_any_size(width, height, expected):
    x, y = 0.7 * width - 0.5, 0.5 * height - 0.5
    overlay = draw_overlay(grey(height, width), [keypoints(width, height, (x, y))])
    assert (overlay.shape[1], overlay.shape[0]) == expected and overlay.dtype == np.uint8

    scale = max(expected) / max(width, height)
    position = np.array([x + 0.5, y + 0.5]) * scale - 0.5
    whole = np.minimum(position, np.array(expected) - position) > 22  # a thin image cuts the disc on two sides
    assert whole.any()
    assert np.array(centre_of(overlay, COLORS[0]))[whole] == pytest.approx(position[whole], abs=1.0)
    assert (overlay[0, 0] == GREY).all()


def test_a_preview_at_reduced_scale_shows_the_same_positions():
    overlay = draw_overlay(grey(300, 400), [keypoints(4000, 3000, (1000, 2000), (NAN, NAN), (3500, 500))])
    assert overlay.shape == (300, 400, 3)
    for color, (x, y) in ((COLORS[0], (1000, 2000)), (COLORS[2], (3500, 500))):
        assert centre_of(overlay, color) == pytest.approx([(x + 0.5) / 10 - 0.5, (y + 0.5) / 10 - 0.5], abs=1.0)
    assert not (overlay == COLORS[1]).all(2).any()  # the missing one


def test_a_disc_is_round_ringed_and_numbered():
    overlay = draw_overlay(grey(500, 500), [keypoints(500, 500, (250, 250))])
    drawn = (overlay != GREY).any(2)
    rows, columns = np.nonzero(drawn)
    assert np.ptp(rows) == np.ptp(columns) == pytest.approx(2 * 12, abs=2)
    assert drawn.sum() == pytest.approx(math.pi * 13**2, rel=0.1)
    assert (overlay[250, 239] < 60).all() and (overlay[250, 241] == COLORS[0]).all()  # the ring, and inside
    number = (overlay[244:257, 244:257] == 0).all(2)  # written in black on the disc
    assert 5 < number.sum() < 80


def test_the_first_keypoint_is_on_top():
    overlay = draw_overlay(grey(400, 400), [keypoints(400, 400, *[(200, 200)] * 3)])
    assert (overlay == COLORS[0]).all(2).any() and not (overlay == COLORS[1]).all(2).any()


def test_colours_repeat_after_the_last_one():
    count = len(COLORS) + 2
    many = keypoints(60 * count, 400, *[(60 * i + 40, 200) for i in range(count)])
    overlay = draw_overlay(grey(400, 60 * count), [many])
    scale = overlay.shape[1] / (60 * count)
    for number in range(count):
        x, y = round((60 * number + 40) * scale), round(200 * scale)
        disc = overlay[y - 8 : y + 8, x - 14 : x + 15]
        assert (disc == COLORS[number % len(COLORS)]).all(2).any()


def test_many_keypoints_are_dots_without_numbers():
    def drawn(*xy):
        """Return how many pixels the first keypoint covers, and whether it has a number."""
        first = draw_overlay(grey(400, 400), [keypoints(400, 400, *xy)])[:, :30]
        return (first != GREY).any(2).sum(), (first[197:204, 17:24] < 30).all(2).any()

    row = [(20 + 18 * index, 200) for index in range(21)]
    (dot, dot_has_number), (disc, disc_has_number) = drawn(*row), drawn(*row[:20])
    assert 0 < dot < disc / 2 and disc_has_number and not dot_has_number
    assert drawn(*row[:20], *[(NAN, NAN)] * 9) == (disc, True)  # missing ones do not count


@pytest.mark.parametrize("shape", [(400, 400), (8, 8), (2000, 2000)])
def test_the_image_of_the_caller_is_not_changed(shape):
    rgb = grey(*shape)
    rgb.setflags(write=False)  # as arrays made from Pillow images are
    overlay = draw_overlay(rgb, [keypoints(shape[1], shape[0], (1, 1))])
    assert (overlay != GREY).any() and (rgb == GREY).all()


@pytest.mark.parametrize("position", [(-0.5, -0.5), (399.5, 299.5), (0, 299)])
def test_a_keypoint_on_the_border_is_drawn_as_far_as_it_is_visible(position):
    overlay = draw_overlay(grey(300, 400), [keypoints(400, 300, position)])
    assert overlay.shape == (300, 400, 3) and (overlay == COLORS[0]).all(2).any()


@pytest.mark.parametrize(("height", "width"), [(50, 100), (400, 200), (1, 1000), (3, 3)])
def test_fit_centres_the_whole_image_on_white(height, width):
    square = fit(grey(height, width), 40)
    rows, columns = np.nonzero((square == GREY).all(2))
    scale = 40 / max(height, width)
    assert square.shape == (40, 40, 3)
    assert np.ptp(rows) + 1 == max(1, round(height * scale)) and np.ptp(columns) + 1 == max(1, round(width * scale))
    assert abs(rows.mean() - 19.5) <= 0.5 and abs(columns.mean() - 19.5) <= 0.5
