"""A folder of drawings is complete or unchanged, and no two drawings have the same name."""

import numpy as np
import pytest

from lmpnet_cli.drawing.image_writer import ImageWriter, drawing_names


def grey(value):
    return lambda: np.full((20, 30, 3), value, np.uint8)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_all(out, names, wanted=True, commit=True):
    with ImageWriter(out, "overlays", names, wanted, "overview.jpg") as writer:
        for number, name in enumerate(names):
            writer.add(name, grey(40 * number))
        if commit:
            writer.commit()


def test_drawings_replace_those_of_an_earlier_run(tmp_path):
    write_all(tmp_path, ["a.jpg", "sub/b.png"])
    assert set(contents(tmp_path)) == {"overlays/a.jpg", "overlays/sub/b.jpg", "overview.jpg"}
    write_all(tmp_path, ["c.jpg"])
    assert set(contents(tmp_path)) == {"overlays/c.jpg", "overview.jpg"}
    write_all(tmp_path, ["c.jpg"], wanted=False)
    assert contents(tmp_path) == {}


def test_without_commit_nothing_changes(tmp_path):
    write_all(tmp_path, ["a.jpg"])
    before = contents(tmp_path)
    write_all(tmp_path, ["b.jpg"], commit=False)
    assert contents(tmp_path) == before
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), ImageWriter(tmp_path, "overlays", ["b.jpg"], True) as writer:
            writer.add("b.jpg", grey(1))
            raise error
    assert contents(tmp_path) == before


def test_an_error_in_a_thread_is_not_lost(tmp_path):
    def failing():
        raise ValueError("no drawing")

    with (
        pytest.raises(ValueError, match="no drawing"),
        ImageWriter(tmp_path / "new", "overlays", ["a"], True) as writer,
    ):
        writer.add("a", failing)
        writer.commit()
    assert not (tmp_path / "new").exists()


def test_no_two_drawings_have_the_same_name():
    names = ["a.gif", "a.jpg", "a.jpg.png", "a.png", "b/a.png", "c.JPG"]
    mapped = drawing_names(names)
    assert (mapped["a.jpg"], mapped["b/a.png"], mapped["c.JPG"]) == ("a.jpg", "b/a.jpg", "c.jpg")
    assert len(set(mapped.values())) == len(names)
    awkward = ["b.jpg", "b.png", "b.png.jpg", "b.png.png"]
    assert len(set(drawing_names(awkward).values())) == 4


def test_every_name_gets_a_drawing(tmp_path):
    """A folder may have the name of a drawing, and a name may be as long as the file system allows."""
    long = "n" * 251
    names = ["a.jpg/b.png", "a.png", f"{long}.jpg", f"{long}.png", f"sub/{long}.gif", f"sub/{long}.jpg"]
    write_all(tmp_path, names)
    drawn = [path for path in (tmp_path / "overlays").rglob("*") if path.is_file()]
    assert len(drawn) == len(names)
    assert drawing_names(names)["a.png"] == "a.png.jpg"


def test_drawings_of_a_killed_run_are_removed(tmp_path):
    with ImageWriter(tmp_path, "panels", ["a.jpg"], True) as writer:
        writer.add("a.jpg", grey(1))
        writer.settle()
        writer.kept = True  # as if it had been killed
    assert (tmp_path / ".panels-new" / "a.jpg").exists()
    with ImageWriter(tmp_path, "panels", ["b.jpg"], True) as writer:
        writer.add("b.jpg", grey(2))
        writer.commit()
    assert set(contents(tmp_path)) == {"panels/b.jpg"}
