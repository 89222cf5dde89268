"""Folders of drawings: whole or as they were, no two of one name; and what panels show."""

import numpy as np
import pytest
from PIL import Image

from lmpnet_cli.drawing.grids import GAP
from lmpnet_cli.drawing.image_writer import ImageWriter, drawing_names
from lmpnet_cli.drawing.panels import PANEL_SIDE, draw_panels


def grey(value):
    return lambda: np.full((20, 30, 3), value, np.uint8)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make(out, names, wanted=True, commit=True):
    with ImageWriter(out, "overlays", names, wanted, "overview.jpg") as drawings:
        for number, name in enumerate(names):
            drawings.add(name, grey(40 * number))
        if commit:
            drawings.commit()


def test_drawings_replace_those_of_an_earlier_run(tmp_path):
    make(tmp_path, ["a.jpg", "sub/b.png"])
    assert set(contents(tmp_path)) == {"overlays/a.jpg", "overlays/sub/b.jpg", "overview.jpg"}
    make(tmp_path, ["c.jpg"])
    assert set(contents(tmp_path)) == {"overlays/c.jpg", "overview.jpg"}
    make(tmp_path, ["c.jpg"], wanted=False)
    assert contents(tmp_path) == {}


def test_without_commit_all_is_as_it_was(tmp_path):
    make(tmp_path, ["a.jpg"])
    before = contents(tmp_path)
    make(tmp_path, ["b.jpg"], commit=False)
    assert contents(tmp_path) == before
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), ImageWriter(tmp_path, "overlays", ["b.jpg"], True) as drawings:
            drawings.add("b.jpg", grey(1))
            raise error
    assert contents(tmp_path) == before


def test_an_error_in_a_thread_is_not_lost(tmp_path):
    def failing():
        raise ValueError("no drawing")

    with (
        pytest.raises(ValueError, match="no drawing"),
        ImageWriter(tmp_path / "new", "overlays", ["a"], True) as drawings,
    ):
        drawings.add("a", failing)
        drawings.commit()
    assert not (tmp_path / "new").exists()


def test_names_are_one_to_one():
    names = ["a.gif", "a.jpg", "a.jpg.png", "a.png", "b/a.png", "c.JPG"]
    mapped = drawing_names(names)
    assert (mapped["a.jpg"], mapped["b/a.png"], mapped["c.JPG"]) == ("a.jpg", "b/a.jpg", "c.jpg")
    assert len(set(mapped.values())) == len(names)
    awkward = ["b.jpg", "b.png", "b.png.jpg", "b.png.png"]
    assert len(set(drawing_names(awkward).values())) == 4


def test_panels_show_maps_and_points_in_order():
    """A white picture of 80 x 40 pixels: coarse at the left, fine at the right, one red and one green point."""
    coarse, fine = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    coarse[:, :2], fine[:, 6:] = 1, 1
    white = np.full((40, 80, 3), 255, np.uint8)
    panels = draw_panels(white, coarse, fine, (800, 400), np.array([[200.0, 100]]), np.array([[600.0, 300]]))
    width = 2 * PANEL_SIDE
    assert panels.shape == (PANEL_SIDE, 5 * width + 4 * GAP, 3)
    picture, warm, sharp, found, true = (panels[:, i * (width + GAP) :][:, :width].astype(int) for i in range(5))
    assert picture.min() == 255
    assert warm[:, :40].mean() < warm[:, -40:].mean() - 20  # a heat colour is darker than white
    assert sharp[:, -40:].mean() < sharp[:, :40].mean() - 20
    y, x = PANEL_SIDE // 4, width // 4
    assert found[y, x, 0] > 200 and found[y, x, 1:].max() < 60
    assert true[3 * y, 3 * x, 1] > 150 and true[3 * y, 3 * x, [0, 2]].max() < 60
    assert found[3 * y, 3 * x].min() == true[y, x].min() == 255


def test_panels_of_extreme_pictures(tmp_path):
    maps = np.zeros((8, 8), np.float32)
    for size in ((1, 3000), (3000, 1), (1, 1)):
        rgb = np.zeros((size[1], size[0], 3), np.uint8)
        panels = draw_panels(rgb, maps, maps, size, np.empty((0, 2)), None)
        assert panels.shape[0] == PANEL_SIDE
        Image.fromarray(panels).save(tmp_path / "a.png")


def test_no_name_of_a_drawing_stops_the_others(tmp_path):
    """A folder that is called like a drawing, and names as long as a file system takes."""
    long = "n" * 251
    names = ["a.jpg/b.png", "a.png", f"{long}.jpg", f"{long}.png", f"sub/{long}.gif", f"sub/{long}.jpg"]
    make(tmp_path, names)
    drawn = [path for path in (tmp_path / "overlays").rglob("*") if path.is_file()]
    assert len(drawn) == len(names)
    assert drawing_names(names)["a.png"] == "a.png.jpg"


def test_drawings_of_a_killed_run_are_not_taken_for_new_ones(tmp_path):
    with ImageWriter(tmp_path, "panels", ["a.jpg"], True) as drawings:
        drawings.add("a.jpg", grey(1))
        drawings.settle()
        drawings.kept = True  # as if it had been killed
    assert (tmp_path / ".panels-new" / "a.jpg").exists()
    with ImageWriter(tmp_path, "panels", ["b.jpg"], True) as drawings:
        drawings.add("b.jpg", grey(2))
        drawings.commit()
    assert set(contents(tmp_path)) == {"panels/b.jpg"}
