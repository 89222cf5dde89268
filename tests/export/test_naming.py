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

NAMES = ("kp1", "kp2", "kp3")


@pytest.fixture
def results(tmp_path):
    """A folder of results with one image, and a function that writes it as another method would."""

    def write(method="parts", names=NAMES):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (60, 40)).save(tmp_path / "photos" / "a.png")
        found = Keypoints(
            "a.png", 60, 40, np.array([[10.0, 10], [20, 30], [50, 20]])[: len(names)], np.ones(len(names))
        )
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


@pytest.mark.parametrize("method", ["lmpnet", "saliency"])
def test_ranks_have_no_names_and_one_line_says_why(method, results, tmp_path):
    folder = str(results(method))
    for arguments in (["convert", folder, "--to", "csv"], ["report", folder]):
        given = [*arguments, "--names", "beak,crown,wing", "--out", str(tmp_path / "x")]
        result = CliRunner().invoke(app, given, env={"COLUMNS": "500"})
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert f"with --method {method} index i is a rank in each image" in line and "--method parts" in line
        assert not (tmp_path / "x").exists()


def test_a_report_without_keypoints_has_nothing_to_name(tmp_path):
    write_json(tmp_path / "metrics.json", {})
    with pytest.raises(OptionError, match=r"^--names needs keypoints, but .* contains no keypoints\.json"):
        report(tmp_path, names="a,b")
