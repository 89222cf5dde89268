"""Results with the ids of the annotation file that they are scored against."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.errors import DatasetError, InputError
from lmpnet_cli.export.convert import convert
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.progress import Progress

NAMES = ("a.jpg", "b/c.png", "b/d.jpg", "e.jpg")
CATEGORIES = [{"id": 1, "name": "object", "keypoints": ["beak", "tail"], "skeleton": []}]


class Warnings(Progress):
    def __init__(self):
        self.messages = []

    def warn(self, message):
        self.messages.append(message)


@pytest.fixture
def found(tmp_path) -> Path:
    """The results of a run, which differ from image to image."""
    results = [
        Keypoints(name, 200, 100, np.array([[10.0 + 40 * index, 20], [30 + 40 * index, 90]]), np.ones(2))
        for index, name in enumerate(NAMES)
    ]
    write_json(tmp_path / "found" / "keypoints.json", to_coco(results, {}, ["beak", "tail"]))
    return tmp_path / "found"


def make_truth(found: Path, ids, path: Path, **changes) -> Path:
    """Write the same annotations as a truth file that numbers its images otherwise."""
    document = json.loads((found / "keypoints.json").read_text())
    for image, image_id in zip(document["images"], ids, strict=True):
        image["id"] = image_id
    for annotation in document["annotations"]:
        annotation["image_id"] = ids[annotation["image_id"] - 1]
        annotation["area"] = 2000.0
    write_json(path, document | changes)
    return path


def average_precision(truth: Path, results: Path) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        read = COCO(str(truth))
        run = COCOeval(read, read.loadRes(str(results)), "keypoints")
        run.params.kpt_oks_sigmas = np.full(2, 0.05)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats[0]


def entries(found, **options):
    return json.loads(convert(found, to="coco-results", **options).files[0].read_text())


def test_average_precision_is_one_with_the_ids_of_the_truth_file_and_zero_without(found, tmp_path):
    truth = make_truth(found, [4, 3, 2, 1], tmp_path / "truth.json")
    without = convert(found, to="coco-results", out=tmp_path / "without").files[0]
    assert average_precision(truth, without) == pytest.approx(0, abs=0.01)
    with_ids = convert(found, to="coco-results", out=tmp_path / "with", ids_of=truth).files[0]
    assert average_precision(truth, with_ids) == pytest.approx(1)


def test_ids_are_written_as_they_are_in_the_truth_file(found, tmp_path):
    ids = ["0007", 7, "b", 2**40]
    truth = make_truth(found, ids, tmp_path / "truth.json", categories=[CATEGORIES[0] | {"id": "bird"}])
    written = entries(found, out=tmp_path / "x", ids_of=truth)
    assert [each["image_id"] for each in written] == ids
    assert [type(each["image_id"]) for each in written] == [str, int, str, int]
    assert {each["category_id"] for each in written} == {"bird"}


def test_images_are_matched_by_the_end_of_their_names(found, tmp_path):
    images = [{"id": 50 + index, "file_name": f"train/photos/{name}"} for index, name in enumerate(NAMES)]
    write_json(tmp_path / "truth.json", {"images": images, "annotations": [], "categories": CATEGORIES})
    written = entries(found, out=tmp_path / "x", ids_of=tmp_path / "truth.json")
    assert [each["image_id"] for each in written] == [50, 51, 52, 53]


def test_images_that_the_truth_file_does_not_list_are_omitted_with_a_warning(found, tmp_path):
    write_json(tmp_path / "truth.json", {"images": [{"id": 9, "file_name": "b/d.jpg"}], "categories": CATEGORIES})
    progress = Warnings()
    result = convert(found, to="coco-results", out=tmp_path / "x", ids_of=tmp_path / "truth.json", progress=progress)
    (entry,) = json.loads(result.files[0].read_text())
    assert entry["image_id"] == 9 and entry["keypoints"][:2] == [90, 20] and result.images == 1
    (message,) = progress.messages
    assert "truth.json does not list 3 of the 4 images" in message and "for example a.jpg. They are omitted." in message


def test_a_truth_file_of_other_images_is_one_error(found, tmp_path):
    truth = tmp_path / "truth.json"
    write_json(truth, {"images": [{"id": 1, "file_name": "z.jpg"}], "categories": []})
    with pytest.raises(DatasetError, match=r"lists none of the 4 images: it lists z\.jpg, and the keypoints are of a\.jpg"):  # fmt: skip
        convert(found, to="coco-results", out=tmp_path / "x", ids_of=truth)
    write_json(truth, {"images": []})
    with pytest.raises(DatasetError, match="it lists no images"):
        convert(found, to="coco-results", out=tmp_path / "x", ids_of=truth)
    write_json(truth, {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}]})
    with pytest.raises(DatasetError, match=r"lists a\.jpg twice, with different ids"):
        convert(found, to="coco-results", out=tmp_path / "x", ids_of=truth)
    write_json(truth, {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b/c.png"}]})
    with pytest.raises(
        DatasetError, match=r"truth\.json: the images a\.jpg and b/c\.png have the same id 1\. Give each"
    ):
        convert(found, to="coco-results", out=tmp_path / "x", ids_of=truth)
    write_json(truth, [])
    with pytest.raises(DatasetError, match=r"truth\.json is not a COCO annotation file .*scored against"):
        convert(found, to="coco-results", out=tmp_path / "x", ids_of=truth)
    with pytest.raises(InputError, match="Cannot read"):
        convert(found, to="coco-results", out=tmp_path / "x", ids_of=tmp_path / "none.json")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("categories", "expected", "warns"),
    [
        ([{"id": 17, "name": "bird"}], 17, False),
        ([{"id": 17, "name": "bird", "keypoints": ["a"]}, {"id": 18, "name": "tree"}], 17, False),
        ([{"id": 17, "keypoints": ["a"]}, {"id": 18, "keypoints": ["b"]}], 1, True),
        ([{"id": 17}, {"id": 18}], 1, True),
        ([{"name": "bird"}], 1, False),
        (None, 1, False),
    ],
)
def test_the_category_id_is_that_of_the_only_category(categories, expected, warns, found, tmp_path):
    truth, progress = make_truth(found, [4, 3, 2, 1], tmp_path / "truth.json", categories=categories), Warnings()
    written = entries(found, out=tmp_path / "x", ids_of=truth, progress=progress)
    assert {each["category_id"] for each in written} == {expected}
    assert [("It stays 1; AP is 0.0" in message) for message in progress.messages] == [True] * warns


def test_the_command_takes_the_option_and_says_why(found, tmp_path):
    truth = make_truth(found, [4, 3, 2, 1], tmp_path / "truth.json")
    command = ["convert", str(found), "--to", "coco-results", "-o", str(tmp_path / "x"), "--ids-of", str(truth)]
    result = CliRunner().invoke(app, command)
    shown = " ".join(result.stderr.split())
    assert result.exit_code == 0 and "must be those of truth.json" in shown and "else AP is 0.0 without" in shown
    assert json.loads((tmp_path / "x" / "results.json").read_text())[0]["image_id"] == 4
