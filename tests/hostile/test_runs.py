"""Runs that end before they should, and numbers that would not stay finite."""

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL
from PIL import Image

from lmpnet_cli.cli import _stop_like_ctrl_c
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.store import JOURNAL, Journal
from lmpnet_cli.errors import OutputError, TrainingError
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.filters.visualize import visualize_filters
from lmpnet_cli.io.checkpoints import load_checkpoint, save_checkpoint
from lmpnet_cli.io.coco import read_keypoints
from lmpnet_cli.model.clustering import learnable_clustering
from lmpnet_cli.training.train import train

OPTIONS = {"workers": 0, "device": "cpu"}


def test_a_run_that_is_asked_to_stop_tidies_up_and_says_how_to_go_on(birds, checkpoint, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lmpnet_cli", "discover", str(birds / "images"), "-c", str(checkpoint)]
    with subprocess.Popen([*command, "--out", str(out), "--batch-size", "1"], stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not (out / JOURNAL).exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.terminate()
        callback = process.communicate()[1].decode()
    assert process.returncode == 130, callback
    assert "--resume" in callback and "Traceback" not in callback
    assert sorted(path.name for path in out.iterdir()) == [".overlays-new", JOURNAL]


def test_other_processes_are_asked_to_stop_as_well():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    with pytest.raises(KeyboardInterrupt):
        _stop_like_ctrl_c()
    child.join(10)
    assert child.exitcode == -signal.SIGTERM


def test_a_journal_on_a_full_disk_is_one_message(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    journal = Journal(tmp_path, {"images": 1}, resume=False)
    journal.add(1, [], [("a.jpg", "why")], 0)
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match=r"No space left on device\. Make room, then add"):
        journal.write(0)


@pytest.fixture(scope="module")
def of_one_colour(tmp_path_factory) -> Path:
    """Two classes whose pictures are all the same grey."""
    folder = tmp_path_factory.mktemp("grey")
    for kind in "ab":
        (folder / kind).mkdir()
        for number in range(4):
            Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(folder / kind / f"{number}.png")
    return folder


def test_a_data_set_of_one_colour_trains_to_finite_weights(of_one_colour, tmp_path):
    callback = []

    class Told:
        def start(self, *_, **__): ...
        def advance(self, *_, **__): ...
        def tell(self, message): ...
        def warn(self, message):
            callback.append(message)

    train(of_one_colour, out=tmp_path / "run", progress=Told(), **(SMALL | {"parts": 3}))
    model = load_checkpoint(tmp_path / "run" / "lmpnet.safetensors")
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    assert any("saved without parts" in message for message in callback)
    rows = (tmp_path / "run" / "history.csv").read_text().lower()
    assert "nan" not in rows and "inf" not in rows


def changed(checkpoint: Path, path: Path, change) -> Path:
    """The model with other weights."""
    model = load_checkpoint(checkpoint)
    with torch.no_grad():
        change(model)
    save_checkpoint(path, model, {})
    return path


def silence(model) -> None:
    """All maps are zero: every filter is dead."""
    for network in (model.network, model.replica):
        for module in network.backbone.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.zero_()
                module.bias.fill_(-1)


def shout(model) -> None:
    """Maps at the end of what float32 and bfloat16 can hold."""
    for network in (model.network, model.replica):
        *_, last = (m for m in network.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d))
        last.weight.fill_(1e37)


@pytest.mark.parametrize("change", [silence, shout])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_dead_and_overflowing_filters_give_finite_results(change, precision, birds, checkpoint, tmp_path):
    weights = changed(checkpoint, tmp_path / "changed.safetensors", change)
    pictures = sorted((birds / "images").rglob("*.jpg"))[:3]
    options = {"checkpoint": weights, "precision": precision, **OPTIONS}
    discover(pictures, out=tmp_path / "found", method="lmpnet", **options)
    for each in read_keypoints(tmp_path / "found" / "keypoints.json"):
        assert np.isfinite(each.xy[each.found]).all() and np.isfinite(each.scores[each.found]).all()
        assert change is not silence or not each.found.any()
    visualize_filters(pictures, out=tmp_path / "filters", columns=3, rows=2, **options)
    evaluate(birds, out=tmp_path / "scores", **options)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for name in ("found/keypoints.json", "filters/filters.json", "scores/metrics.json"):
        json.loads((tmp_path / name).read_text(), parse_constant=refuse)


def test_saliency_of_a_network_that_says_nothing_is_finite(birds, checkpoint, tmp_path):
    weights = changed(checkpoint, tmp_path / "changed.safetensors", silence)
    picture = min((birds / "images").rglob("*.jpg"))
    options = {"method": "saliency", "coarse_stride": 16, "panels": True, "checkpoint": weights, **OPTIONS}
    for each in discover(picture, out=tmp_path / "out", **options).keypoints:
        assert np.isfinite(each.xy[each.found]).all() and np.isfinite(each.scores[each.found]).all()


@pytest.mark.parametrize("fill", [0.0, -1.0, float("nan"), float("inf"), float("-inf"), 3e38])
def test_clustering_of_maps_without_a_peak_is_finite(fill):
    clustered = learnable_clustering(torch.full((2, 4, 7, 7), fill), k=3)
    assert clustered.shape == (2, 3, 7, 7) and bool(clustered.isfinite().all())


def test_a_training_that_diverges_stops_with_advice_and_keeps_the_last_whole_epoch(birds, tmp_path):
    out = tmp_path / "run"
    train(birds, out=out, **SMALL, replica_epochs=0)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    diverging = SMALL | {"epochs": 3, "learning_rate": 1e12, "clip": 0.0, "warmup": 0.0, "replica_epochs": 0}
    with pytest.raises(TrainingError, match=r"no longer a finite number in epoch 1 .*Lower --learning-rate"):
        train(birds, out=tmp_path / "wild", **diverging)
    names = sorted(path.name for path in (tmp_path / "wild").iterdir())
    assert "lmpnet.safetensors" not in names
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_two_runs_into_one_folder_are_kept_apart(birds, checkpoint, tmp_path):
    from lmpnet_cli.io.output_folder import lock_output

    with lock_output(tmp_path / "out", (), overwrite=True):
        for command in (discover, visualize_filters):
            with pytest.raises(OutputError, match="Another run of lmpnet is writing into"):
                command(birds / "images", out=tmp_path / "out", checkpoint=checkpoint, **OPTIONS)
        for command in (evaluate, train):
            options = SMALL if command is train else {"checkpoint": checkpoint, **OPTIONS}
            with pytest.raises(OutputError, match="Another run of lmpnet is writing into"):
                command(birds, out=tmp_path / "out", **options)
    assert [*tmp_path.iterdir()] == []
