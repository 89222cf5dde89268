"""Both phases, Ctrl-C and resuming."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from runs import TINY, history, same, weights
from safetensors.torch import load_file, save_file

from lmpnet_cli.errors import CheckpointError, OptionError, TrainingError
from lmpnet_cli.io.checkpoints import load_checkpoint, read_header, read_metadata
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.train import train
from lmpnet_cli.training.trainer import Trainer, deterministic_cudnn

pytestmark = pytest.mark.usefixtures("no_curves")


class Interrupt(Progress):
    """Interrupts a training after some batches of a phase, as Ctrl-C does."""

    def __init__(self, phase: str, batches: int) -> None:
        self.phase, self.left, self.current = phase, batches, ""

    def start(self, task: str, total: int, unit: str = "images") -> None:
        self.current = task.rpartition(": ")[2]  # without the number of the stage
        self._stop_if_due()

    def advance(self, count: int, note: str = "") -> None:
        if note and self.current == self.phase:  # notes come with batches
            self.left -= 1
        self._stop_if_due()

    def _stop_if_due(self) -> None:
        if self.current == self.phase and self.left <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("phase", "batches"), [("network", 0), ("network", 4), ("replica", 1), ("replica", 4)])
def test_resuming_gives_the_same_weights(few_birds, whole, tmp_path, phase, batches):
    """Two epochs of each network, three batches each; interrupted in the first, second, third and fourth epoch."""
    stopped = train(few_birds, out=tmp_path / "run", progress=Interrupt(phase, batches), **TINY | {"epochs": 2})
    assert not stopped.complete
    load_checkpoint(tmp_path / "run/lmpnet.safetensors")
    resumed = train(few_birds, out=tmp_path / "run", resume=True, device="cpu", workers=0)
    assert resumed.complete
    assert resumed.epochs == 4
    assert same(whole / "last.safetensors", tmp_path / "run/last.safetensors")
    assert same(whole / "lmpnet.safetensors", tmp_path / "run/lmpnet.safetensors")


def test_preloaded_images_are_trained_on_and_resumed_with(few_birds, tmp_path):
    options = TINY | {"epochs": 2, "val_fraction": 0.25, "preload": True, "background": 0.2}
    train(few_birds, out=tmp_path / "whole", **options)
    losses = [[row["train_loss"], row["val_loss"]] for row in history(tmp_path / "whole")]
    train(few_birds, out=tmp_path / "files", **options | {"preload": False})
    for row, (train_loss, val_loss) in zip(history(tmp_path / "files"), losses, strict=True):
        assert float(row["train_loss"]) == pytest.approx(float(train_loss), rel=0.05)
        assert float(row["val_loss"]) == pytest.approx(float(val_loss), rel=0.05)

    train(few_birds, out=tmp_path / "run", progress=Interrupt("replica", 2), **options)
    train(few_birds, out=tmp_path / "run", resume=True, device="cpu", workers=0)
    assert same(tmp_path / "whole/last.safetensors", tmp_path / "run/last.safetensors")


def test_images_that_do_not_fit_into_memory_are_refused(few_birds, tmp_path, monkeypatch):
    monkeypatch.setattr("lmpnet_cli.training.batches.free_memory", lambda device: 1000)
    with pytest.raises(OptionError, match=r"--preload needs 0\.\d GB for the images, and 0\.0 GB are free"):
        train(few_birds, out=tmp_path / "run", **TINY | {"preload": True, "size": 448})


def test_the_state_is_written_as_often_as_wanted(few_birds, whole, tmp_path):
    options = TINY | {"epochs": 2, "save_every": 10**6}
    train(few_birds, out=tmp_path / "run", progress=Interrupt("replica", 4), **options)
    assert read_header(tmp_path / "run/last.safetensors")["position"] == ["network", 2]  # the end of a phase
    train(few_birds, out=tmp_path / "run", resume=True, save_every=0, device="cpu", workers=0)
    for name in ("last.safetensors", "lmpnet.safetensors"):
        assert same(whole / name, tmp_path / "run" / name)
    assert len(history(tmp_path / "run")) == 4


def test_resuming_with_validation_and_half_size_weights(few_birds, tmp_path):
    options = TINY | {"epochs": 2, "val_fraction": 0.25, "weight_bits": "16"}
    train(few_birds, out=tmp_path / "whole", **options)
    train(few_birds, out=tmp_path / "run", progress=Interrupt("replica", 4), **options)
    assert len(history(tmp_path / "run")) == 3
    train(few_birds, out=tmp_path / "run", resume=True, device="cpu", workers=0)
    assert same(tmp_path / "whole/last.safetensors", tmp_path / "run/last.safetensors")
    assert same(tmp_path / "whole/lmpnet.safetensors", tmp_path / "run/lmpnet.safetensors")


def test_the_replica_learns_beside_the_best_network(few_birds, tmp_path, monkeypatch):
    """The second epoch of the network is better than the third one, the first of the replica than the second."""

    def validate_as(*accuracies: float) -> None:
        scores = iter(accuracies)
        monkeypatch.setattr(Trainer, "validate", lambda *_: {"val_loss": 1.0, "val_accuracy": next(scores)})

    validate_as(0.95, 0.9, 0.1)
    train(few_birds, out=tmp_path / "one", **TINY | {"epochs": 3, "replica_epochs": 0})
    validate_as(0.95, 0.9, 0.1, 0.5, 0.2)
    train(few_birds, out=tmp_path / "both", **TINY | {"epochs": 3, "replica_epochs": 2})
    assert read_header(tmp_path / "one/lmpnet.safetensors")["position"] == ["network", 2]
    assert read_header(tmp_path / "both/lmpnet.safetensors")["position"] == ["replica", 2]
    best, last = weights(tmp_path / "one/lmpnet.safetensors"), weights(tmp_path / "one/last.safetensors")
    output = weights(tmp_path / "both/lmpnet.safetensors")
    assert all(torch.equal(best[key], output[key]) for key in best)
    assert not all(torch.equal(last[key], output[key]) for key in last)


@pytest.mark.parametrize(
    ("options", "accuracies", "best"),
    [
        ({"epsilon_warmup": 0.5}, (0.9, 0.8, 0.3, 0.5, 0.4), 4),  # epsilon has its final value from the third epoch on
        ({"epsilon_warmup": 0.5}, (0.9, 0.8, 0.5, 0.4, 0.5), 5),
        ({"epsilon_warmup": 0.5}, (0.1, 0.2, 0.9, 0.4, 0.4), 3),
        ({"epsilon_warmup": 0.0}, (0.9, 0.8, 0.3, 0.5, 0.4), 1),
        ({"epsilon_warmup": 1.0}, (0.9, 0.8, 0.3, 0.5, 0.4), 5),  # no epoch has it, so the last one is the best
        ({"epsilon_warmup": 0.5, "pooling": "max"}, (0.9, 0.8, 0.3, 0.5, 0.4), 1),
    ],
)
def test_the_best_epoch_is_one_with_the_final_epsilon(few_birds, tmp_path, monkeypatch, options, accuracies, best):
    scores = iter(accuracies)
    monkeypatch.setattr(Trainer, "validate", lambda *_: {"val_loss": 1.0, "val_accuracy": next(scores)})
    result = train(few_birds, out=tmp_path, **TINY | {"epochs": 5, "replica_epochs": 0} | options)
    assert read_header(tmp_path / "lmpnet.safetensors")["position"] == ["network", best]
    assert result.accuracy == accuracies[best - 1]


def test_a_resumed_training_finds_the_same_best_epoch(few_birds, tmp_path, monkeypatch):
    """Interrupted after the second of five epochs, before epsilon has its final value in the third."""
    scores = iter((0.9, 0.8, 0.3, 0.5, 0.4, 0.6))
    monkeypatch.setattr(Trainer, "validate", lambda *_: {"val_loss": 1.0, "val_accuracy": next(scores)})
    options = TINY | {"epochs": 5, "replica_epochs": 1}
    stopped = train(few_birds, out=tmp_path, progress=Interrupt("network", 7), **options)
    assert (stopped.epochs, stopped.accuracy) == (2, 0.8)
    assert read_header(tmp_path / "lmpnet.safetensors")["position"] == ["network", 2]

    result = train(few_birds, out=tmp_path, resume=True, device="cpu", workers=0)
    assert (result.accuracy, result.replica_accuracy) == (0.5, 0.6)
    epsilon = [float(row["epsilon"]) for row in history(tmp_path)]
    assert epsilon[1] < 0.1 and epsilon[2:5] == [0.1] * 3


def test_the_network_is_frozen_while_the_replica_learns(few_birds, whole, tmp_path):
    train(few_birds, out=tmp_path, **TINY | {"epochs": 2, "replica_epochs": 0})
    one, both = weights(tmp_path / "last.safetensors"), weights(whole / "last.safetensors")
    assert all(torch.equal(one[key], both[key]) for key in one)
    assert any(key.startswith("replica.") for key in both)


def test_a_replica_that_starts_from_the_network(few_birds, tmp_path):
    options = TINY | {"replica_from_network": True, "learning_rate": 1e-12, "freeze": "layer2"}
    train(few_birds, out=tmp_path, **options)
    tensors = weights(tmp_path / "last.safetensors")
    for key in tensors:
        if key.startswith("network.") and "running" not in key and "tracked" not in key:
            torch.testing.assert_close(tensors[key], tensors["replica" + key.removeprefix("network")])


def test_an_interrupted_new_training_leaves_nothing_of_the_old_one(few_birds, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    stopped = train(few_birds, out=tmp_path / "run", overwrite=True, progress=Interrupt("network", 0), **TINY)
    assert not stopped.complete
    assert read_header(tmp_path / "run/lmpnet.safetensors")["position"] == ["network", 0]
    assert not (tmp_path / "run/history.csv").exists()


def test_other_data_cannot_be_resumed(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    for name in "abcd":
        (tmp_path / "other" / name).mkdir(parents=True)
        Image.new("RGB", (30, 30)).save(tmp_path / "other" / name / "1.png")
    with pytest.raises(TrainingError, match="have changed since it was started"):
        train(tmp_path / "other", out=tmp_path / "run", resume=True, workers=0)


def test_resuming_a_finished_training_changes_nothing(few_birds, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    assert train(few_birds, out=tmp_path / "run", resume=True, workers=0).complete
    for name in ("last.safetensors", "lmpnet.safetensors", "last.state", "history.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()


def test_nothing_to_resume(few_birds, tmp_path):
    with pytest.raises(TrainingError, match="no training to resume"):
        train(few_birds, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    "change", [{"train_loss": "=HYPERLINK(0)"}, {"phase": "=1+1"}, {"val_loss": [1]}, {"epoch": None}]
)
def test_a_history_with_other_cells_than_numbers_is_refused(few_birds, whole, tmp_path, change):
    state = whole / "last.state"
    header = json.loads(read_metadata(state)["lmpnet"])
    header["history"][1] |= change
    save_file(load_file(state), tmp_path / "last.state", metadata={"lmpnet": json.dumps(header)})
    with pytest.raises(CheckpointError, match=rf"last\.state cannot be read \(.*history\[1\]\.{next(iter(change))}"):
        train(few_birds, out=tmp_path, resume=True, workers=0)


def test_only_the_columns_of_a_history_are_written(few_birds, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    header = json.loads(read_metadata(whole / "last.state")["lmpnet"])
    header["history"] = [{"=1+1": 1} | row for row in header["history"]]
    header |= {"phase": "replica", "epoch": 1}
    save_file(load_file(whole / "last.state"), tmp_path / "run/last.state", metadata={"lmpnet": json.dumps(header)})
    train(few_birds, out=tmp_path / "run", resume=True, workers=0)
    assert list(history(tmp_path / "run")[0]) == list(history(whole)[0])


def test_a_diverged_training_stops_with_advice(few_birds, tmp_path: Path):
    with pytest.raises(TrainingError, match="--learning-rate"):
        train(few_birds, out=tmp_path / "run", **TINY | {"learning_rate": 1e30, "clip": 0.0, "epochs": 3})


@pytest.mark.parametrize("setting", [False, True])
def test_the_cudnn_setting_is_restored(setting, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", setting)
    with pytest.raises(RuntimeError, match="inside"), deterministic_cudnn():
        assert torch.backends.cudnn.deterministic
        raise RuntimeError("inside")
    assert torch.backends.cudnn.deterministic == setting


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_replica_for_a_given_network_is_that_of_the_whole_training(few_birds, whole, tmp_path, interrupted):
    options = TINY | {"epochs": 2, "network_from": whole / "lmpnet.safetensors"}
    out = tmp_path / "run"
    if interrupted:
        assert not train(few_birds, out=out, progress=Interrupt("replica", 4), **options).complete
        options = {"resume": True, "device": "cpu", "workers": 0}
    train(few_birds, out=out, **options)
    assert same(whole / "lmpnet.safetensors", out / "lmpnet.safetensors")
    assert [row["phase"] for row in history(out)] == ["replica", "replica"]
    origin = read_header(out / "lmpnet.safetensors")["initial_weights"]
    assert origin == "network of lmpnet.safetensors" + ("" if interrupted else ": none")


def test_a_network_of_other_options_or_classes_is_refused(few_birds, whole, tmp_path):
    options = TINY | {"network_from": whole / "lmpnet.safetensors"}
    with pytest.raises(CheckpointError, match=r"was trained with --epsilon 0\.1\. Pass the same"):
        train(few_birds, out=tmp_path / "run", **options | {"epsilon": 0.05})
    save_file({}, tmp_path / "foreign.safetensors", metadata={"lmpnet": '{"format_version": 1}'})
    with pytest.raises(CheckpointError, match=r"foreign\.safetensors does not fit its own description"):
        train(few_birds, out=tmp_path / "run", **options | {"network_from": tmp_path / "foreign.safetensors"})
    for name in ("heron", "egret"):
        (tmp_path / "others" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (64, 64), (80 * index, 90, 20)).save(tmp_path / f"others/{name}/{index}.png")
    with pytest.raises(CheckpointError, match="which are not the 2 classes of DATA"):
        train(tmp_path / "others", out=tmp_path / "run", **options)
    with pytest.raises(OptionError, match="--replica-epochs must be at least 1"):
        train(few_birds, out=tmp_path / "run", **options | {"replica_epochs": 0})
