"""What is exported is read back by other readers: the same names and, within the rounding of the format, positions."""

import contextlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from spreadsheets import original, rows_of

from lmpnet_cli.errors import DatasetError
from lmpnet_cli.export.convert import write_format
from lmpnet_cli.export.formats import Document, read_document
from lmpnet_cli.export.formats.cvat import check_names
from lmpnet_cli.export.formats.format import Destination
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import NO_OBJECT, Keypoints

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
FEWER = settings(FEW, max_examples=15)
Points = dict[str, list[np.ndarray]]  # file name -> (K, 2) positions of each object, NaN where missing

# ---- what people export -------------------------------------------------------------------------------------------

ODD = ("=1+1", "+a", "-b", "@c", "'=d", "ü", "u\u0308", 'say "x"', "a,b", "a;b", "a\nb", "a\r\nb", "\t", "images",
       "labels", "a.txt", "a_png.png", "100%", "#1", "&lt;", " a ", "鳥", "😀", "x" * 60, "NA", "nan", "1", "CON")  # fmt: skip
PARTS = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8)  # fmt: skip
FOLDERS = PARTS.filter(lambda part: part not in (".", ".."))
SUFFIXES = st.sampled_from([".jpg", ".png", ".JPG", ".jpeg", ".webp", ".tiff"])
FILES = st.builds(lambda folders, stem, suffix: "/".join([*folders, stem + suffix]), st.lists(FOLDERS, max_size=4), PARTS, SUFFIXES)  # fmt: skip
# parts are named by people and by other programs; control characters do not fit into XML
NAMES = st.sampled_from([name for name in ODD if name != "\t"]) | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1, max_size=6)  # fmt: skip


@st.composite
def found(draw, several: bool = True) -> tuple[list[Keypoints], list[str]]:
    """Draw the results of a run: images with any names, and keypoints at any positions on them."""
    files = draw(st.lists(FILES, min_size=1, max_size=5, unique=True))
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    assume(not folders.intersection(files))  # no file system has both
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    windows = draw(st.booleans())

    results = []
    for name in sorted(files):
        width, height = draw(st.integers(1, 5000)), draw(st.integers(1, 5000))
        count = draw(st.integers(0 if windows else 1, 3 if several and windows else 1))
        for _ in range(count):
            points = [draw(st.none() | st.tuples(inside(width), inside(height))) for _ in names]
            xy = np.array([(np.nan, np.nan) if each is None else each for each in points], np.float64)
            scores = np.where(np.isnan(xy[:, 0]), np.nan, draw(st.floats(0, 1)))
            window = (0.0, 0.0, float(width), float(height)) if windows else None
            results.append(Keypoints(name, width, height, xy, scores, window=window))
        if not count:
            empty = np.full(len(names), np.nan)
            results.append(Keypoints(name, width, height, np.stack([empty, empty], 1), empty, window=NO_OBJECT))
    return results, names


def inside(side: int) -> st.SearchStrategy[float]:
    return st.floats(0, side - 1) | st.sampled_from([0.0, side - 1.0])


# names that differ in their suffix alone, that other images get in an export, and that begin like a formula
TWINS = [
    Keypoints(name, 9, 7, np.array([[0.0, 0.0], [8.0, 6.0]]), np.ones(2))
    for name in sorted(
        ["a.jpg", "a.png", "a_png.png", "images/a.jpg", "images_/a.jpg", "b.txt/c.jpg", "b.jpg", "=1.jpg"]
    )
]
MISSING_FIRST = [
    Keypoints("a.jpg", 9, 7, np.full((1, 2), np.nan), np.full(1, np.nan)),
    Keypoints("b.jpg", 9, 7, np.ones((1, 2)), np.ones(1)),
]


# ---- the export of an example -------------------------------------------------------------------------------------


@dataclass
class Export:
    """The files of an export, and what they must say.

    Attributes:
        document: as the export reads it.
        expected: positions by image and object, with two decimals as in keypoints.json.
    """

    folder: Path
    document: Document
    files: list[Path]

    @property
    def expected(self) -> Points:
        return {objects[0].file_name: [each.xy for each in objects] for objects in self.document.images}

    @property
    def found_only(self) -> Points:
        """Return only objects with a keypoint."""
        with_points = {
            name: [xy for xy in objects if not np.isnan(xy).all()] for name, objects in self.expected.items()
        }
        return {name: objects for name, objects in with_points.items() if objects}


@contextlib.contextmanager
def export(example: tuple[list[Keypoints], list[str]], to: str, **options) -> Iterator[Export]:
    results, names = example
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        info = {"objects": "all"} if results[0].window else {}
        write_json(folder / "keypoints.json", to_coco(results, info, names))
        document = read_document(folder / "keypoints.json")
        assert list(document.names) == names
        images = {}
        for objects in document.images:
            name = objects[0].file_name
            images[name] = folder / "photos" / name
            images[name].parent.mkdir(parents=True, exist_ok=True)
            images[name].write_text(f"pixels of {name}", encoding="utf-8", newline="")
        files = write_format(document, to, Destination(folder / "out", images, [folder / "photos"], **options)).files
        yield Export(folder / "out", document, files)


def check(read: Points, expected: Points, tolerance: float = 1e-9) -> None:
    assert set(read) == set(expected)
    for name, objects in expected.items():
        np.testing.assert_allclose(np.array(read[name]), np.array(objects), rtol=0, atol=tolerance, err_msg=name)


def coco_points(flat: list[float]) -> np.ndarray:
    points = np.array(flat, np.float64).reshape(-1, 3)
    return np.where(points[:, 2:] > 0, points[:, :2], np.nan)


def pixels(path: Path) -> str:
    return path.read_bytes().decode()


# ---- formats ------------------------------------------------------------------------------------------------------


@FEW
@given(found())
@example((TWINS, ["x", "y"]))
def test_keypoints_json_holds_what_was_found(example):
    results, _ = example
    with export(example, "coco-results") as done:
        # two decimals; a keypoint in the corner is moved by a hundredth of a pixel
        images = {each.file_name: [] for each in results}
        for each in results:
            images[each.file_name].append(each.xy)
        check(done.expected, images, tolerance=0.0101)


@FEW
@given(found())
def test_coco_results(example):
    from pycocotools.coco import COCO

    with export(example, "coco-results") as done, contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(done.folder.parent / "keypoints.json"))
        read: Points = {}
        if done.found_only:
            results = truth.loadRes(str(done.files[0]))
            for entry in results.loadAnns(results.getAnnIds()):
                name = truth.loadImgs(entry["image_id"])[0]["file_name"]
                read.setdefault(name, []).append(coco_points(entry["keypoints"]))
        check(read, done.found_only)


@FEW
@given(found())
@example((TWINS, ["x", "y"]))
def test_fiftyone(example):
    from pycocotools.coco import COCO

    with export(example, "fiftyone") as done, contextlib.redirect_stdout(io.StringIO()):
        labels = COCO(str(done.folder / "labels.json"))
        read: Points = {}
        for image in labels.loadImgs(labels.getImgIds()):
            name = image["file_name"]
            assert pixels(done.folder / "data" / name) == f"pixels of {name}"
            objects = labels.loadAnns(labels.getAnnIds(imgIds=image["id"]))
            read[name] = [coco_points(each["keypoints"]) for each in objects]
        expected = {
            objects[0].file_name: [each.xy for each in objects if not each.empty] for objects in done.document.images
        }
        check(read, expected)
        assert labels.loadCats(1)[0]["keypoints"] == list(done.document.names)


@FEW
@given(found(), st.booleans())
@example((TWINS, ["=x", "y"]), True)
def test_csv(example, excel):
    with export(example, "csv", excel=excel) as done:
        text = done.files[0].read_bytes().decode("utf-8-sig" if excel else "utf-8")
        header, *rows = rows_of(text, ";" if excel else ",")
        read: dict[str, dict[int, list[tuple[float, float]]]] = {}
        names = set()
        for row in rows:
            cells = dict(zip(header, row, strict=True))
            x, y = (float(cells[axis].replace(",", ".") or "nan") for axis in "xy")
            assert cells["visible"] == str(int(x == x)) and (cells["score"] == "") == (x != x)
            objects = read.setdefault(original(cells["file"]), {})
            objects.setdefault(int(cells.get("object", 1)), []).append((x, y))
            names.add(original(cells["keypoint"]))
        check({name: list(map(np.array, objects.values())) for name, objects in read.items()}, done.expected)
        assert names == set(done.document.names)


@FEW
@given(found())
def test_csv_is_the_same_for_pandas(example):
    pandas = pytest.importorskip("pandas")
    with export(example, "csv") as done:
        table = pandas.read_csv(done.files[0], keep_default_na=False, na_values={"x": [""], "y": [""], "score": [""]})
        assert set(map(original, table["file"].astype(str))) == set(done.expected)
        expected = np.concatenate([xy for objects in done.expected.values() for xy in objects])
        np.testing.assert_allclose(table[["x", "y"]].to_numpy(float), expected)


@FEWER
@given(found(several=False))
@example((MISSING_FIRST, ["=x"]))
def test_deeplabcut_predictions(example):
    pandas = pytest.importorskip("pandas")
    with export(example, "dlc") as done:
        frame = pandas.read_csv(done.files[0], header=[0, 1, 2], index_col=0, keep_default_na=False, na_values=[""])
        read = {
            original(str(name)): [row.reshape(-1, 3)[:, :2]]
            for name, row in zip(frame.index, frame.to_numpy(float), strict=True)
        }
        check(read, done.expected)
        if len(done.files) == 2:  # HDF5 has the names as they are
            frame = pandas.read_hdf(done.files[1], "df_with_missing")
            read = {name: [row.reshape(-1, 3)[:, :2]] for name, row in zip(frame.index, frame.to_numpy(), strict=True)}
            check(read, done.expected)
            assert list(dict.fromkeys(frame.columns.get_level_values("bodyparts"))) == list(done.document.names)


@FEWER
@given(found(several=False))
@example((TWINS, ["x", "y"]))
@example((MISSING_FIRST, ["=x"]))
def test_deeplabcut_labels(example):
    pandas = pytest.importorskip("pandas")
    with export(example, "dlc", scorer="Me") as done:
        read: Points = {}
        for table in done.folder.rglob("CollectedData_Me.csv"):
            frame = pandas.read_csv(table, header=[0, 1, 2], index_col=[0, 1, 2], keep_default_na=False, na_values=[""])
            for row, values in zip(frame.index, frame.to_numpy(float), strict=True):
                name = pixels(done.folder.joinpath(*map(str, row))).removeprefix("pixels of ")
                read[name] = [values.reshape(-1, 2)]
            if table.with_suffix(".h5").exists():
                binary = pandas.read_hdf(table.with_suffix(".h5"), "df_with_missing")
                np.testing.assert_equal(binary.to_numpy(), frame.to_numpy(float))
                assert [tuple(map(str, row)) for row in frame.index] == list(binary.index)
        check(read, done.expected)


@FEW
@given(found())
def test_label_studio(example):
    with export(example, "label-studio", image_prefix="http://x/") as done:
        tasks = json.loads(done.files[0].read_text())
        labels = [each.get("value") for each in ElementTree.parse(done.files[1]).getroot().iter("Label")]
        assert labels == list(done.document.names)

        regions: dict[str, list[tuple[str, float, float]]] = {}
        for task in tasks:
            name = unquote(task["data"]["image"].removeprefix("http://x/"))
            for region in task["predictions"][0]["result"]:
                value, size = region["value"], (region["original_width"], region["original_height"])
                x, y = (value[axis] * side / 100 - 0.5 for axis, side in zip("xy", size, strict=True))
                (label,) = value["keypointlabels"]
                regions.setdefault(name, []).append((label, x, y))
        for name, objects in done.found_only.items():
            expected = [
                (label, *point)
                for xy in objects
                for label, point in zip(labels, xy.tolist(), strict=True)
                if point[0] == point[0]
            ]
            read = regions.pop(name)
            assert [label for label, *_ in read] == [label for label, *_ in expected]
            np.testing.assert_allclose([xy for _, *xy in read], [xy for _, *xy in expected], atol=5000 * 1e-6)
        assert not regions
        assert [unquote(task["data"]["image"].removeprefix("http://x/")) for task in tasks] == list(done.expected)


@given(st.lists(st.text(max_size=5), unique=True, min_size=1, max_size=4))
@settings(FEWER)
@example(["\0", "\x1b[2J", "\udcff", "\ufffe", "\x85", "\r\n\t", "<&>"])
def test_names_in_xml_are_those_of_the_other_files(names):
    xy = np.ones((len(names), 2))
    example = ([Keypoints("a.jpg", 9, 9, xy, np.ones(len(names)))], names)
    with export(example, "label-studio") as done:
        labels = [each.get("value") for each in ElementTree.parse(done.files[1]).getroot().iter("Label")]
        regions = json.loads(done.files[0].read_text())[0]["predictions"][0]["result"]
        assert [region["value"]["keypointlabels"] for region in regions] == [[label] for label in labels]
    with export(example, "cvat") as done:
        with zipfile.ZipFile(done.files[0]) as archive:
            coco = json.loads(archive.read("annotations/person_keypoints_default.json"))
        (label,) = json.loads(done.files[1].read_text())
        svg = ElementTree.fromstring(f"<svg>{label['svg']}</svg>")
        assert [node.get("data-label-name") for node in svg.iter("circle")] == coco["categories"][0]["keypoints"]


@FEW
@given(found())
def test_cvat(example):
    try:
        check_names(sorted({each.file_name for each in example[0]}))
    except DatasetError:
        assume(False)
    with export(example, "cvat") as done:
        with zipfile.ZipFile(done.files[0]) as archive:
            coco = json.loads(archive.read("annotations/person_keypoints_default.json"))
        names = {image["id"]: image["file_name"] for image in coco["images"]}
        assert list(names.values()) == list(done.expected)
        read: Points = {}
        for each in coco["annotations"]:
            read.setdefault(names[each["image_id"]], []).append(coco_points(each["keypoints"]))
        check(read, done.found_only)

        (label,) = json.loads(done.files[1].read_text())
        svg = ElementTree.fromstring(f"<svg>{label['svg']}</svg>")
        assert [node.get("data-label-name") for node in svg.iter("circle")] == list(done.document.names)
        assert [each["name"] for each in label["sublabels"]] == list(done.document.names)


@FEW
@given(found())
@example((TWINS, ["left x", "right x"]))
def test_yolo_pose(example):
    with export(example, "yolo-pose") as done:
        sizes = {each.file_name: np.array([each.width, each.height]) for each in done.document.results}
        read: Points = {}
        labels = set()
        for image in (done.folder / "images").rglob("*"):
            if not image.is_file():
                continue
            name = pixels(image).removeprefix("pixels of ")
            label = "/labels/".join(str(image).rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"  # Ultralytics' rule
            assert label not in labels
            labels.add(label)
            lines = Path(label).read_text().splitlines()
            for line in lines:
                kind, *cells = map(float, line.split())
                points = np.array(cells[4:]).reshape(-1, 3)
                assert kind == 0 and all(0 <= each <= 1 for each in cells[:4])
                assert ((points[:, :2] >= 0) & (points[:, :2] <= 1)).all() and set(points[:, 2]) <= {0, 2}
                xy = np.where(points[:, 2:] > 0, points[:, :2] * sizes[name] - 0.5, np.nan)
                read.setdefault(name, []).append(xy)
        assert len(labels) == len(sizes)
        assert labels == {str(each) for each in (done.folder / "labels").rglob("*") if each.is_file()}
        check(read, done.found_only, tolerance=5000 * 1e-6)
