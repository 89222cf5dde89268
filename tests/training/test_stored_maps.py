"""Training on stored maps of the frozen layers."""

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from runs import TINY, history, same
from test_trainer import Interrupt

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.errors import OptionError, OutputError, TrainingError
from lmpnet_cli.progress import Progress
from lmpnet_cli.training import stored_maps
from lmpnet_cli.training.stored_maps import FILE, StoredMaps, StoredViews
from lmpnet_cli.training.train import train

pytestmark = pytest.mark.usefixtures("no_curves")

FROZEN = TINY | {"freeze": "layer2", "epochs": 2, "val_fraction": 0.25}  # of the layers up to layer3


def losses(run: Path) -> list[float]:
    return [float(row[name]) for row in history(run) for name in ("train_loss", "val_loss")]


class Watch(Progress):
    """Calls a function at the beginning of every stage and after every batch."""

    def __init__(self, look: Callable[[str], None]) -> None:
        self.look, self.stage = look, ""

    def start(self, task: str, total: int, unit: str = "images") -> None:
        self.stage = task.rpartition(": ")[2]  # without its number
        self.look(self.stage)

    def advance(self, count: int, note: str = "") -> None:
        self.look(self.stage)


def test_as_many_views_as_epochs_give_the_usual_training(few_birds, tmp_path):
    options = FROZEN | {"backbone": "resnet18", "background": 0.2}
    train(few_birds, out=tmp_path / "usual", **options)
    train(few_birds, out=tmp_path / "stored", **options, stored_maps=2)
    train(few_birds, out=tmp_path / "more", **options, stored_maps=9)
    train(few_birds, out=tmp_path / "one", **options, stored_maps=1)

    usual = losses(tmp_path / "usual")
    assert len(usual) == 8
    assert losses(tmp_path / "stored") == pytest.approx(usual, abs=2e-3)
    assert losses(tmp_path / "more") == losses(tmp_path / "stored")  # there are no more views than epochs
    assert losses(tmp_path / "one")[2] != pytest.approx(usual[2], abs=2e-3)  # the second epoch repeats the first view


def test_views_are_repeated():
    rows = torch.arange(6).to(torch.float16).reshape(6, 1, 1, 1).numpy()
    views = StoredViews(StoredMaps(rows, [0, 1, 2, 3, 4, 5]), images=2, views=3)
    assert [views[epoch, 1][1] for epoch in range(5)] == [1, 3, 5, 1, 3]
    assert [views[epoch, 0][0].item() for epoch in range(5)] == [0, 2, 4, 0, 2]


def test_the_file_exists_while_its_stage_runs_and_has_the_stated_size(few_birds, tmp_path):
    seen: dict[str, int] = {}

    def look(stage: str) -> None:
        file = tmp_path / "run" / FILE
        seen[stage] = file.stat().st_size if file.exists() else 0

    train(few_birds, out=tmp_path / "run", progress=Watch(look), **FROZEN, stored_maps=2)
    maps = 2 * 9 + 3  # two views of nine training images, three validation images
    assert seen["network"] == seen["replica"] == maps * 48 * 8 * 8 * 2
    assert not (tmp_path / "run" / FILE).exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("stage", ["network, storing maps", "network"])
def test_the_file_is_deleted_after_an_error(few_birds, tmp_path, stage, error):
    def fail(current: str) -> None:
        if current == stage and (tmp_path / "run" / FILE).exists():
            raise error

    options = FROZEN | {"progress": Watch(fail), "stored_maps": 1}
    if error is KeyboardInterrupt:
        assert not train(few_birds, out=tmp_path / "run", **options).complete
    else:
        with pytest.raises(error):
            train(few_birds, out=tmp_path / "run", **options)
    assert not (tmp_path / "run" / FILE).exists()


@pytest.mark.parametrize(("phase", "batches"), [("network", 3), ("replica", 1), ("replica", 3)])
def test_resuming_gives_the_same_weights(few_birds, tmp_path, phase, batches):
    options = FROZEN | {"stored_maps": 2}
    train(few_birds, out=tmp_path / "whole", **options)
    assert not train(few_birds, out=tmp_path / "run", progress=Interrupt(phase, batches), **options).complete
    assert train(few_birds, out=tmp_path / "run", resume=True, device="cpu", workers=0).complete
    for name in ("last.safetensors", "lmpnet.safetensors"):
        assert same(tmp_path / "whole" / name, tmp_path / "run" / name)


def test_workers_do_not_change_the_maps(few_birds, tmp_path):
    options = FROZEN | {"stored_maps": 1, "epochs": 1}
    for workers in (0, 1):
        train(few_birds, out=tmp_path / str(workers), **options | {"workers": workers})
    assert same(tmp_path / "0/last.safetensors", tmp_path / "1/last.safetensors")


def test_too_small_a_disk_is_refused_before_the_old_result_is_deleted(few_birds, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    before = (tmp_path / "run/history.csv").read_bytes()
    needed = (2 * 9 + 3) * 48 * 8 * 8 * 2
    options = FROZEN | {"out": tmp_path / "run", "overwrite": True, "stored_maps": 2}

    monkeypatch.setattr(stored_maps.shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(OutputError, match=r"--stored-maps needs 0\.0 GB in .*0\.0 GB are free.*fewer views"):
        train(few_birds, **options)
    assert (tmp_path / "run/history.csv").read_bytes() == before

    monkeypatch.setattr(stored_maps.shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    assert train(few_birds, **options).complete


def test_maps_beyond_float16_are_refused(tmp_path):
    batches = [(torch.full((1, 2, 3, 3), 1e6), torch.tensor([0]))]
    message = r"do not fit in float16; remove --stored-maps"
    with pytest.raises(TrainingError, match=message), stored_maps.stored_maps(tmp_path, batches):
        pass
    assert not (tmp_path / FILE).exists()


def test_a_full_disk_while_maps_are_written_is_one_message(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # bytes; the maps take 144
    try:
        batches = [(torch.zeros(1, 8, 3, 3), torch.tensor([0]))]
        message = r"Cannot write .*lmpnet-maps: File too large.*--out"
        with pytest.raises(OutputError, match=message), stored_maps.stored_maps(tmp_path, batches):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "none"}, r"--stored-maps needs --freeze LAYER"),
        ({"devices": 2}, r"--devices 2 cannot be combined with --stored-maps"),
        ({"num_nodes": 2}, r"--num-nodes 2 cannot be combined with --stored-maps"),
        ({"stored_maps": 0}, r"--stored-maps 0 is out of range"),
    ],
)
def test_wrong_combinations_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        TrainConfig(data="data", **{"freeze": "layer2", "stored_maps": 2} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "layer3"}, r"--freeze layer3 freezes all of test_resnet, which leaves no layer to train"),
        ({"freeze": "layer2.0"}, r"--stored-maps needs --freeze with a whole layer of test_resnet.*layer2"),
        (
            {"backbone": "test_vit", "layer": "-1", "freeze": "model.blocks.0", "size": 160},
            r"test_vit cannot run alone",
        ),
    ],
)
def test_networks_without_a_frozen_part_of_their_own_are_refused_before_any_work(few_birds, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        train(few_birds, out=tmp_path / "run", **FROZEN | options, stored_maps=1)
    assert not (tmp_path / "run").exists()
