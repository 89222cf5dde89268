"""Runs that end early, and weights and maps whose results might not be finite."""

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

from lmpnet_cli.cli import main
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.provenance import Manifest, RunImages
from lmpnet_cli.discovery.store import LOCAL_CHUNKS, ChunkQueue, local_store
from lmpnet_cli.errors import OutputError, TrainingError
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.filters.visualize import visualize_filters
from lmpnet_cli.io.checkpoints import load_checkpoint, save_checkpoint
from lmpnet_cli.io.coco import read_keypoints
from lmpnet_cli.model.clustering import learnable_clustering
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.train import train

OPTIONS = {"workers": 0, "device": "cpu"}


def test_a_run_that_is_asked_to_stop_cleans_up_and_names_resume(birds, checkpoint, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "lmpnet_cli",
        "discover",
        str(birds / "images"),
        "-c",
        str(checkpoint),
        "--method",
        "lmpnet",
    ]
    with subprocess.Popen([*command, "--out", str(out), "--batch-size", "1"], stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not local_store(out).numbers() and time.monotonic() < until:
            time.sleep(0.01)
        process.terminate()
        message = process.communicate()[1].decode()
    assert process.returncode == 130, message
    assert "--resume" in message and "Traceback" not in message
    assert sorted(path.name for path in out.iterdir()) == [LOCAL_CHUNKS, ".overlays-new"]


def test_other_processes_are_asked_to_stop_as_well(sigterm, monkeypatch):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "1")  # which `main` would set for all tests
    monkeypatch.setattr(sys, "argv", ["lmpnet", "--version"])
    with pytest.raises(SystemExit):
        main()
    installed = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the child has the default
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    with pytest.raises(KeyboardInterrupt):
        installed(signal.SIGTERM, None)
    child.join(10)
    assert child.exitcode == -signal.SIGTERM


def test_a_chunk_on_a_full_disk_is_one_message(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    manifest = Manifest(RunImages([], 1, ""), 1, [], {}, {})
    queue = ChunkQueue(local_store(tmp_path), manifest, ["a.jpg"], resume=False)
    queue.add([], [("a.jpg", "not an image")])
    with monkeypatch.context() as patch, pytest.raises(OutputError, match=r"No space left .* repeat .* --resume"):
        patch.setattr(Path, "write_bytes", full)
        queue.write(0)
    assert [*tmp_path.rglob("*.json*")] == []


@pytest.fixture(scope="module")
def grey_images(tmp_path_factory) -> Path:
    """Two classes whose images are all the same grey."""
    folder = tmp_path_factory.mktemp("grey")
    for kind in "ab":
        (folder / kind).mkdir()
        for number in range(4):
            Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(folder / kind / f"{number}.png")
    return folder


def test_a_data_set_of_one_colour_trains_to_finite_weights(grey_images, tmp_path):
    warnings = []

    class Recording(Progress):
        def warn(self, message: str) -> None:
            warnings.append(message)

    train(grey_images, out=tmp_path / "run", progress=Recording(), **(SMALL | {"parts": 3}))
    model = load_checkpoint(tmp_path / "run" / "lmpnet.safetensors")
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    assert any("saved without parts" in message for message in warnings)
    rows = (tmp_path / "run" / "history.csv").read_text().lower()
    assert "nan" not in rows and "inf" not in rows


def changed(checkpoint: Path, path: Path, change) -> Path:
    """Write the model with other weights."""
    model = load_checkpoint(checkpoint)
    with torch.no_grad():
        change(model)
    save_checkpoint(path, model, {})
    return path


def kill_filters(model) -> None:
    """Make all maps zero: every filter is dead."""
    for network in (model.network, model.replica):
        for module in network.backbone.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.zero_()
                module.bias.fill_(-1)


def overflow(model) -> None:
    """Make maps as large as float32 and bfloat16 can hold."""
    for network in (model.network, model.replica):
        *_, last = (m for m in network.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d))
        last.weight.fill_(1e37)


@pytest.mark.parametrize("change", [kill_filters, overflow])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_dead_and_overflowing_filters_give_finite_results(change, precision, birds, checkpoint, tmp_path):
    weights = changed(checkpoint, tmp_path / "changed.safetensors", change)
    images = sorted((birds / "images").rglob("*.jpg"))[:3]
    options = {"checkpoint": weights, "precision": precision, **OPTIONS}
    discover(images, out=tmp_path / "found", method="lmpnet", **options)
    for each in read_keypoints(tmp_path / "found" / "keypoints.json"):
        assert np.isfinite(each.xy[each.found]).all() and np.isfinite(each.scores[each.found]).all()
        assert change is not kill_filters or not each.found.any()
    visualize_filters(images, out=tmp_path / "filters", columns=3, rows=2, **options)
    evaluate(birds, out=tmp_path / "scores", **options)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for name in ("found/keypoints.json", "filters/filters.json", "scores/metrics.json"):
        json.loads((tmp_path / name).read_text(), parse_constant=refuse)


def test_saliency_of_a_dead_network_is_finite(birds, checkpoint, tmp_path):
    weights = changed(checkpoint, tmp_path / "changed.safetensors", kill_filters)
    image = min((birds / "images").rglob("*.jpg"))
    options = {"method": "saliency", "coarse_stride": 16, "panels": True, "checkpoint": weights, **OPTIONS}
    for each in discover(image, out=tmp_path / "out", **options).keypoints:
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
