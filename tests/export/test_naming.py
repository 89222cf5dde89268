import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.errors import OptionError
from lmpnet_cli.export.convert import convert
from lmpnet_cli.export.report.report import report
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.progress import Progress

NAMES = ("kp1", "kp2", "kp3")


@pytest.fixture
def results(tmp_path):
    """A folder of results with one image, and a function that writes it as another method would."""

    def write(method="parts", names=NAMES):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (60, 40)).save(tmp_path / "photos" / "a.png")
        points = np.array([[10.0, 10], [20, 30], [50, 20], [30, 5]])[: len(names)]
        found = Keypoints("a.png", 60, 40, points, np.ones(len(names)))
        write_json(tmp_path / "out" / "keypoints.json", to_coco([found], {"method": method}, names))
        return tmp_path / "out"

    return write


def test_an_export_has_other_names_without_another_run(results, tmp_path):
    folder = results()
    before = (folder / "keypoints.json").read_bytes()
    done = convert(folder, to="csv", names="beak, crown,wing", out=tmp_path / "table.csv")
    assert done.names == ("beak", "crown", "wing")
    assert [line.split(",")[1] for line in done.files[0].read_text().splitlines()] == ["keypoint", *done.names]
    assert (folder / "keypoints.json").read_bytes() == before


@pytest.mark.parametrize(("names", "warned"), [("crown,beak,wing", 1), ("beak,crown,wing", 0), ("bill,crown,wing", 0)])
def test_the_same_names_in_another_order_give_a_warning(results, tmp_path, names, warned):
    folder = results(names=("beak", "crown", "wing"))
    heard = []

    class Listener(Progress):
        def warn(self, message):
            heard.append(message)

    convert(folder, to="csv", names=names, out=tmp_path / "table.csv", progress=Listener())
    report(folder, images=tmp_path / "photos", names=names, progress=Listener())
    assert len(heard) == 2 * warned
    assert all(message.startswith("--names gives the names beak, crown, wing to other keypoints") for message in heard)


def test_a_report_has_other_names_without_another_run(results, tmp_path):
    text = report(results(), images=tmp_path / "photos", names="beak,crown,wing").path.read_text()
    assert '"names": ["beak", "crown", "wing"]' in text and "kp1" not in text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("a,b", r"^--names has 2 names, but there are 3 keypoints \(kp1, kp2, kp3\)"),
        ("a,b,a", "^--names a,b,a: give each keypoint its own name"),
        ("a,,b", "^--names a,,b: give each keypoint its own name"),
        ((), "^--names : give each keypoint its own name"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, message, results, tmp_path):
    for run in (
        lambda: convert(results(), to="csv", names=names, out=tmp_path),
        lambda: report(results(), names=names),
    ):
        with pytest.raises(OptionError, match=message):
            run()


@pytest.mark.parametrize("option", [("--names", "beak,crown,wing"), ("--skeleton", "1-2")])
@pytest.mark.parametrize("method", ["lmpnet", "saliency"])
def test_ranks_have_neither_names_nor_lines_and_one_line_says_why(method, option, results, tmp_path):
    folder = str(results(method))
    for arguments in (["convert", folder, "--to", "cvat"], ["report", folder]):
        given = [*arguments, *option, "--out", str(tmp_path / "x")]
        result = CliRunner().invoke(app, given, env={"COLUMNS": "500"})
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert (
            f"Error: {option[0]} needs parts, but with --method {method} index i is a rank in each image" in line
            and "--method parts" in line
        )
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("names", "skeleton", "edges"),
    [
        (NAMES, "kp1-kp2,kp2-kp3", [[1, 2], [2, 3]]),
        (NAMES, " kp1 - kp2 , 2-3", [[1, 2], [2, 3]]),
        (NAMES, ["kp1-3", "kp3-kp1", "kp1-kp3"], [[1, 3]]),
        (("left-wing", "right-wing", "tail"), "left-wing-right-wing,tail-left-wing", [[1, 2], [3, 1]]),
        (("3", "2", "1"), "3-2", [[1, 2]]),
        (("a", "a-b", "b"), "a-a-b", [[1, 2]]),
    ],
)
def test_a_skeleton_is_pairs_of_names_or_numbers(names, skeleton, edges, results, tmp_path):
    folder = results(names=names)
    labels, _ = convert(folder, to="fiftyone", images=tmp_path / "photos", skeleton=skeleton, out=tmp_path / "f").files
    assert json.loads(labels.read_text())["categories"][0]["skeleton"] == edges


@pytest.mark.parametrize(
    ("names", "pair", "message"),
    [
        (NAMES, "kp1", r"^--skeleton kp1 is not a pair of two keypoints: .* The keypoints are kp1, kp2, kp3\.$"),
        (NAMES, "kp1-beak", "^--skeleton kp1-beak is not a pair"),
        (NAMES, "kp1-kp1", "^--skeleton kp1-kp1 is not a pair of two"),
        (NAMES, "1-4", "^--skeleton 1-4 is not a pair"),
        (NAMES, "", "^--skeleton  is not a pair"),
        (("a", "a-b", "b-c", "c"), "a-b-c", "^--skeleton a-b-c can be read in several ways: .*, 1-3 or 2-4"),
    ],
)
def test_a_pair_that_means_no_two_keypoints_or_several_is_refused(names, pair, message, results, tmp_path):
    with pytest.raises(OptionError, match=message):
        convert(results(names=names), to="cvat", skeleton=pair, out=tmp_path / "x")


def test_names_skeleton_and_category_are_in_every_format_that_has_room(results, tmp_path):
    options = {"names": "beak,crown,wing", "category": " bird ", "images": tmp_path / "photos"}
    lines = {"skeleton": "beak-crown,crown-wing"}
    convert(results(), to="fiftyone", out=tmp_path / "f", **options, **lines)
    convert(results(), to="cvat", out=tmp_path / "c", **options, **lines)
    convert(results(), to="yolo-pose", out=tmp_path / "y", **options)

    with zipfile.ZipFile(tmp_path / "c/annotations.zip") as archive:
        documents = [
            json.loads(archive.read(archive.namelist()[0])),
            json.loads((tmp_path / "f/labels.json").read_text()),
        ]
    for document in documents:
        (category,) = document["categories"]
        assert (category["name"], category["keypoints"]) == ("bird", ["beak", "crown", "wing"])
        assert category["skeleton"] == [[1, 2], [2, 3]]
    (label,) = json.loads((tmp_path / "c/labels.json").read_text())
    assert label["name"] == "bird" and label["svg"].count('data-type="edge"') == 2
    assert '0: "bird"' in (tmp_path / "y/data.yaml").read_text()


def test_a_category_needs_a_name(results):
    with pytest.raises(OptionError, match=r"^--category needs a name, such as bird\.$"):
        convert(results(), to="cvat", category=" ")


def test_a_report_without_keypoints_has_nothing_to_name(tmp_path):
    write_json(tmp_path / "metrics.json", {})
    with pytest.raises(OptionError, match=r"^--names needs keypoints, but .* contains no keypoints\.json"):
        report(tmp_path, names="a,b")
