import math
import resource
import signal
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from lmpnet_cli.drawing.colors import COLORS
from lmpnet_cli.drawing.files import save_jpeg, save_png
from lmpnet_cli.drawing.grids import contact_sheet, gallery, stack, tile_grid
from lmpnet_cli.drawing.heatmaps import heat_overlay, muted
from lmpnet_cli.drawing.overlays import draw_overlay, fit
from lmpnet_cli.errors import OutputError
from lmpnet_cli.keypoints import Keypoints, cells_to_pixels

NAN = math.nan
GREY = (90, 90, 90)


def plain(height, width, color=GREY):
    return np.full((height, width, 3), color, np.uint8)


def keypoints(width, height, *xy):
    xy = np.array(xy, dtype=np.float64).reshape(-1, 2)
    return Keypoints("a.jpg", width, height, xy, np.where(np.isnan(xy[:, 0]), NAN, 1.0))


def centre_of(picture, color):
    """x, y of the middle of all pixels of this colour."""
    rows, columns = np.nonzero((picture == color).all(2))
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
def test_a_disc_lies_on_its_keypoint_at_any_size(width, height, expected):
    x, y = 0.7 * width - 0.5, 0.5 * height - 0.5
    overlay = draw_overlay(plain(height, width), keypoints(width, height, (x, y)))
    assert (overlay.shape[1], overlay.shape[0]) == expected and overlay.dtype == np.uint8
    scale = max(expected) / max(width, height)
    place = np.array([x + 0.5, y + 0.5]) * scale - 0.5
    whole = np.minimum(place, np.array(expected) - place) > 22  # across a thin strip the disc is cut off
    assert whole.any()
    assert np.array(centre_of(overlay, COLORS[0]))[whole] == pytest.approx(place[whole], abs=1.0)
    assert (overlay[0, 0] == GREY).all()


def test_a_preview_at_reduced_scale_shows_the_same_place():
    whole = draw_overlay(plain(300, 400), keypoints(4000, 3000, (1000, 2000), (NAN, NAN), (3500, 500)))
    assert whole.shape == (300, 400, 3)
    for color, (x, y) in ((COLORS[0], (1000, 2000)), (COLORS[2], (3500, 500))):
        assert centre_of(whole, color) == pytest.approx([(x + 0.5) / 10 - 0.5, (y + 0.5) / 10 - 0.5], abs=1.0)
    assert not (whole == COLORS[1]).all(2).any()  # the missing one


def test_a_disc_is_round_ringed_and_numbered():
    overlay = draw_overlay(plain(500, 500), keypoints(500, 500, (250, 250)))
    drawn = (overlay != GREY).any(2)
    rows, columns = np.nonzero(drawn)
    assert np.ptp(rows) == np.ptp(columns) == pytest.approx(2 * 12, abs=2)
    assert drawn.sum() == pytest.approx(math.pi * 13**2, rel=0.1)
    assert (overlay[250, 239] < 60).all() and (overlay[250, 241] == COLORS[0]).all()  # the ring, and inside
    number = (overlay[244:257, 244:257] == 0).all(2)  # written in black on the disc
    assert 5 < number.sum() < 80


def test_the_first_keypoint_lies_on_top_and_colours_start_again():
    overlay = draw_overlay(plain(400, 400), keypoints(400, 400, *[(200, 200)] * 3))
    assert (overlay == COLORS[0]).all(2).any() and not (overlay == COLORS[1]).all(2).any()
    many = keypoints(900, 400, *[(60 * i + 40, 200) for i in range(14)])
    overlay = draw_overlay(plain(400, 900), many)
    for number in range(14):
        corner = overlay[200 - 8 : 200 + 8, 60 * number + 40 - 14 : 60 * number + 40 + 15]
        assert (corner == COLORS[number % len(COLORS)]).all(2).any()


@pytest.mark.parametrize("shape", [(400, 400), (8, 8), (2000, 2000)])
def test_the_picture_of_the_caller_stays_as_it_is(shape):
    rgb = plain(*shape)
    rgb.setflags(write=False)  # as Pillow hands them out
    overlay = draw_overlay(rgb, keypoints(shape[1], shape[0], (1, 1)))
    assert (overlay != GREY).any() and (rgb == GREY).all()
    assert draw_overlay(rgb, keypoints(shape[1], shape[0])).shape == overlay.shape


@pytest.mark.parametrize("place", [(-0.5, -0.5), (399.5, 299.5), (0, 299)])
def test_a_keypoint_on_the_border_is_drawn_as_far_as_it_goes(place):
    overlay = draw_overlay(plain(300, 400), keypoints(400, 300, place))
    assert overlay.shape == (300, 400, 3) and (overlay == COLORS[0]).all(2).any()


@pytest.mark.parametrize(("number", "shape"), [(1, (112, 112)), (3, (112, 324)), (5, (218, 430)), (8, (218, 430))])
def test_a_contact_sheet_is_as_large_as_its_pictures(number, shape):
    pictures = [plain(50, 100, (i, 0, 0)) for i in range(number)]
    sheet = contact_sheet(pictures, columns=4, side=100)
    assert sheet.shape == (*shape, 3)
    for index in range(number):
        row, column = divmod(index, 4)
        assert (sheet[6 + 106 * row + 50, 6 + 106 * column : 106 * (column + 1)] == (index, 0, 0)).all()
    assert (sheet[:6] == 255).all() and (sheet[:, -6:] == 255).all()


@pytest.mark.parametrize(("height", "width"), [(50, 100), (400, 200), (1, 1000), (3, 3)])
def test_fit_centres_the_whole_picture_on_white(height, width):
    square = fit(plain(height, width), 40)
    rows, columns = np.nonzero((square == GREY).all(2))
    scale = 40 / max(height, width)
    assert square.shape == (40, 40, 3)
    assert np.ptp(rows) + 1 == max(1, round(height * scale)) and np.ptp(columns) + 1 == max(1, round(width * scale))
    assert abs(rows.mean() - 19.5) <= 0.5 and abs(columns.mean() - 19.5) <= 0.5


@pytest.mark.parametrize(("width", "height"), [(140, 280), (333, 100)])
@pytest.mark.parametrize("cell", [(0, 0), (3, 9), (13, 6)])
def test_heat_is_warmest_at_the_centre_of_its_cell(width, height, cell):
    activation = np.zeros((14, 14), np.float32)
    activation[cell] = 2.0
    heat = heat_overlay(plain(height, width, (0, 0, 0)), activation, top=2.0).astype(float).sum(2)
    rows, columns = np.nonzero(heat == heat.max())
    expected = cells_to_pixels(np.array(cell[0]), np.array(cell[1]), (14, 14), (width, height))
    assert len(rows) < width * height / 14**2 / 4 or cell != (3, 9)  # a peak, no block
    within = np.array([width, height]) / 28 if min(cell) == 0 or max(cell) == 13 else 1.0  # plateaus at the border
    assert (np.abs(np.array([columns.mean(), rows.mean()]) - expected) <= within).all()


def test_heat_leaves_a_silent_picture_alone_and_stops_at_the_top():
    astronaut = skimage.data.astronaut()
    zeros, ones = np.zeros((7, 7), np.float32), np.ones((7, 7), np.float32)
    np.testing.assert_array_equal(heat_overlay(astronaut, zeros, top=1.0), astronaut)
    np.testing.assert_array_equal(heat_overlay(astronaut, zeros, top=0.0), astronaut)
    np.testing.assert_array_equal(heat_overlay(astronaut, 9 * ones, 1.0), heat_overlay(astronaut, ones, 1.0))


def test_a_muted_picture_keeps_its_shapes_and_loses_its_colours():
    astronaut = skimage.data.astronaut()
    pale = muted(astronaut)
    assert pale.shape == astronaut.shape and pale.dtype == np.uint8
    assert np.ptp(pale, axis=2).mean() < 0.3 * np.ptp(astronaut, axis=2).mean()
    assert np.corrcoef(pale.mean(2).ravel(), astronaut.mean(2).ravel())[0, 1] > 0.98
    assert pale.min() > 70


def test_saved_files_are_pictures(tmp_path):
    astronaut = skimage.data.astronaut()
    save_png(tmp_path / "sub" / "a.png", astronaut)
    save_jpeg(tmp_path / "sub" / "b.PNG.jpg", astronaut)
    with Image.open(tmp_path / "sub" / "a.png") as png, Image.open(tmp_path / "sub" / "b.PNG.jpg") as jpeg:
        np.testing.assert_array_equal(np.asarray(png), astronaut)
        assert jpeg.format == "JPEG" and np.abs(np.asarray(jpeg).astype(int) - astronaut).mean() < 6
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["a.png", "b.PNG.jpg"]


@pytest.mark.parametrize("save", [save_jpeg, save_png])
def test_a_place_that_cannot_be_written_is_an_error_for_the_user(tmp_path, save):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        save(tmp_path / "file" / "a.jpg", plain(4, 4))


def test_tiles_of_four_stand_under_their_titles():
    colors = [np.full((10, 10, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    grid = tile_grid(
        [("a", "b"), ("c", "d")], ["1", "2", "3"], [["0.5"] * 3] * 2, [[colors, colors[:1], colors], [colors] * 3], 10
    )
    top, left, across, down = 54, 56, 26, 42
    assert grid.shape == (top + 3 * down, left + 2 * across, 3)
    assert grid[top : top + 20 : 10, left : left + 20 : 10, 0].tolist() == [[10, 20], [30, 40]]
    second = grid[top + down :, left:]
    assert second[:20:10, :20:10, 0].tolist() == [[10, 255], [255, 255]]
    assert (second[20:36, :20] < 255).any()  # its activation
    assert (grid[:top] < 255).any() and (grid[top:, :left] < 255).any()


def test_a_gallery_reads_like_a_page():
    colors = [np.full((10, 10, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    picture = gallery("name", [(("a", "b"), colors)] * 5, columns=3, side=10)
    assert picture.shape == (22 + 2 * 58, 6 + 3 * 26, 3)
    assert picture[22 + 32 : 22 + 52 : 10, 6:26:10, 0].tolist() == [[10, 20], [30, 40]]
    assert (picture[22 + 58 :, 6 + 2 * 26 :] == 255).all()  # no sixth
    both = stack([picture, picture[:, :50]])
    assert both.shape == (2 * picture.shape[0], picture.shape[1], 3)
    assert (both[picture.shape[0] :, :50] == picture[:, :50]).all() and (both[picture.shape[0] :, 50:] == 255).all()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.parametrize("save", [save_jpeg, save_png])
def test_a_picture_that_does_not_fit_on_the_disk_is_an_error(save, tmp_path):
    """Pillow alone leaves a file that is cut off, and says nothing, when a write stops in the middle."""
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    save(tmp_path / "whole", noise)
    most = (tmp_path / "whole").stat().st_size - 20
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, kept[1]))
        with pytest.raises(OutputError, match="Cannot write"):
            save(tmp_path / "a", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, handler)
    assert [*tmp_path.iterdir()] == [tmp_path / "whole"]
