"""Every format is read back by the library that it is for, or checked by its rules where that library is missing."""

import contextlib
import csv
import io
import json
import os
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from spreadsheets import rows_of
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.config import CONVERT_FORMATS, DiscoverConfig
from lmpnet_cli.config.convert import ONE_OBJECT, WITH_CATEGORY, WITH_IMAGES, WITH_SKELETON
from lmpnet_cli.errors import DatasetError, InputError, OptionError, OutputError
from lmpnet_cli.export import formats
from lmpnet_cli.export.convert import convert
from lmpnet_cli.export.formats import FORMATS, Format, read_document
from lmpnet_cli.export.formats.format import Destination
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.progress import Progress

NAN = np.nan
NAMES = ("beak", "tail & wing", 'a "leg"')
SIZES = {"a, b.jpg": (200, 100), "b/ü ünd.png": (64, 128), "b/ü ünd.jpg": (50, 50), "nothing.jpg": (80, 60)}
POINTS = {
    "a, b.jpg": [(10.0, 20.25), (199.0, 99.0), (0.01, 0.0)],
    "b/ü ünd.png": [(63.0, 127.0), (NAN, NAN), (0.0, 12.5)],
    "b/ü ünd.jpg": [(25.0, 25.0), (NAN, NAN), (NAN, NAN)],
    "nothing.jpg": [(NAN, NAN)] * 3,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    """A folder of results as discover writes it, with the images where its run.json says."""
    folder = tmp_path_factory.mktemp("found")
    for name, size in SIZES.items():
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (90, 140, 90)).save(folder / "photos" / name)
    results = []
    for index, (name, points) in enumerate(POINTS.items()):
        xy = np.array(points)
        scores = np.where(np.isnan(xy[:, 0]), NAN, [0.9, 0.5, 0.25 + index / 10])
        results.append(Keypoints(name, *SIZES[name], xy, scores, class_name="heron", class_score=0.5))
    info = {"lmpnet_version": "1", "checkpoint": {"name": "w.safetensors", "sha256": "x"}}
    document = to_coco(results, info, NAMES, [("broken.jpg", "not an image")])
    document["categories"][0] |= {"name": "bird", "skeleton": [[1, 2], [2, 3]]}
    write_json(folder / "out" / "keypoints.json", document)
    write_json(folder / "out" / "run.json", {"command": "discover", "options": {"images": [str(folder / "photos")]}})
    return folder / "out"


def test_every_format_is_one_module_and_one_name():
    folder = Path(formats.__file__).parent
    shared = {"__init__", "dlc_table", "document", "format", "image_files", "spreadsheet"}
    modules = {path.stem for path in folder.glob("*.py")} - shared
    assert modules == {name.replace("-", "_") for name in CONVERT_FORMATS}
    assert all(isinstance(each, Format) for each in FORMATS.values())
    assert {name for name, each in FORMATS.items() if each.needs_images} == set(WITH_IMAGES)


def test_coco_results_load_and_score_one_against_themselves(found, tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    files = convert(found, to="coco-results", out=tmp_path).files
    entries = json.loads(files[0].read_text())
    assert [entry["image_id"] for entry in entries] == [1, 2, 3]  # nothing.jpg has nothing to report
    assert set(entries[1]) == {"image_id", "category_id", "keypoints", "score", "keypoint_scores"}
    assert entries[1]["keypoints"] == [63.0, 127.0, 1, 0, 0, 0, 0.0, 12.5, 1]
    assert entries[1]["keypoint_scores"] == [0.9, None, 0.35] and entries[1]["score"] == 0.625
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(found / "keypoints.json"))
        for annotation in truth.anns.values():
            annotation["area"] = max(annotation["area"], 1000.0)  # COCO ignores objects below 32 x 32 pixels
        run = COCOeval(truth, truth.loadRes(str(files[0])), "keypoints")
        run.params.kpt_oks_sigmas = np.full(3, 0.05)
        run.evaluate()
        run.accumulate()
        run.summarize()
    assert run.stats[0] == pytest.approx(1.0)


def test_ids_of_another_tool_stay_in_coco_results(found, tmp_path):
    document = json.loads((found / "keypoints.json").read_text())
    for image in document["images"]:
        image["id"] += 100
    for annotation in document["annotations"]:
        annotation["image_id"] += 100
        annotation["category_id"] = 7
    document["categories"][0]["id"] = 7
    write_json(tmp_path / "theirs.json", document)
    entries = json.loads(convert(tmp_path / "theirs.json", to="coco-results", out=tmp_path).files[0].read_text())
    assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [(101, 7), (102, 7), (103, 7)]


def test_csv_is_one_line_for_each_keypoint(found, tmp_path):
    pandas = pytest.importorskip("pandas")
    target = tmp_path / "table.csv"
    assert convert(found, to="csv", out=target).files == [target]
    table = pandas.read_csv(target)
    assert list(table.columns) == ["file", "keypoint", "x", "y", "score", "visible"]
    assert len(table) == 12 and set(table.keypoint) == set(NAMES) and set(table.file) == set(SIZES)
    first = table[(table.file == "a, b.jpg") & (table.keypoint == "beak")].iloc[0]
    assert (first.x, first.y, first.score, first.visible) == (10.0, 20.25, 0.9, 1)
    assert table[table.visible == 0][["x", "y", "score"]].isna().all(axis=None)
    assert (table.visible == 0).sum() == 6


def test_csv_for_excel_has_decimal_commas_semicolons_and_a_mark(found, tmp_path):
    pandas = pytest.importorskip("pandas")

    def rename(document):
        document["categories"][0]["keypoints"][1] = "flügel; links"

    source = _changed(found, tmp_path / "named.json", rename)
    plain, excel = (convert(source, to="csv", out=tmp_path / str(each), excel=each).files[0] for each in (False, True))
    content = excel.read_bytes()
    assert content.startswith(b"\xef\xbb\xbffile;keypoint;x;y;score;visible\r\n")
    assert content.count(b"\r\n") == content.count(b"\n") == 13
    assert '"a, b.jpg";beak;10,0;20,25;0,9;1\r\n"a, b.jpg";"flügel; links";199,0'.encode() in content
    table = pandas.read_csv(excel, sep=";", decimal=",", encoding="utf-8-sig")
    pandas.testing.assert_frame_equal(table, pandas.read_csv(plain))
    assert not plain.read_bytes().startswith(b"\xef")


def test_deeplabcut_reads_the_same_from_csv_and_hdf5(found, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    table, binary = convert(found, to="dlc", out=tmp_path / "lmpnet.csv").files
    frame = pandas.read_csv(table, header=[0, 1, 2], index_col=0)  # as deeplabcut.convertcsv2h5 reads it
    assert frame.columns.names == ["scorer", "bodyparts", "coords"]
    assert list(frame.columns.get_level_values("bodyparts").unique()) == list(NAMES)
    assert frame["lmpnet"]["beak"].loc["a, b.jpg"].tolist() == [10.0, 20.25, 0.9]
    assert frame.loc["nothing.jpg"].isna().all()
    pandas.testing.assert_frame_equal(pandas.read_hdf(binary, "df_with_missing"), frame)


def test_pandas_reads_every_image_of_deeplabcut_s_table(found, tmp_path):
    """Also the first one without a keypoint, which pandas would take for the names of the index."""
    pandas = pytest.importorskip("pandas")

    def hide(images):
        def change(document):
            for index in images:
                document["annotations"][index]["keypoints"] = [0, 0, 0] * 3

        return change

    for hidden in ([], [0], [0, 1], [0, 1, 2]):
        source = _changed(found, tmp_path / "hidden.json", hide(hidden))
        table = convert(source, to="dlc", out=tmp_path / str(hidden)).files[0]
        frame = pandas.read_csv(table, header=[0, 1, 2], index_col=0)
        assert list(frame.index) == list(POINTS) and frame.index.name is None
        assert frame.isna().all(axis=1).sum() == len(hidden) + 1


def test_deeplabcut_without_pandas_is_csv_alone(found, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    files = convert(found, to="dlc", out=tmp_path).files
    assert [file.name for file in files] == ["keypoints.csv"]
    rows = list(csv.reader(files[0].read_text(encoding="utf-8").splitlines()))
    assert [row[0] for row in rows[:3]] == ["scorer", "bodyparts", "coords"] and rows[2][1:4] == [
        "x",
        "y",
        "likelihood",
    ]


def test_no_name_is_a_formula_in_a_table_and_hdf5_has_the_names_as_they_are(found, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")

    def rename(document):
        document["images"][0]["file_name"] = "=1+1;-2.jpg"
        document["categories"][0]["keypoints"] = ["@beak", "tail", "-leg"]
        document["annotations"][0]["keypoints"][0] = -0.5

    source = _changed(found, tmp_path / "named.json", rename)
    rows = rows_of(convert(source, to="csv", out=tmp_path / "csv").files[0].read_text())[1:]
    assert rows[0][:3] == ["'=1+1;'-2.jpg", "'@beak", "-0.5"]
    table, binary = convert(source, to="dlc", out=tmp_path / "dlc").files
    rows = rows_of(table.read_text())
    assert rows[1][1::3] == ["'@beak", "tail", "'-leg"] and rows[3][:2] == ["'=1+1;'-2.jpg", "-0.5"]
    frame = pandas.read_hdf(binary, "df_with_missing")
    assert frame.index[0] == "=1+1;-2.jpg" and frame.columns[0] == ("lmpnet", "@beak", "x")


def test_label_studio_tasks_fit_their_configuration(found, tmp_path):
    tasks_file, config_file = convert(found, to="label-studio", out=tmp_path / "ls").files
    tasks = json.loads(tasks_file.read_text())
    config = ElementTree.parse(config_file).getroot()
    labels, image = config.find("KeyPointLabels"), config.find("Image")
    assert [label.get("value") for label in labels] == list(NAMES)
    assert image.get("value") == "$image" and labels.get("toName") == image.get("name") == "image"
    assert [task["data"]["image"] for task in tasks][:2] == [
        "/data/local-files/?d=photos/a%2C%20b.jpg",
        "/data/local-files/?d=photos/b/%C3%BC%20%C3%BCnd.png",
    ]
    regions = [region for task in tasks for region in task["predictions"][0]["result"]]
    assert len(regions) == 6 and len({region["id"] for region in regions}) == 6
    for region in regions:
        assert region["type"] == "keypointlabels" and region["image_rotation"] == 0
        assert region["from_name"] == labels.get("name") and region["to_name"] == image.get("name")
        assert 0 <= region["value"]["x"] <= 100 and 0 <= region["value"]["y"] <= 100
    value = regions[0]["value"]  # pixel 10 of 200 reaches from 5 to 5.5 percent
    assert (value["x"], value["y"], value["keypointlabels"]) == (5.25, 20.75, ["beak"])
    assert tasks[0]["predictions"][0]["model_version"] == "lmpnet 1 w.safetensors"
    files = convert(found, to="label-studio", out=tmp_path / "web", image_prefix="https://example.org/").files
    assert json.loads(files[0].read_text())[0]["data"]["image"].startswith("https://example.org/a%2C")


def test_label_studio_accepts_its_configuration_and_tasks(found, tmp_path):
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    tasks_file, config_file = convert(found, to="label-studio", out=tmp_path).files
    reader = interface(config_file.read_text())
    reader.validate()
    for task in json.loads(tasks_file.read_text()):
        assert reader.validate_task({"data": task["data"]})
        for prediction in task["predictions"]:
            assert reader.validate_prediction(prediction), prediction


@pytest.fixture(scope="module")
def apart(found, tmp_path_factory) -> Path:
    """The same without the image whose name differs from another one only in the suffix."""

    def change(document):
        document["images"] = [image for image in document["images"] if image["id"] != 3]
        document["annotations"] = [each for each in document["annotations"] if each["image_id"] != 3]

    return _changed(found, tmp_path_factory.mktemp("apart") / "keypoints.json", change)


def test_images_that_cvat_cannot_tell_apart_are_refused(found, tmp_path):
    with pytest.raises(DatasetError, match=r"CVAT cannot tell b/ü ünd.png and b/ü ünd.jpg apart"):
        convert(found, to="cvat", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_cvat_archive_and_label_name_the_same_points(apart, tmp_path):
    archive, labels = convert(apart, to="cvat", out=tmp_path).files
    with zipfile.ZipFile(archive) as file:
        assert file.namelist() == ["annotations/person_keypoints_default.json"]
        coco = json.loads(file.read(file.namelist()[0]))
    (category,) = coco["categories"]
    assert (
        category["name"] == "bird" and category["keypoints"] == list(NAMES) and category["skeleton"] == [[1, 2], [2, 3]]
    )
    assert coco["licenses"] == [] and len(coco["annotations"]) == 2 and len(coco["images"]) == 3
    (label,) = json.loads(labels.read_text())
    assert label["name"] == "bird" and label["type"] == "skeleton"
    assert [each["name"] for each in label["sublabels"]] == list(NAMES)
    svg = ElementTree.fromstring(f"<svg>{label['svg']}</svg>")
    assert [node.get("data-label-name") for node in svg.iter("circle")] == list(NAMES)
    assert [(line.get("data-node-from"), line.get("data-node-to")) for line in svg.iter("line")] == [
        ("1", "2"),
        ("2", "3"),
    ]


def test_cvat_s_reader_of_coco_keypoints_finds_every_point(apart, tmp_path):
    datumaro = pytest.importorskip("datumaro")
    archive, _ = convert(apart, to="cvat", out=tmp_path).files
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "set")
    (tmp_path / "set" / "images").mkdir()
    dataset = datumaro.Dataset.import_from(str(tmp_path / "set"), "coco_person_keypoints")
    points = {item.id: [a for a in item.annotations if a.type.name == "points"] for item in dataset}
    assert set(points) == {str(Path(name).with_suffix("")) for name in SIZES if not name.endswith("ünd.jpg")}
    assert points["a, b"][0].points[:4] == [10.0, 20.25, 199.0, 99.0]


def test_cvat_s_own_library_takes_the_label(apart, tmp_path):
    models = pytest.importorskip("cvat_sdk.models")
    _, labels = convert(apart, to="cvat", out=tmp_path).files
    (label,) = json.loads(labels.read_text())
    points = [models.SublabelRequest(**each) for each in label.pop("sublabels")]
    assert models.PatchedLabelRequest(**label, sublabels=points).name == "bird"


def test_fiftyone_s_importer_reads_keypoints_and_finds_the_images(found, tmp_path):
    coco = pytest.importorskip("fiftyone.utils.coco")
    convert(found, to="fiftyone", out=tmp_path)
    importer = coco.COCODetectionDatasetImporter(
        str(tmp_path), data_path="data/", labels_path="labels.json", label_types=["keypoints"]
    )
    importer.setup()
    read = {Path(path).relative_to(tmp_path / "data").as_posix(): label for path, _, label in importer}
    assert set(read) == set(SIZES)
    (points,) = read["b/ü ünd.png"].keypoints
    np.testing.assert_allclose(points.points, [(63 / 64, 127 / 128), (NAN, NAN), (0, 12.5 / 128)])
    assert points.label == "bird" and points.keypoint_scores == [0.9, None, 0.35]


def test_ultralytics_reads_every_label(found, tmp_path):
    utils = pytest.importorskip("ultralytics.data.utils")
    dataset = pytest.importorskip("ultralytics.data.dataset").YOLODataset
    convert(found, to="yolo-pose", out=tmp_path / "set")
    data = utils.check_det_dataset(str(tmp_path / "set" / "data.yaml"), autodownload=False)
    labels = dataset(img_path=data["train"], data=data, task="pose", imgsz=64, augment=False).labels
    assert sorted(len(each["keypoints"]) for each in labels) == [0, 1, 1, 1]
    assert all(each["keypoints"].shape[1:] == (3, 3) for each in labels if len(each["keypoints"]))


def test_the_images_of_fiftyone_are_where_its_labels_say(found, tmp_path):
    labels, data = convert(found, to="fiftyone", out=tmp_path).files
    assert labels == tmp_path / "labels.json" and data == tmp_path / "data"
    assert {path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()} == set(SIZES)
    coco = json.loads(labels.read_text())
    assert [image["file_name"] for image in coco["images"]] == list(POINTS)
    assert [image["id"] for image in coco["images"]] == [1, 2, 3, 4]
    for annotation in coco["annotations"]:
        flat = annotation["keypoints"]
        assert annotation["num_keypoints"] == sum(v > 0 for v in flat[2::3]) and len(annotation["bbox"]) == 4
        assert all((x, y) != (0, 0) for x, y, v in zip(flat[::3], flat[1::3], flat[2::3], strict=True) if v)


def test_yolo_pose_follows_the_layout_that_ultralytics_checks(found, tmp_path):
    out = tmp_path / "set"
    convert(found, to="yolo-pose", out=out)
    text = (out / "data.yaml").read_text()
    assert "kpt_shape: [3, 3]" in text and '0: "bird"' in text and 'path: ""' in text and str(tmp_path) not in text
    images = sorted(path for path in (out / "images").rglob("*") if path.is_file())
    assert len(images) == 4
    labels = {}
    for image in images:
        Image.open(image).verify()
        label_file = Path(str(image.parent).replace("/images", "/labels")) / f"{image.stem}.txt"
        rows = [[float(cell) for cell in line.split()] for line in label_file.read_text().splitlines()]
        labels[image.relative_to(out / "images").as_posix()] = rows
        for row in rows:
            assert len(row) == 5 + 3 * 3
            assert all(0 <= value <= 1 for index, value in enumerate(row) if index < 5 or (index - 5) % 3 < 2)
            left, top = row[1] - row[3] / 2, row[2] - row[4] / 2
            for x, y, v in zip(row[5::3], row[6::3], row[7::3], strict=True):
                assert v in (0, 2)
                assert not v or (left - 1e-5 <= x <= left + row[3] + 1e-5 and top - 1e-5 <= y <= top + row[4] + 1e-5)
    assert labels["nothing.jpg"] == []
    row = labels["a, b.jpg"][0]
    assert row[5:8] == pytest.approx([10.5 / 200, 20.75 / 100, 2])
    # two images of the same name keep a text file each
    assert set(labels) == {"a, b.jpg", "nothing.jpg", "b/ü ünd.png", "b/ü ünd_jpg.jpg"}


def read_data_yaml(folder: Path) -> tuple[Path, dict]:
    """Return the folder of a dataset as Ultralytics resolves it, and the content of its data.yaml."""
    file = folder / "data.yaml"
    data = pytest.importorskip("yaml").safe_load(file.read_text(encoding="utf-8"))
    return Path(data.get("path") or file.parent), data


def test_a_yolo_dataset_can_be_moved(found, tmp_path):
    convert(found, to="yolo-pose", out=tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / "moved")
    path, data = read_data_yaml(tmp_path / "moved")
    assert path == tmp_path / "moved" and data["train"] == data["val"] == "images"
    images = [each for each in (path / data["train"]).rglob("*") if each.is_file()]
    assert len(images) == 4 and not any(each.is_symlink() for each in images)


@pytest.mark.parametrize(
    "name", ["süß", "🦩 crown", 'a "leg"', "a\\b", "#1", "yes", "- x", "a\nb", "\x7f\x85\u2028", "\ufeff", "😀" * 3]
)
def test_data_yaml_has_the_names_as_they_are(name, found, tmp_path):
    def rename(document):
        document["categories"][0] |= {"name": name, "keypoints": [name, "x", f"x, {name}"]}

    source = _changed(found, tmp_path / "named.json", rename)
    convert(source, to="yolo-pose", out=tmp_path / "set", images=found.parent / "photos")
    data = read_data_yaml(tmp_path / "set")[1]
    assert data["names"] == {0: name} and data["kpt_names"] == {0: [name, "x", f"x, {name}"]}


@pytest.mark.parametrize(("method", "flipped"), [("parts", [1, 0, 2]), (None, [1, 0, 2]), ("lmpnet", [0, 1, 2])])
def test_data_yaml_says_which_keypoints_change_places_on_a_mirrored_image(method, flipped, found, tmp_path):
    def rename(document):
        document["categories"][0] |= {"keypoints": ["left wing", "right wing", "bright spot"]}
        document["info"]["method"] = method

    source = _changed(found, tmp_path / "named.json", rename)
    convert(source, to="yolo-pose", out=tmp_path / "set", images=found.parent / "photos")
    assert f"\nflip_idx: {flipped}\n" in (tmp_path / "set" / "data.yaml").read_text()


@pytest.mark.parametrize("method", ["parts", "lmpnet"])
def test_one_line_warns_of_sides_without_a_partner(method, found, tmp_path):
    def rename(document):
        document["categories"][0] |= {"keypoints": ["left wing", "right leg", "bright spot"]}
        document["info"]["method"] = method

    source, progress = _changed(found, tmp_path / "named.json", rename), Warnings()
    convert(source, to="yolo-pose", out=tmp_path / "set", images=found.parent / "photos", progress=progress)
    about_sides = [message for message in progress.messages if message.startswith("flip_idx: ")]
    assert len(about_sides) == (method == "parts")
    for message in about_sides:  # ranks have no side
        assert "2 of 3 keypoints" in message and "'left wing'" in message and "\n" not in message


def test_a_missing_image_is_an_error_that_names_it(found, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    Image.new("RGB", (200, 100)).save(few / "a, b.jpg")
    with pytest.raises(
        InputError, match=r"Images missing: 3 of 4, for example b/.*\. fiftyone needs all of them: .* --images"
    ):
        convert(found, to="fiftyone", out=tmp_path / "x", images=few)
    write_json(tmp_path / "keypoints.json", json.loads((found / "keypoints.json").read_text()))
    with pytest.raises(InputError, match="does not record where its images are"):
        convert(tmp_path / "keypoints.json", to="fiftyone", out=tmp_path / "x")
    with pytest.raises(InputError, match="None of the 4 images"):
        (tmp_path / "other").mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / "other" / "z.jpg")
        convert(found, to="fiftyone", out=tmp_path / "x", images=tmp_path / "other")


def test_names_that_are_not_text_and_files_without_images_are_converted(found, tmp_path):
    pytest.importorskip("tables")

    def rename(document):
        document["images"][0]["file_name"] = os.fsdecode(b"\xff.jpg")

    strange = _changed(found, tmp_path / "strange.json", rename)
    for to in ("coco-results", "csv", "dlc", "label-studio"):
        convert(strange, to=to, out=tmp_path / to)
    assert "\\udcff.jpg" in (tmp_path / "csv" / "keypoints.csv").read_text(encoding="utf-8")
    assert "%FF.jpg" in (tmp_path / "label-studio" / "tasks.json").read_text()
    empty = _changed(found, tmp_path / "empty.json", lambda document: document.update(images=[], annotations=[]))
    for to in ("coco-results", "csv", "dlc", "label-studio", "cvat"):
        assert convert(empty, to=to, out=tmp_path / f"empty-{to}").images == 0


def test_an_existing_hdf5_file_is_not_overwritten(found, tmp_path):
    (tmp_path / "mine.h5").write_text("ground truth")
    with pytest.raises(OutputError, match=r"already holds mine\.h5"):
        convert(found, to="dlc", out=tmp_path / "mine.csv")
    assert (tmp_path / "mine.h5").read_text() == "ground truth" and not (tmp_path / "mine.csv").exists()


def test_yolo_pose_has_only_one_folder_called_images_in_a_path(found, tmp_path):
    moved = tmp_path / "moved"
    (moved / "images").mkdir(parents=True)
    Image.new("RGB", (200, 100)).save(moved / "images" / "a.jpg")

    def change(document):
        document["images"] = document["images"][:1]
        document["annotations"] = document["annotations"][:1]
        document["images"][0]["file_name"] = "images/a.jpg"

    source = _changed(found, tmp_path / "keypoints.json", change)
    convert(source, to="yolo-pose", out=tmp_path / "set", images=moved)
    assert (tmp_path / "set" / "images" / "images_" / "a.jpg").is_file()
    assert (tmp_path / "set" / "labels" / "images_" / "a.txt").is_file()
    # another conversion into the same folder leaves nothing of this one to train on
    convert(found, to="yolo-pose", out=tmp_path / "set", overwrite=True)
    assert len([path for path in (tmp_path / "set" / "images").rglob("*") if path.is_file()]) == 4
    assert len(list((tmp_path / "set" / "labels").rglob("*.txt"))) == 4


def test_one_keypoint_has_a_box_that_training_can_use(found, tmp_path):
    convert(found, to="yolo-pose", out=tmp_path / "set")
    row = (tmp_path / "set" / "labels" / "b" / "ü ünd_jpg.txt").read_text().split()
    assert float(row[3]) == pytest.approx(0.1) and float(row[4]) == pytest.approx(0.1)


def test_results_are_found_from_another_folder(found, tmp_path, monkeypatch):
    run = {"folder": str(found.parent), "options": {"images": ["photos"]}}
    write_json(tmp_path / "keypoints.json", json.loads((found / "keypoints.json").read_text()))
    write_json(tmp_path / "run.json", run)
    monkeypatch.chdir(tmp_path)
    data = convert(tmp_path, to="fiftyone", out=tmp_path / "x").files[1]
    assert len([path for path in data.rglob("*") if path.is_file()]) == 4


def test_an_input_is_never_replaced_by_the_output(found, tmp_path):
    mine, truth = tmp_path / "mine.json", tmp_path / "truth.json"
    for path in (mine, truth):
        path.write_bytes((found / "keypoints.json").read_bytes())
    (tmp_path / "link.json").symlink_to(mine)
    for out in (mine, truth, tmp_path / "link.json"):
        with pytest.raises(OptionError, match=r"is read, and the output in .* would replace it"):
            convert(mine, to="coco-results", ids_of=truth, out=out, overwrite=True)
    for to, name in {"fiftyone": "labels.json", "cvat": "labels.json", "label-studio": "tasks.json"}.items():
        mine.rename(tmp_path / name)
        with pytest.raises(OptionError, match=f"{name} is read, and the output in"):
            convert(tmp_path / name, to=to, out=tmp_path, images=found.parent / "photos", overwrite=True)
        (tmp_path / name).rename(mine)
    assert mine.read_bytes() == truth.read_bytes() == (found / "keypoints.json").read_bytes()


def test_a_file_name_that_does_not_fit_the_format_is_refused(apart, tmp_path):
    for to, name in (("csv", "x.txt"), ("csv", "x.json"), ("cvat", "x.zip"), ("label-studio", "tasks.json")):
        with pytest.raises(OptionError, match=f"{name} does not fit --to {to}"):
            convert(apart, to=to, out=tmp_path / name)
    assert convert(apart, to="csv", out=tmp_path / "v1.2").files == [tmp_path / "v1.2" / "keypoints.csv"]


def test_the_image_prefix_ends_in_a_slash_or_an_equals_sign(found, tmp_path):
    for number, prefix in enumerate(("https://example.org/photos", "https://example.org/photos/", "/data?d=")):
        tasks = convert(found, to="label-studio", out=tmp_path / str(number), image_prefix=prefix).files[0]
        address = json.loads(tasks.read_text())[0]["data"]["image"]
        assert address in ("https://example.org/photos/a%2C%20b.jpg", "/data?d=a%2C%20b.jpg")


def test_options_of_other_formats_and_remote_outputs_are_refused(found):
    with pytest.raises(OptionError, match="--image-prefix cannot be combined with --to csv"):
        convert(found, to="csv", image_prefix="x")
    for to in set(CONVERT_FORMATS).difference(WITH_IMAGES):
        with pytest.raises(OptionError, match=f"--link-images cannot be combined with --to {to}"):
            convert(found, to=to, link_images=True)
    for to in set(CONVERT_FORMATS).difference({"csv"}):
        with pytest.raises(OptionError, match=f"--excel cannot be combined with --to {to}"):
            convert(found, to=to, excel=True)
    for to in set(CONVERT_FORMATS).difference({"coco-results"}):
        with pytest.raises(OptionError, match=f"--ids-of cannot be combined with --to {to}"):
            convert(found, to=to, ids_of="truth.json")
    for to in set(CONVERT_FORMATS).difference(WITH_SKELETON):
        with pytest.raises(OptionError, match=f"--skeleton cannot be combined with --to {to}"):
            convert(found, to=to, skeleton="1-2")
    for to in set(CONVERT_FORMATS).difference(WITH_CATEGORY):
        with pytest.raises(OptionError, match=f"--category cannot be combined with --to {to}"):
            convert(found, to=to, category="bird")
    with pytest.raises(OptionError, match="--names cannot be combined with --to coco-results, which has no names"):
        convert(found, to="coco-results", names="a,b,c")
    with pytest.raises(OptionError, match="--out must be a local path, not s3://bucket/x"):
        convert(found, to="csv", out="s3://bucket/x")


def _changed(source: Path, path: Path, change) -> Path:
    document = json.loads((source / "keypoints.json" if source.is_dir() else source).read_text())
    change(document)
    path.write_text(json.dumps(document))  # with NaN and infinity, as other tools write them
    return path


@pytest.fixture
def crowded(found, tmp_path) -> Path:
    """The same file with a second object on its first image, and windows."""
    document = json.loads((found / "keypoints.json").read_text())
    document["info"]["objects"] = "all"
    first = document["annotations"][0]
    for each in document["annotations"]:
        each["bbox"] = [1, 2, 30, 40]
    document["annotations"].append(first | {"id": 99, "bbox": [5, 5, 40, 30]})
    (tmp_path / "keypoints.json").write_text(json.dumps(document))
    return tmp_path / "keypoints.json"


def test_every_object_of_an_image_is_written(crowded, found, tmp_path):
    document = read_document(crowded)
    first = document.images[0]
    assert len(first) == 2 and len(document.images) == len(document.results) - 1 == len(document.image_ids)
    name, k = first[0].file_name, len(document.names)
    paths = {each: found.parent / "photos" / each for each in SIZES}
    write = {
        to: Destination(tmp_path / to, paths) for to in ("coco-results", "csv", "label-studio", "yolo-pose", "cvat")
    }
    for to, destination in write.items():
        FORMATS[to].write(document, destination)

    results = json.loads((tmp_path / "coco-results").read_text())
    assert [each["image_id"] for each in results].count(document.image_ids[0]) == 2
    rows = list(csv.DictReader((tmp_path / "csv").read_text().splitlines()))
    assert [row["object"] for row in rows if row["file"] == name] == ["1"] * k + ["2"] * k
    tasks = json.loads((tmp_path / "label-studio/tasks.json").read_text())
    assert len(tasks) == len(document.images)
    ids = [region["id"] for region in tasks[0]["predictions"][0]["result"]]
    assert len(ids) == 2 * first[0].found.sum() == len(set(ids))
    with zipfile.ZipFile(tmp_path / "cvat/annotations.zip") as archive:
        coco = json.loads(archive.read(archive.namelist()[0]))
    assert [each["image_id"] for each in coco["annotations"]][:2] == [1, 1]
    lines = (tmp_path / "yolo-pose/labels" / name).with_suffix(".txt").read_text().splitlines()
    box = np.array(lines[1].split()[1:5], float) * np.tile([first[0].width, first[0].height], 2)
    assert len(lines) == 2 and box.tolist() == pytest.approx([25, 20, 40, 30], abs=1e-3)  # the window, not the points


def test_deeplabcut_has_room_for_one_animal(crowded, tmp_path):
    with pytest.raises(DatasetError, match=r"has 2 objects, but this table of DeepLabCut .* --objects one"):
        FORMATS["dlc"].write(read_document(crowded), Destination(tmp_path / "x.csv"))


@pytest.mark.parametrize(
    ("given", "looks"), [({"objects": "all"}, "--objects all"), ({"boxes": Path("boxes.json")}, "--boxes")]
)
def test_options_that_find_several_objects_and_a_format_for_one_are_refused_before_any_work(given, looks, tmp_path):
    given = {"images": ("none",), "out": tmp_path / "out", "method": "parts"} | given
    for export in CONVERT_FORMATS:
        if export in ONE_OBJECT:
            with pytest.raises(
                OptionError, match=f"^--export {export} has room for one object per image, and {looks} "
            ):
                DiscoverConfig(**given, export=("csv", export))
            DiscoverConfig(**given | {"objects": "one"}, export=export)
            DiscoverConfig(**given | {"objects": "all"}, max_objects=1, export=export)
        else:
            DiscoverConfig(**given, export=export)


def test_the_command_refuses_them_as_wrong_usage(tmp_path):
    command = ["discover", str(tmp_path), "--objects", "all", "--export", "dlc", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2 and "--export dlc has room for one object" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_only_formats_for_one_object_refuse_a_crowded_image(crowded, found, tmp_path):
    refused = set()
    for to in CONVERT_FORMATS:
        try:
            convert(crowded, to=to, out=tmp_path / to, images=found.parent / "photos")
        except DatasetError as error:
            refused |= {to} if "room for one animal" in str(error) else set()
    assert refused == set(ONE_OBJECT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("categories"), "is not a COCO keypoint"),
        (lambda d: d["images"].append(d["images"][0] | {"id": 99}), "lists an image twice"),
        (lambda d: d["images"][1].update(id=1), r"x\.json: the images a, b\.jpg and b/ü ünd\.png have the same id 1"),
        (lambda d: d["categories"].append(d["categories"][0]), "Only one category"),
        (lambda d: d["categories"][0].update(keypoints=["a", "a", "b"]), "the same name"),
        (lambda d: d["categories"][0].update(keypoints=["a", "b"], skeleton=[]), "another number"),
        (lambda d: d["categories"][0].update(skeleton=[[0, 1]]), "it counts from 1"),
        (lambda d: d["images"][0].update(width=0), r"`float` >= 1.0 - at `\$.images"),
        (lambda d: d["images"][0].update(file_name=""), "needs a file name"),
        (lambda d: d["annotations"][0].update(keypoint_scores=[None, 0.5, 0.5]), "score is not a number"),
        (lambda d: d["annotations"][0]["keypoints"].__setitem__(0, 1e999), "is not a position"),
        (lambda d: d["annotations"][0].update(keypoints=[1, 2]), "is not a COCO keypoint"),
        (lambda d: d["annotations"][0].update(image_id=99), "is not a COCO keypoint"),
    ],
)
def test_a_file_of_another_kind_is_one_clear_error(found, tmp_path, change, message):
    with pytest.raises(DatasetError, match=message):
        read_document(_changed(found, tmp_path / "x.json", change))


def test_missing_annotations_and_names_are_filled_in(found, tmp_path):
    def change(document):
        document["annotations"].pop(1)
        del document["categories"][0]["keypoints"], document["info"]

    document = read_document(_changed(found, tmp_path / "x.json", change))
    assert document.names == ("kp1", "kp2", "kp3") and document.source == "lmpnet"
    assert [bool(each.found.any()) for each in document.results] == [True, False, True, False]


def test_frames_without_an_annotation_keep_their_number_and_time(found, tmp_path):
    def change(document):
        document["annotations"].pop(1)
        for number, image in enumerate(document["images"]):
            image |= {"frame": 5 * number, "time": number / 4}

    table = convert(_changed(found, tmp_path / "x.json", change), to="csv", out=tmp_path).files[0]
    header, *rows = rows_of(table.read_text())
    assert header[-2:] == ["frame", "time"]
    assert [row[-2:] for row in rows[::3]] == [["0", "0.0"], ["5", "0.25"], ["10", "0.5"], ["15", "0.75"]]


class Warnings(Progress):
    def __init__(self):
        self.messages = []

    def warn(self, message):
        self.messages.append(message)


@pytest.mark.parametrize("to", CONVERT_FORMATS)
@pytest.mark.parametrize(("method", "ranked"), [("lmpnet", True), ("saliency", True), ("parts", False), (None, False)])
def test_tools_that_expect_parts_warn_about_ranks(found, apart, tmp_path, to, method, ranked):
    source = _changed(apart, tmp_path / "keypoints.json", lambda document: document["info"].update(method=method))
    progress = Warnings()
    convert(source, to=to, out=tmp_path / "out", images=found.parent / "photos", progress=progress)

    if ranked and to in ("coco-results", "dlc", "cvat", "yolo-pose", "fiftyone"):
        (message,) = progress.messages
        assert message.startswith(f"{to} expects") and f"--method {method} ranks" in message
        assert "--method parts" in message and "\n" not in message
    else:
        assert progress.messages == []


def test_the_command_shows_the_warning(found, tmp_path):
    ranks = _changed(found, tmp_path / "keypoints.json", lambda document: document["info"].update(method="lmpnet"))
    command = ["convert", str(ranks), "--to", "coco-results", "-o", str(tmp_path / "results.json"), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0 and json.loads(result.stdout)["images"] == 4
    assert "Warning: coco-results expects" in result.stderr


def test_the_command_says_what_to_do_next(apart, tmp_path):
    target = tmp_path / "cvat"
    result = CliRunner().invoke(app, ["convert", str(apart), "--to", "cvat", "-o", str(target)])
    assert result.exit_code == 0, result.stderr
    assert "annotations.zip" in result.stderr and "COCO Keypoints 1.0" in re.sub(r"\s+", " ", result.stderr)
    again = CliRunner().invoke(app, ["convert", str(apart), "--to", "cvat", "-o", str(target)])
    assert again.exit_code == 1 and "already holds" in again.stderr
    assert (
        CliRunner()
        .invoke(app, ["convert", str(apart), "--to", "cvat", "-o", str(target), "--overwrite", "--json"])
        .exit_code
        == 0
    )
    unknown = CliRunner().invoke(app, ["convert", str(apart), "--to", "pdf"])
    assert unknown.exit_code == 2 and "'pdf' is not one of" in unknown.stderr
    absent = CliRunner().invoke(app, ["convert", str(tmp_path / "no.json"), "--to", "csv"])
    assert absent.exit_code == 1 and "Cannot read" in absent.stderr


def test_discover_exports_its_result(birds, checkpoint, tmp_path):
    from lmpnet_cli.discovery.discover import discover

    images = sorted((birds / "images").rglob("*.jpg"))[:3]
    options = {"checkpoint": checkpoint, "method": "lmpnet", "workers": 0, "device": "cpu", "out": tmp_path / "out"}
    discover(images, **options, export=("csv", "yolo-pose"))
    exports = tmp_path / "out" / "exports"
    assert (exports / "csv" / "keypoints.csv").is_file() and (exports / "yolo-pose" / "data.yaml").is_file()
    exported = sorted(path for path in (exports / "yolo-pose" / "images").rglob("*.jpg"))
    assert len(exported) == 3 and not any(path.is_symlink() for path in exported)
    discover(images, **options, overwrite=True, export="yolo-pose", link_images=True)
    assert sorted(path.resolve() for path in exported) == sorted(path.resolve() for path in images)
    discover(images, **options, overwrite=True)
    assert not exports.exists()  # of an earlier run
    assert all(path.is_file() for path in images)
    (tmp_path / "twins").mkdir()
    for name in ("a.jpg", "a.png"):
        Image.new("RGB", (64, 64)).save(tmp_path / "twins" / name)
    with pytest.raises(DatasetError, match="CVAT cannot tell"):  # before any work
        discover(tmp_path / "twins", **options | {"out": tmp_path / "none"}, export="cvat")
    assert not (tmp_path / "none").exists()
    with pytest.raises(OptionError, match="--export pdf is unknown"):
        DiscoverConfig(images=("x",), out="x", export="pdf")
    with pytest.raises(OptionError, match="need an output folder: pass --out"):
        DiscoverConfig(images=("x",), export="csv")


def test_every_format_holds_images_with_different_numbers_of_keypoints(birds, checkpoint, tmp_path):
    from lmpnet_cli.discovery.discover import discover

    images = sorted((birds / "images").rglob("*.jpg"))[:3]
    options = {"checkpoint": checkpoint, "method": "saliency", "nms_radius": 4, "coarse_weight": 0, "device": "cpu"}
    result = discover(images, out=tmp_path, export=CONVERT_FORMATS, report=True, workers=0, **options)
    numbers = [len(each.scores) for each in result.keypoints]
    most, files = max(numbers), [each.file_name for each in result.keypoints]
    assert len(set(numbers)) > 1 and result.names == tuple(f"kp{index}" for index in range(1, most + 1))

    def lines(name):
        return list(csv.reader((tmp_path / "exports" / name).read_text().splitlines()))

    def counts(annotations):
        return [sum(v > 0 for v in each["keypoints"][2::3]) for each in annotations]

    entries = json.loads((tmp_path / "exports/coco-results/results.json").read_text())
    assert counts(entries) == numbers and {len(each["keypoints"]) for each in entries} == {3 * most}
    rows = lines("csv/keypoints.csv")[1:]
    assert [sum(row[0] == file and row[5] == "1" for row in rows) for file in files] == numbers
    wide = lines("dlc/keypoints.csv")[3:]
    assert [sum(cell != "" for cell in row[1:]) // 3 for row in wide] == numbers
    tasks = json.loads((tmp_path / "exports/label-studio/tasks.json").read_text())
    assert [len(task["predictions"][0]["result"]) for task in tasks] == numbers
    with zipfile.ZipFile(tmp_path / "exports/cvat/annotations.zip") as archive:
        skeletons = json.loads(archive.read(archive.namelist()[0]))
    assert counts(skeletons["annotations"]) == numbers
    assert counts(json.loads((tmp_path / "exports/fiftyone/labels.json").read_text())["annotations"]) == numbers
    labels = [(tmp_path / "exports/yolo-pose/labels" / file).with_suffix(".txt").read_text().split() for file in files]
    assert [len(line) for line in labels] == [5 + 3 * most] * 3
    assert [line[7::3].count("2") for line in labels] == numbers
    assert f"kpt_shape: [{most}, 3]" in (tmp_path / "exports/yolo-pose/data.yaml").read_text()
    assert (tmp_path / "report.html").is_file()


def test_a_summary_names_the_first_ten_keypoints(tmp_path):
    xy = np.arange(48.0).reshape(24, 2)
    names = [f"kp{number}" for number in range(1, 25)]
    document = to_coco([Keypoints("a.jpg", 99, 99, xy, np.ones(24))], {}, names)
    write_json(tmp_path / "keypoints.json", document)
    result = CliRunner().invoke(app, ["convert", str(tmp_path), "--to", "csv", "-o", str(tmp_path / "a.csv")])
    assert "kp9, kp10 and 14 more" in result.stderr and "kp11" not in result.stderr


def test_ids_in_other_spellings_are_the_same(found, tmp_path):
    document = json.loads((found / "keypoints.json").read_text())
    for image in document["images"]:
        image["id"] = f"{image['id']}.0"
    document["categories"][0]["id"] = 1.0
    write_json(tmp_path / "theirs.json", document)
    entries = json.loads(convert(tmp_path / "theirs.json", to="coco-results", out=tmp_path).files[0].read_text())
    assert [(entry["image_id"], entry["category_id"]) for entry in entries] == [(1, 1), (2, 1), (3, 1)]
