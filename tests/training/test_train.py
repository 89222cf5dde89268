"""`lmpnet train` as a user meets it, on drawn birds."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL
from PIL import Image
from safetensors.torch import load_file

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.data.datasets import read_classes
from lmpnet_cli.errors import DatasetError, OptionError, OutputError, TrainingError
from lmpnet_cli.io.checkpoints import load_checkpoint, read_header
from lmpnet_cli.training import trainer
from lmpnet_cli.training.dataset import EpochSampler, TrainingSet
from lmpnet_cli.training.schedule import Schedule
from lmpnet_cli.training.train import train

FILES = ["curves.png", "history.csv", "last.safetensors", "last.state", "lmpnet.safetensors", "run.json"]


def history(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def same(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_files_and_history(birds, tmp_path):
    result = train(birds, out=tmp_path / "run", **SMALL | {"epochs": 2, "replica_epochs": 1})
    assert sorted(path.name for path in result.out.iterdir()) == FILES
    assert result.complete
    rows = history(result.out)
    assert [(row["phase"], row["epoch"]) for row in rows] == [("network", "1"), ("network", "2"), ("replica", "1")]
    run = json.loads((result.out / "run.json").read_text())
    assert run["options"]["epochs"] == 2
    assert run["images"] == {"train": 44, "val": 4, "test": 48}
    header = read_header(result.out / "lmpnet.safetensors")
    assert header["initial_weights"] == "none"
    assert header["spec"]["classes"] == list(read_classes([birds]).classes)
    assert load_checkpoint(result.out / "lmpnet.safetensors").replica is not None


def test_seeds_repeat_and_differ(birds, tmp_path):
    options = SMALL | {"replica_epochs": 0}
    for name, seed, workers in (("a", 0, 0), ("b", 0, 1), ("c", 1, 0)):
        train(birds, out=tmp_path / name, **options | {"seed": seed, "workers": workers})
    assert same(tmp_path / "a/last.safetensors", tmp_path / "b/last.safetensors")
    assert not same(tmp_path / "a/last.safetensors", tmp_path / "c/last.safetensors")


class StopsAfter:
    """Interrupts a training at a batch, as Ctrl-C does."""

    def __init__(self, monkeypatch, batches: int) -> None:
        self.left = batches
        inner = trainer.Trainer._inputs

        def inputs(own, phase, images):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return inner(own, phase, images)

        monkeypatch.setattr(trainer.Trainer, "_inputs", inputs)


@pytest.mark.parametrize("batches", [0, 4, 7, 10])
def test_resuming_gives_the_same_weights(birds, tmp_path, monkeypatch, batches):
    """Two epochs of each network, three batches each; interrupted in the first, second, third and fourth epoch."""
    options = SMALL | {"epochs": 2, "val_fraction": 0.0}
    train(birds, out=tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        StopsAfter(patch, batches)
        stopped = train(birds, out=tmp_path / "run", **options)
    assert not stopped.complete
    load_checkpoint(tmp_path / "run/lmpnet.safetensors")
    resumed = train(birds, out=tmp_path / "run", resume=True, device="cpu", workers=0)
    assert resumed.complete
    assert resumed.epochs == 4
    assert same(tmp_path / "whole/last.safetensors", tmp_path / "run/last.safetensors")
    assert same(tmp_path / "whole/lmpnet.safetensors", tmp_path / "run/lmpnet.safetensors")


def interrupt_after(monkeypatch, phase: str, epoch: int) -> None:
    inner = trainer.Trainer._epoch

    def stop(own, current, network, optimizer, batches, schedule, number):
        if (current, number) == (phase, epoch):
            raise KeyboardInterrupt
        return inner(own, current, network, optimizer, batches, schedule, number)

    monkeypatch.setattr(trainer.Trainer, "_epoch", stop)


def test_resuming_with_validation_and_half_size_weights(birds, tmp_path, monkeypatch):
    options = SMALL | {"epochs": 2, "val_fraction": 0.2, "half": True}
    train(birds, out=tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        interrupt_after(patch, "replica", 1)
        train(birds, out=tmp_path / "run", **options)
    train(birds, out=tmp_path / "run", resume=True, device="cpu", workers=0)
    assert same(tmp_path / "whole/last.safetensors", tmp_path / "run/last.safetensors")
    assert same(tmp_path / "whole/lmpnet.safetensors", tmp_path / "run/lmpnet.safetensors")


def test_the_replica_learns_beside_the_best_network(birds, tmp_path, monkeypatch):
    """The first epoch of the network is the best, the second one of the replica is not."""

    def validate_as(*accuracies: float) -> None:
        scores = iter(accuracies)
        monkeypatch.setattr(trainer.Trainer, "_validate", lambda *_: {"val_loss": 1.0, "val_accuracy": next(scores)})

    validate_as(0.9, 0.1)
    train(birds, out=tmp_path / "one", **SMALL | {"epochs": 2, "replica_epochs": 0})
    validate_as(0.9, 0.1, 0.5, 0.2)
    train(birds, out=tmp_path / "both", **SMALL | {"epochs": 2})
    assert read_header(tmp_path / "one/lmpnet.safetensors")["position"] == ["network", 1]
    assert read_header(tmp_path / "both/lmpnet.safetensors")["position"] == ["replica", 1]
    best, last = weights(tmp_path / "one/lmpnet.safetensors"), weights(tmp_path / "one/last.safetensors")
    output = weights(tmp_path / "both/lmpnet.safetensors")
    assert all(torch.equal(best[key], output[key]) for key in best)
    assert not all(torch.equal(last[key], output[key]) for key in last)


def test_an_interrupted_new_training_leaves_nothing_of_the_old_one(birds, tmp_path, monkeypatch):
    train(birds, out=tmp_path / "run", **SMALL | {"seed": 1})
    interrupt_after(monkeypatch, "network", 0)
    assert not train(birds, out=tmp_path / "run", overwrite=True, **SMALL).complete
    assert read_header(tmp_path / "run/lmpnet.safetensors")["position"] == ["network", 0]
    assert not (tmp_path / "run/history.csv").exists()


def test_other_data_cannot_be_resumed(birds, tmp_path):
    train(birds, out=tmp_path / "run", **SMALL)
    for name in ("a", "b", "c", "d"):
        (tmp_path / "other" / name).mkdir(parents=True)
        Image.new("RGB", (30, 30)).save(tmp_path / "other" / name / "1.png")
    with pytest.raises(TrainingError, match="begun with other pictures"):
        train(tmp_path / "other", out=tmp_path / "run", resume=True, workers=0)


def test_an_error_in_one_of_several_processes_is_the_same_error(birds, tmp_path):
    with pytest.raises(OptionError, match="no feature layer 'layer9'"):
        train(birds, out=tmp_path / "run", **SMALL | {"layer": "layer9", "devices": 2})


def test_resuming_a_finished_training_changes_nothing(birds, tmp_path):
    train(birds, out=tmp_path / "run", **SMALL)
    before = (tmp_path / "run/last.safetensors").read_bytes()
    assert train(birds, out=tmp_path / "run", resume=True, workers=0).complete
    assert (tmp_path / "run/last.safetensors").read_bytes() == before


def test_nothing_to_resume(birds, tmp_path):
    with pytest.raises(TrainingError, match="no training to resume"):
        train(birds, out=tmp_path / "run", resume=True)


def test_a_result_is_not_overwritten_and_the_check_comes_first(birds, checkpoint):
    with pytest.raises(OutputError, match=r"already holds lmpnet\.safetensors.*--overwrite"):
        train(birds / "does not matter", out=checkpoint.parent)


def test_two_processes_are_one_with_twice_the_batch_and_torchrun_gives_the_same(birds, tmp_path):
    """No batch norm in this network, so the gradients of both halves add up to those of the whole."""
    options = SMALL | {"backbone": "test_convnext", "layer": "stages.2", "val_fraction": 0.0, "epochs": 1}
    train(birds, out=tmp_path / "one", **options | {"batch_size": 16})
    train(birds, out=tmp_path / "two", **options | {"batch_size": 8, "devices": 2})
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    for first, second in zip(one, two, strict=True):
        assert float(first["train_loss"]) == pytest.approx(float(second["train_loss"]), rel=1e-3)
    a, b = weights(tmp_path / "one/last.safetensors"), weights(tmp_path / "two/last.safetensors")
    assert max((a[key] - b[key]).abs().max().item() for key in a) < 1e-4

    flags = [f"--{key.replace('_', '-')}={value}" for key, value in (options | {"batch_size": 8, "devices": 2}).items()]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "lmpnet_cli"]
    done = subprocess.run(
        [*torchrun, "train", str(birds), f"--out={tmp_path / 'run'}", *flags],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    c = weights(tmp_path / "run/last.safetensors")
    assert b.keys() == c.keys() and all(torch.equal(b[key], c[key]) for key in b)
    assert len(history(tmp_path / "run")) == len(two)


def test_the_network_is_frozen_while_the_replica_learns(birds, tmp_path):
    train(birds, out=tmp_path / "one", **SMALL | {"replica_epochs": 0, "val_fraction": 0.0})
    train(birds, out=tmp_path / "both", **SMALL | {"replica_epochs": 1, "val_fraction": 0.0})
    one, both = weights(tmp_path / "one/last.safetensors"), weights(tmp_path / "both/last.safetensors")
    assert all(torch.equal(one[key], both[key]) for key in one)
    assert any(key.startswith("replica.") for key in both)


def test_a_replica_that_starts_from_the_network(birds, tmp_path):
    options = SMALL | {"replica_from_network": True, "learning_rate": 1e-12, "val_fraction": 0.0, "freeze": "layer2"}
    train(birds, out=tmp_path / "run", **options)
    tensors = weights(tmp_path / "run/last.safetensors")
    for key in tensors:
        if key.startswith("network.") and "running" not in key and "tracked" not in key:
            torch.testing.assert_close(tensors[key], tensors["replica" + key.removeprefix("network")])


def test_class_folders_with_a_broken_picture(tmp_path):
    random = np.random.default_rng(0)
    for name in ("heron", "little egret"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"ö {number}.jpg")
    (tmp_path / "data/heron/broken.jpg").write_bytes(b"no picture")
    truncated = tmp_path / "data/heron/truncated.jpg"
    truncated.write_bytes((tmp_path / "data/heron/ö 0.jpg").read_bytes()[:-400])
    result = train(tmp_path / "data", out=tmp_path / "run", **SMALL)
    assert [path.name for path in result.skipped] == ["broken.jpg", "truncated.jpg"]
    listed = json.loads((tmp_path / "run/run.json").read_text())["skipped"]
    assert [Path(entry["file_name"]).name for entry in listed] == ["broken.jpg", "truncated.jpg"]


def test_one_class_with_one_image(tmp_path):
    for name, count in (("heron", 1), ("egret", 3)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (30, 30), (number * 40, 90, 120)).save(tmp_path / "data" / name / f"{number}.png")
    assert train(tmp_path / "data", out=tmp_path / "run", **SMALL).complete


def test_one_class_is_no_training(tmp_path):
    (tmp_path / "data/heron").mkdir(parents=True)
    Image.new("RGB", (30, 30)).save(tmp_path / "data/heron/1.png")
    with pytest.raises(DatasetError, match="two classes"):
        train(tmp_path / "data", out=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run/lmpnet.safetensors").exists()


def test_a_diverged_training_stops_with_advice(birds, tmp_path):
    with pytest.raises(TrainingError, match="--learning-rate"):
        train(birds, out=tmp_path / "run", **SMALL | {"learning_rate": 1e30, "clip": 0.0, "epochs": 3})


def test_schedule():
    config = TrainConfig(data=Path("x"), learning_rate=0.64, epsilon=0.1, epsilon_warmup=0.5, warmup=0.1)
    schedule = Schedule(config, steps=100, batch=32)
    assert schedule.peak == pytest.approx(0.32)
    rates = [schedule.learning_rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.032, rel=1e-3)
    assert max(rates) == pytest.approx(0.32, rel=0.03)
    assert rates[-1] < 0.001
    assert [schedule.epsilon(step) for step in (0, 25, 50, 99)] == pytest.approx([0, 0.05, 0.1, 0.1])


def test_an_epoch_shows_every_image_once_whatever_the_number_of_processes():
    one = EpochSampler(20, 8, seed=3)
    halves = [EpochSampler(20, 4, seed=3, rank=rank, world=2) for rank in (0, 1)]
    whole = [index for batch in one for _, index in batch]
    assert len(whole) == len(set(whole)) == 16
    for batch, first, second in zip(one, *halves, strict=True):
        assert sorted(batch) == sorted(first + second)
    one.epoch = 1
    assert [index for batch in one for _, index in batch] != whole


def test_background_pictures_carry_the_label_none(birds):
    data = read_classes([birds])
    dataset = TrainingSet(data.samples, data.classes, 64, seed=0, background=0.3, max_pixels=10**6)
    labels = [dataset[0, index][1] for index in range(60)]
    assert labels.count(len(data.classes)) in range(8, 30)
    assert dataset[0, 0][0].shape == (3, 64, 64)
    assert torch.equal(dataset[0, 5][0], dataset[0, 5][0])
    assert not torch.equal(dataset[0, 5][0], dataset[1, 5][0])
