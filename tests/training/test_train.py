"""`lmpnet train` as a user meets it, on drawn birds."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from random_states import generators
from runs import TINY, history, same, weights
from safetensors.torch import save_file
from torch.multiprocessing import ProcessRaisedException, start_processes

from lmpnet_cli.data.datasets import read_classes
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import CheckpointError, DatasetError, OptionError, OutputError
from lmpnet_cli.io.checkpoints import load_checkpoint, read_header
from lmpnet_cli.progress import Progress
from lmpnet_cli.training import train as train_module
from lmpnet_cli.training.train import original_error, train

FILES = ["curves.png", "history.csv", "last.safetensors", "last.state", "lmpnet.safetensors", "run.json"]


def test_files_and_history(few_birds, tmp_path):
    states = generators()
    level = logging.getLogger("lightning.fabric").level
    options = TINY | {"epochs": 2, "replica_epochs": 1, "val_fraction": 0.25}
    result = train(few_birds, out=tmp_path / "run", **options)
    assert states == generators()
    assert logging.getLogger("lightning.fabric").level == level

    assert sorted(path.name for path in result.out.iterdir()) == FILES
    assert result.complete
    with Image.open(result.out / "curves.png") as curves:
        assert min(curves.size) > 100
    rows = history(result.out)
    assert [(row["phase"], row["epoch"]) for row in rows] == [("network", "1"), ("network", "2"), ("replica", "1")]
    run = json.loads((result.out / "run.json").read_text())
    assert run["options"]["epochs"] == 2
    assert run["images"] == {"train": 9, "val": 3, "test": 12}
    header = read_header(result.out / "lmpnet.safetensors")
    assert header["initial_weights"] == "none"
    assert header["spec"]["classes"] == list(read_classes([few_birds]).classes)
    assert load_checkpoint(result.out / "lmpnet.safetensors").replica is not None


@pytest.mark.usefixtures("no_curves")
def test_a_recipe_and_its_values_are_recorded_and_resumed(few_birds, tmp_path):
    options = {name: value for name, value in TINY.items() if name != "layer"}
    train(few_birds, out=tmp_path / "run", **options, recipe="laptop", replica_epochs=1)
    train(few_birds, out=tmp_path / "run", resume=True, workers=0)
    for record in (
        json.loads((tmp_path / "run/run.json").read_text())["options"],
        read_header(tmp_path / "run/lmpnet.safetensors")["training"],
    ):
        assert record["recipe"] == "laptop"
        assert (record["layer"], record["freeze"], record["background"]) == ("layer3", "layer2", 0.15)
        assert (record["size"], record["epochs"], record["replica_epochs"]) == (64, 1, 1)


STATED = {"stride": "in the 1x1 convolution of the first block", "maxpool": "no padding"}


class Told(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize(
    ("metadata", "options", "used"),
    [
        (STATED, {}, (True, True)),
        (STATED, {"stride_in_1x1": False, "caffe_pooling": False}, (False, False)),
        (STATED, {"stride_in_1x1": True, "caffe_pooling": False}, (True, False)),
        ({}, {}, (False, False)),
        ({}, {"stride_in_1x1": True}, (True, False)),
    ],
)
def test_weights_that_state_how_they_were_trained_are_used_so(few_birds, tmp_path, metadata, options, used):
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet26").state_dict(), path, metadata=metadata)
    network = {"backbone": "resnet26", "layer": "layer2", "init": str(path), "replica_epochs": 0}
    told = Told()
    train(few_birds, out=tmp_path / "run", progress=told, **TINY | network | options)

    spec = load_checkpoint(tmp_path / "run/lmpnet.safetensors").spec.backbone
    recorded = json.loads((tmp_path / "run/run.json").read_text())["options"]
    for found in (spec.stride_in_1x1, spec.caffe_pooling), (recorded["stride_in_1x1"], recorded["caffe_pooling"]):
        assert found == used
    lines = [line for line in told.lines if "states that its weights" in line]
    assert len(lines) == (2 if metadata and not options else 0)
    assert all(line.startswith(("--stride-in-1x1 is used", "--caffe-pooling is used")) for line in lines)


@pytest.fixture
def unread(monkeypatch):
    """Fail when images are read."""
    monkeypatch.setattr(train_module, "unreadable", lambda *_: pytest.fail("the images are read"))


def test_weights_that_do_not_fit_are_refused_before_the_images_are_read(few_birds, tmp_path, unread):
    path = tmp_path / "weights.safetensors"
    whole = timm.create_model("test_resnet").state_dict()
    save_file({key: value for key, value in whole.items() if not key.startswith(("layer3", "layer4", "fc"))}, path)
    with pytest.raises(CheckpointError, match=r"up to layer2 only: add --layer layer2"):
        train(few_birds, out=tmp_path / "run", **TINY | {"init": str(path)})


def test_without_a_connection_a_training_ends_in_one_message(few_birds, tmp_path, unread):
    """Before any image is read; HF_HUB_OFFLINE is set for all tests."""
    with pytest.raises(CheckpointError, match=r"resnet50.tv_in1k are not on this computer .*--init FILE.*--init none"):
        train(few_birds, out=tmp_path / "run")
    with pytest.raises(OptionError, match="no feature layer 'layer9'"):
        train(few_birds, out=tmp_path / "run", layer="layer9")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_curves")
def test_a_training_that_resumes_needs_no_pretrained_weights(few_birds, tmp_path, monkeypatch):
    def build_with_random_weights(*arguments, pretrained, **options):
        asked.append(pretrained)
        return build(*arguments, **options)

    asked: list[bool] = []
    build = train_module.build
    monkeypatch.setattr(train_module, "check_pretrained", lambda name: asked.append(True))
    monkeypatch.setattr(train_module, "build", build_with_random_weights)
    train(few_birds, out=tmp_path / "run", **TINY | {"init": "pretrained"})
    assert asked == [True, True]
    train(few_birds, out=tmp_path / "run", resume=True, workers=0)
    assert asked[2:] == [False]
    assert read_header(tmp_path / "run/lmpnet.safetensors")["initial_weights"] == "pretrained"


@pytest.mark.usefixtures("no_curves")
def test_seeds_repeat_and_differ(few_birds, whole, tmp_path):
    options = TINY | {"epochs": 2}
    train(few_birds, out=tmp_path / "a", **options | {"workers": 1})
    assert same(whole / "last.safetensors", tmp_path / "a/last.safetensors")
    train(few_birds, out=tmp_path / "b", **options | {"seed": 1})
    assert not same(whole / "last.safetensors", tmp_path / "b/last.safetensors")


def fail(rank: int) -> None:
    raise OptionError("test_resnet has no feature layer 'layer9'.")


def test_an_error_in_one_of_several_processes_is_the_same_error():
    with pytest.raises(ProcessRaisedException) as caught:
        start_processes(fail, nprocs=1, start_method="fork")
    error = original_error(caught.value)
    assert isinstance(error, OptionError)
    assert str(error) == "test_resnet has no feature layer 'layer9'."


def test_any_other_error_of_a_process_stays_as_it_is():
    error = ProcessRaisedException("Traceback:\nZeroDivisionError: division by zero", 0, 1)
    assert original_error(error) is error


def test_a_result_is_not_overwritten_and_the_check_comes_first(few_birds, whole):
    with pytest.raises(OutputError, match=r"already holds lmpnet\.safetensors.*--overwrite"):
        train(few_birds / "does not matter", out=whole)


def test_two_processes_are_one_with_twice_the_batch_and_torchrun_gives_the_same(few_birds, tmp_path):
    """No batch norm in this network, so the gradients of both halves add up to those of the whole."""
    options = TINY | {"backbone": "test_convnext", "layer": "stages.2", "val_fraction": 0.0, "epochs": 1}
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in (options | {"batch_size": 2, "devices": 2}).items()]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "lmpnet_cli"]
    command = [*torchrun, "train", str(few_birds), f"--out={tmp_path / 'run'}", *flags]
    # most of the time goes into starting processes, so both kinds start side by side
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        train(few_birds, out=tmp_path / "one", **options | {"batch_size": 4})
        train(few_birds, out=tmp_path / "two", **options | {"batch_size": 2, "devices": 2})
        output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output[-2000:]

    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    for first, second in zip(one, two, strict=True):
        assert float(first["train_loss"]) == pytest.approx(float(second["train_loss"]), rel=1e-3)
    a, b = weights(tmp_path / "one/last.safetensors"), weights(tmp_path / "two/last.safetensors")
    assert max((a[key] - b[key]).abs().max().item() for key in a) < 1e-4

    c = weights(tmp_path / "run/last.safetensors")
    assert b.keys() == c.keys() and all(torch.equal(b[key], c[key]) for key in b)
    assert len(history(tmp_path / "run")) == len(two)


def test_class_folders_with_broken_images(tmp_path):
    random = np.random.default_rng(0)
    for name in ("heron", "little egret"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"ö {number}.jpg")
    (tmp_path / "data/heron/broken.jpg").write_bytes(b"no image")
    truncated = tmp_path / "data/heron/truncated.jpg"
    truncated.write_bytes((tmp_path / "data/heron/ö 0.jpg").read_bytes()[:-400])
    for number in range(2):
        nearly = (tmp_path / f"data/heron/ö {number}.jpg").read_bytes()[:-2]
        (tmp_path / f"data/heron/nearly {number}.jpg").write_bytes(nearly)
    told: list[str] = []
    progress = Progress()
    progress.warn = told.append
    result = train(tmp_path / "data", out=tmp_path / "run", progress=progress, **TINY)
    assert [path.name for path in result.skipped] == ["broken.jpg", "truncated.jpg"]
    assert any("nearly 0.jpg and 1 more: the file ends early" in message for message in told)
    listed = json.loads((tmp_path / "run/run.json").read_text())["skipped"]
    assert [Path(entry["file_name"]).name for entry in listed] == ["broken.jpg", "truncated.jpg"]


def test_one_class_with_one_image(tmp_path):
    for name, count in (("heron", 1), ("egret", 3)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (30, 30), (number * 40, 90, 120)).save(tmp_path / "data" / name / f"{number}.png")
    assert train(tmp_path / "data", out=tmp_path / "run", **TINY).complete


def test_one_class_is_no_training(tmp_path):
    (tmp_path / "data/heron").mkdir(parents=True)
    Image.new("RGB", (30, 30)).save(tmp_path / "data/heron/1.png")
    with pytest.raises(DatasetError, match="two classes"):
        train(tmp_path / "data", out=tmp_path / "run", **TINY)
    assert not (tmp_path / "run/lmpnet.safetensors").exists()


def test_training_ends_with_parts(few_birds, tmp_path, short_learning):
    train(few_birds, out=tmp_path / "run", **TINY | {"parts": 2, "replica_epochs": 0, "val_fraction": 0.25})
    model = load_checkpoint(tmp_path / "run/lmpnet.safetensors")
    assert model.part_head.spec.names == ("kp1", "kp2")
    assert (tmp_path / "run/parts.png").exists()
    learned_from = model.part_head.spec.learned_from["images"]
    assert learned_from == 9  # validation images choose the best epoch, and parts are not learned from them
    assert load_checkpoint(tmp_path / "run/last.safetensors").part_head is None


def test_a_vision_transformer_gets_parts(few_birds, tmp_path, short_learning):
    options = {"backbone": "test_vit", "layer": "-1", "size": 160, "parts": 2, "replica_epochs": 0}
    train(few_birds, out=tmp_path / "run", **TINY | options)
    run = {"checkpoint": tmp_path / "run/lmpnet.safetensors", "device": "cpu", "workers": 0, "precision": "32"}
    result = discover(few_birds / "images", method="parts", **run)
    assert result.method == "parts" and len(result.keypoints) == 24


def test_training_on_images_without_parts_warns_and_is_complete(tmp_path, short_learning):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), "white" if name[0] == "a" else "black").save(tmp_path / "data" / name)
    warnings: list[str] = []

    class Listener(Progress):
        def warn(self, message: str) -> None:
            warnings.append(message)

    options = TINY | {"parts": 5, "replica_epochs": 0, "val_fraction": 0.0}
    assert train(tmp_path / "data", out=tmp_path / "run", progress=Listener(), **options).complete
    assert any("saved without parts" in message for message in warnings)
    assert load_checkpoint(tmp_path / "run/lmpnet.safetensors").part_head is None
