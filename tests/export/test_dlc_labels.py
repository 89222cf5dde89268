"""Labels for a project of DeepLabCut, read as DeepLabCut reads them."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lmpnet_cli.config import ConvertConfig
from lmpnet_cli.errors import DatasetError, OptionError, OutputError
from lmpnet_cli.export.convert import convert
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import Keypoints

NAN = np.nan
BODYPARTS = ("beak", "tail")
NAMES = ("a.jpg", "video1/a.jpg", "video1/deep/b.png", "video1/c.jpg")


def make_found(folder: Path, names=NAMES, hidden=()) -> Path:
    """Write photos and the results of a run on them; `hidden` images have no keypoint."""
    results = []
    for index, name in enumerate(names):
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / name).write_bytes(f"pixels of {name}".encode())
        xy = np.full((2, 2), NAN) if name in hidden else np.array([[index + 0.25, 7.5], [NAN, NAN]])
        results.append(Keypoints(name, 99, 99, xy, np.where(np.isnan(xy[:, 0]), NAN, 0.5)))
    write_json(folder / "found" / "keypoints.json", to_coco(results, {}, BODYPARTS))
    write_json(folder / "found" / "run.json", {"options": {"images": [str(folder / "photos")]}})
    return folder / "found"


@pytest.fixture
def found(tmp_path) -> Path:
    return make_found(tmp_path)


def read_as_deeplabcut(table: Path):
    """Read the table as `deeplabcut.convertcsv2h5` does: it looks for labeled-data in the fifth line."""
    pandas = pytest.importorskip("pandas")
    with table.open() as file:
        head = list(islice(file, 0, 5))
    assert "individuals" not in head[1]
    index = [0, 1, 2] if head[-1].split(",")[0] == "labeled-data" else 0
    return pandas.read_csv(table, index_col=index, header=[0, 1, 2])


def tables_of(out: Path, scorer: str = "Me") -> dict[str, Path]:
    return {path.parent.name: path for path in sorted(out.rglob(f"CollectedData_{scorer}.csv"))}


def test_each_folder_of_images_is_a_set_with_its_images_and_labels(found, tmp_path):
    out = tmp_path / "out"
    result = convert(found, to="dlc", labels="Me", out=out)
    assert result.files == [out / "labeled-data"] and "video_sets" in result.next and str(out) in result.next
    tables = tables_of(out)
    assert set(tables) == {"photos", "video1", "video1_deep"}

    read = {}
    for name, table in tables.items():
        frame = read_as_deeplabcut(table)
        assert frame.columns.names == ["scorer", "bodyparts", "coords"] and frame.index.names == [None] * 3
        assert list(frame.columns) == [("Me", part, coord) for part in BODYPARTS for coord in "xy"]
        for row, values in zip(frame.index, frame.to_numpy().tolist(), strict=True):
            assert row[:2] == ("labeled-data", name)
            read[(out.joinpath(*row)).read_bytes().decode()] = values  # the images are where the rows say
    expected = {f"pixels of {name}": [index + 0.25, 7.5, NAN, NAN] for index, name in enumerate(NAMES)}
    np.testing.assert_equal(read, expected)
    assert not any(path.is_symlink() for path in out.rglob("*"))


def test_the_header_has_empty_cells_as_pandas_writes_them(found, tmp_path):
    convert(found, to="dlc", labels="Me", out=tmp_path / "out")
    lines = (tmp_path / "out/labeled-data/video1/CollectedData_Me.csv").read_text().splitlines()
    assert lines[:4] == [
        "scorer,,,Me,Me,Me,Me",
        "bodyparts,,,beak,beak,tail,tail",
        "coords,,,x,y,x,y",
        "labeled-data,video1,a.jpg,1.25,7.5,,",
    ]


def test_hdf5_has_the_same_table(found, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    convert(found, to="dlc", labels="Me", out=tmp_path / "out")
    for table in tables_of(tmp_path / "out").values():
        binary = pandas.read_hdf(table.with_suffix(".h5"), "df_with_missing")
        pandas.testing.assert_frame_equal(binary, read_as_deeplabcut(table))


@pytest.mark.parametrize("hidden", [NAMES[1:2], NAMES[2:3], NAMES])
def test_images_without_keypoints_are_rows_too(hidden, tmp_path):
    found = make_found(tmp_path, hidden=hidden)
    convert(found, to="dlc", labels="Me", out=tmp_path / "out")
    rows = [row for table in tables_of(tmp_path / "out").values() for row in read_as_deeplabcut(table).index]
    assert len(rows) == 4 and all(row[0] == "labeled-data" for row in rows)


def test_names_that_would_meet_get_a_number(tmp_path):
    names = ("a/b/x.jpg", "a_b/x.jpg", "photos/x.jpg", "x.jpg", "a_b_2/x.jpg")
    convert(make_found(tmp_path, names), to="dlc", labels="Me", out=tmp_path / "out")
    content = {path.parent.name: path.read_text() for path in (tmp_path / "out").rglob("x.jpg")}
    assert content == {
        "a_b": "pixels of a_b/x.jpg",
        "a_b_2": "pixels of a_b_2/x.jpg",
        "a_b_3": "pixels of a/b/x.jpg",
        "photos": "pixels of x.jpg",
        "photos_2": "pixels of photos/x.jpg",
    }


def test_no_row_is_a_formula_and_every_row_names_its_image(tmp_path):
    names = ("=a.jpg", "_=a.jpg", "-v/+1;=2.jpg", "-v/b\nc.jpg", "'=q.jpg")
    convert(make_found(tmp_path, names), to="dlc", labels="Me", out=tmp_path / "out")
    found = set()
    for table in tables_of(tmp_path / "out").values():
        for row in read_as_deeplabcut(table).index:
            assert not any(cell[0] in "=+-@'" for cell in row)
            found.add((tmp_path / "out").joinpath(*row).read_bytes().decode().removeprefix("pixels of "))
    assert found == set(names)


def test_deep_folders_have_names_that_file_systems_allow(tmp_path):
    deep = "/".join(letter * 60 for letter in "abcdef")
    convert(make_found(tmp_path, (f"{deep}/x.jpg",)), to="dlc", labels="Me", out=tmp_path / "out")
    assert list(tables_of(tmp_path / "out")) == ["_".join(letter * 60 for letter in "def")]


def test_images_of_a_project_stay_where_they_are(tmp_path):
    """The frames of a project are exported into it: only tables are new, and other labels stay."""
    project = tmp_path / "project"
    make_found(tmp_path, ("video1/a.jpg", "video2/b.jpg"))
    project.mkdir()
    (tmp_path / "photos").rename(project / "labeled-data")
    mine = project / "labeled-data" / "video1" / "CollectedData_Me.csv"
    mine.write_text("set by hand")
    before = {path: path.lstat().st_ino for path in project.rglob("*")}

    options = {"to": "dlc", "out": project, "images": project / "labeled-data"}
    convert(tmp_path / "found", labels="lmpnet", **options)
    new = {path.name for path in project.rglob("*") if path not in before}
    assert new <= {"CollectedData_lmpnet.csv", "CollectedData_lmpnet.h5", ".exported-files.json"}
    assert {path: path.lstat().st_ino for path in before} == before and mine.read_text() == "set by hand"
    with pytest.raises(OutputError, match=r"already holds labeled-data/video1/CollectedData_Me\.csv"):
        convert(tmp_path / "found", labels="Me", **options)
    assert mine.read_text() == "set by hand"
    with pytest.raises(OutputError, match=r"CollectedData_Me\.csv already exists, and no earlier export wrote it"):
        convert(tmp_path / "found", labels="Me", overwrite=True, **options)
    assert mine.read_text() == "set by hand"
    mine.unlink()
    convert(tmp_path / "found", labels="Me", **options)
    mine.write_text("corrected by hand")
    convert(tmp_path / "found", labels="Me", overwrite=True, **options)
    assert mine.read_text().startswith("scorer,,,Me")


def test_a_second_export_leaves_the_labels_of_other_sets(found, tmp_path):
    out = tmp_path / "out"
    convert(found, to="dlc", labels="Me", out=out)
    corrected = tables_of(out)["video1_deep"]
    corrected.write_text("corrected by hand")
    few = make_found(tmp_path, NAMES[:2])
    convert(few, to="dlc", labels="Me", out=out, overwrite=True)
    assert corrected.read_text() == "corrected by hand" and (corrected.parent / "b.png").is_file()
    (out / "labeled-data" / "video1" / "a.jpg").write_bytes(b"changed")
    convert(few, to="dlc", labels="Me", out=out, overwrite=True)
    assert (out / "labeled-data" / "video1" / "a.jpg").read_bytes() == b"pixels of video1/a.jpg"
    listed = json.loads((out / ".exported-files.json").read_text())["files"]
    assert len([name for name in listed if not name.endswith((".csv", ".h5"))]) == 4
    assert all(name.startswith("labeled-data/") for name in listed)


def test_images_are_linked_on_request(found, tmp_path):
    convert(found, to="dlc", labels="Me", out=tmp_path / "out", link_images=True)
    link = tmp_path / "out" / "labeled-data" / "video1" / "a.jpg"
    assert link.readlink() == tmp_path / "photos" / "video1" / "a.jpg"


def test_predictions_have_no_images_and_need_none(found, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "away")
    files = convert(found, to="dlc", out=tmp_path / "out").files
    assert files[0] == tmp_path / "out" / "keypoints.csv" and "likelihood" in files[0].read_text()
    with pytest.raises(OptionError, match="--link-images cannot be combined with --to dlc without --labels"):
        convert(found, to="dlc", link_images=True)


@pytest.mark.parametrize("scorer", ["", " ", "a/b", "a\\b", ".hidden", "..", "a\nb", "\x7f", "a\0", "\ud800"])
def test_a_scorer_that_is_no_plain_name_is_refused(scorer):
    with pytest.raises(OptionError, match=r"(?s)^--labels .* cannot be part of a file name"):
        ConvertConfig(keypoints="x", to="dlc", labels=scorer)


@pytest.mark.parametrize("scorer", ["Me", "Jörg Müller", "a.b", "=me"])
def test_other_scorers_are_taken_as_they_are(scorer, found, tmp_path):
    convert(found, to="dlc", labels=scorer, out=tmp_path / "out")
    assert len(tables_of(tmp_path / "out", scorer)) == 3


def test_labels_are_refused_where_they_do_not_fit(found, tmp_path):
    with pytest.raises(OptionError, match="--labels cannot be combined with --to csv; remove one of them"):
        convert(found, to="csv", labels="Me")
    with pytest.raises(OptionError, match=r"x\.csv does not fit --to dlc\. Pass a folder"):
        convert(found, to="dlc", labels="Me", out=tmp_path / "x.csv")
    document = json.loads((found / "keypoints.json").read_text())
    document["annotations"].append(document["annotations"][0] | {"id": 99})
    write_json(tmp_path / "keypoints.json", document)
    with pytest.raises(DatasetError, match="has 2 objects, but this table of DeepLabCut"):
        convert(tmp_path, to="dlc", labels="Me", images=tmp_path / "photos", out=tmp_path / "out")
    document |= {
        "images": [document["images"][0] | {"frame": 0, "time": 0.0}],
        "annotations": document["annotations"][:1],
    }
    write_json(tmp_path / "keypoints.json", document)
    with pytest.raises(DatasetError, match="frames of a video are not files"):
        convert(tmp_path, to="dlc", labels="Me", images=tmp_path / "photos", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
