"""The commands as a shell meets them: exit codes, stdout and stderr apart, messages without a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from lmpnet_cli import __version__
from lmpnet_cli.cli import app, main
from lmpnet_cli.commands import PANELS

FAST = ("--workers", "0", "--device", "cpu")
LMPNET = ("--method", "lmpnet")  # the checkpoint of these tests has no parts


def run(*arguments: object):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def photo(birds: Path) -> Path:
    return sorted((birds / "images").rglob("*.jpg"))[0]


def test_version_and_bare_call():
    assert run("--version").stdout.strip() == f"lmpnet {__version__}"
    assert run().exit_code == 2


def test_discover_writes_progress_to_stderr_only(photo, checkpoint, tmp_path):
    result = run("discover", photo, "-c", checkpoint, "-o", tmp_path / "out", *LMPNET, *FAST)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "keypoints.json" in result.stderr.replace("\n", "")
    assert "lmpnet (ranks in each image; squared distance)" in result.stderr
    assert (tmp_path / "out/keypoints.json").exists()


def test_quiet_says_nothing(photo, checkpoint, tmp_path):
    result = run("discover", photo, "-c", checkpoint, "-o", tmp_path / "out", "-q", *LMPNET, *FAST)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_json_is_one_object_on_stdout(photo, birds, checkpoint, tmp_path):
    common = ("-c", checkpoint, "--json", *FAST)
    for arguments in (
        ("discover", photo, "-o", tmp_path / "a", *LMPNET, *common),
        ("eval", birds, "-o", tmp_path / "b", *common),
        ("viz-filters", photo, "-o", tmp_path / "c", "--tile", 32, *common),
        ("salient", birds, "-o", tmp_path / "e", "--method", "lmpnet", *common),
        ("discover", photo, "-o", tmp_path / "f", "--method", "saliency", *common),
    ):
        result = run(*arguments)
        assert result.stderr == ""
        assert isinstance(json.loads(result.stdout), dict)
    small = ("--backbone", "test_resnet", "--init", "none", "--size", 64, "--epochs", 1)
    trained = run("train", birds, "-o", tmp_path / "d", "--json", *small, *FAST)
    assert json.loads(trained.stdout)["complete"] is True


def test_eval_takes_thr_several_times(birds, checkpoint, tmp_path):
    result = run("eval", birds, "--thr", 1, "--thr", 2.5, "-c", checkpoint, "-o", tmp_path / "out", *FAST)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert [row["thr"] for row in metrics["results"]] == [1.0, 2.5]
    assert "thr 2.5" in result.stderr
    assert "image centre" in result.stderr


def test_salient_shows_a_table_and_its_cost_comes_first(birds, checkpoint, tmp_path):
    stride = ("--patch", 32, "--coarse-stride", 32)  # four copies of each image
    result = run("salient", birds, "-c", checkpoint, "-o", tmp_path / "out", *stride, *FAST)
    assert result.exit_code == 0 and result.stdout == ""
    told = result.stderr.index("4 occluded copies of each image")
    assert told < result.stderr.index("Landmarks detected") < result.stderr.index("salient.png")
    assert "most often" in result.stderr and "left eye" in result.stderr
    with Image.open(tmp_path / "out/salient.png") as image:
        assert min(image.size) > 300


def test_results_go_to_a_named_default(photo, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("discover", photo, "-c", checkpoint, *LMPNET, *FAST).exit_code == 0
    assert (tmp_path / "results/discover/keypoints.json").exists()
    again = run("discover", photo, "-c", checkpoint, *LMPNET, *FAST)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert run("discover", photo, "-c", checkpoint, "--overwrite", *LMPNET, *FAST).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--k", "0"),
        ("--k", "1001"),
        ("--k", "many"),
        ("--thr", "0"),
        ("--thr", "-1"),
        ("--thr", "nan"),
        ("--batch-size", "0"),
        ("--workers", "-2"),
        ("--iterations", "0"),
        ("--filters", "0"),
        ("--method", "magic"),
        ("--precision", "8"),
        ("--coarse-stride", "17", "--method", "saliency"),
        ("--keep", "0"),
        ("--thr", "3", "--method", "parts"),
        ("--no-replica", "--method", "parts"),
        ("--distance", "manhattan"),
        ("--distance", "squared", "--method", "parts"),
        ("--mask-radius", "0"),
        ("--mask-radius", "15"),
        ("--fusion", "predictions", "--no-replica"),
        ("--position", "middle"),
        ("--panels",),
        ("--classifier", "resnet18"),
        ("--no-such-option",),
    ],
)
def test_wrong_usage_is_exit_code_2_and_names_the_option(arguments, photo, tmp_path):
    result = run("discover", photo, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr
    assert not (tmp_path / "out").exists()


def test_what_the_user_can_fix_is_exit_code_1(photo, checkpoint, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign.safetensors").write_bytes(b"something else")
    (tmp_path / "file").touch()
    out = ("-o", tmp_path / "out", *FAST)
    for arguments, words in (
        (("discover", tmp_path / "nowhere", "-c", checkpoint, *out), "nowhere not found. Check the spelling"),
        (("discover", tmp_path / "empty", "-c", checkpoint, *out), "No images in"),
        (("discover", photo, "-c", tmp_path / "none.safetensors", *out), "none.safetensors not found"),
        (("discover", photo, "-c", tmp_path / "foreign.safetensors", *out), "not a readable safetensors"),
        (("discover", photo, "-c", checkpoint, "-o", tmp_path / "out", "--device", "cuda:7"), "--device auto"),
        (("discover", photo, "-c", checkpoint, "-o", tmp_path / "file"), "Choose another --out"),
        (("eval", tmp_path / "empty", "-c", checkpoint, *out), "must contain either"),
        (("viz-filters", tmp_path / "empty", "-c", checkpoint, *out), "No images in"),
        (("train", tmp_path / "empty", *out), "no class folders"),
        (("train", tmp_path / "nowhere", *out), "nowhere not found"),
        (("train", tmp_path / "empty", "--resume", *out), "no training to resume"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1, arguments
        assert words in result.stderr.replace("\n", " "), result.stderr
        assert result.stderr.count("Error:") == 1
        assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_skipped_images_are_named_and_the_rest_is_done(birds, checkpoint, tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "in/[red]good.png")
    (tmp_path / "in/bad.png").write_bytes(b"x")
    result = run("discover", tmp_path / "in", "-c", checkpoint, "-o", tmp_path / "out", *LMPNET, *FAST)
    assert result.exit_code == 0
    assert "Warning: bad.png is skipped" in result.stderr
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["[red]good.png"]


def test_training_without_a_connection_ends_in_one_line(birds, tmp_path):
    result = run("train", birds, "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: The pretrained weights of resnet50.tv_in1k are not on this computer")
    assert "Connect to the internet once, pass --init FILE" in line and "--init none" in line


def test_training_says_how_to_use_its_checkpoint(birds, tmp_path):
    small = ("--backbone", "test_resnet", "--init", "none", "--size", 64, "--epochs", 1, "--parts", 0)
    result = run("train", birds, "-o", tmp_path / "out", *small, *FAST)
    assert result.exit_code == 0, result.stderr
    assert f"lmpnetdiscoverIMAGES-c{tmp_path}/out" in "".join(result.stderr.split())


def test_interrupted_training_says_how_to_go_on(birds, tmp_path, monkeypatch):
    from lmpnet_cli.training import trainer

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.Trainer, "train_epoch", interrupt)
    small = ("--backbone", "test_resnet", "--init", "none", "--size", 64)
    result = run("train", birds, "-o", tmp_path / "out", *small, *FAST)
    assert result.exit_code == 130
    assert "No epoch is complete; to continue: lmpnet train" in result.stderr.replace("\n", " ")
    assert "--resume" in result.stderr and "lmpnet discover" not in result.stderr
    assert (tmp_path / "out/lmpnet.safetensors").exists()


def test_the_shell_completes_commands_options_and_formats():
    def complete(words):
        told = {"_LMPNET_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        program = Path(sys.executable).with_name("lmpnet")
        return subprocess.run([program], env=os.environ | told, capture_output=True, text=True).stdout.split()

    assert complete("lmpnet disc") == ["discover"]
    assert "--report" in complete("lmpnet discover --re")
    assert complete("lmpnet convert x --to l") == ["label-studio"]


@pytest.mark.parametrize("command", [name for commands in PANELS.values() for name in commands])
def test_every_command_shows_an_example(command):
    text = CliRunner().invoke(app, [command, "--help"]).stdout
    assert f"lmpnet {command} " in text.split("Options")[0] or f"lmpnet {command}\n" in text, text


def test_python_m_works(tmp_path):
    done = subprocess.run([sys.executable, "-m", "lmpnet_cli", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"lmpnet {__version__}"


def test_the_program_has_torch_ask_for_large_pages_unless_told_otherwise(sigterm, monkeypatch):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    monkeypatch.setattr("sys.argv", ["lmpnet", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    with pytest.raises(SystemExit):
        main()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
