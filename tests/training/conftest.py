"""Fixtures of the training tests: few small images, and one complete training that several tests compare with."""

from pathlib import Path

import numpy as np
import pytest
from conftest import shorten_descents
from runs import TINY

from lmpnet_cli.training import state


@pytest.fixture(scope="session")
def few_birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn species in the CUB layout: 12 training images and 12 test images."""
    from draw_birds import write_cub

    folder = tmp_path_factory.mktemp("data") / "few"
    write_cub(folder, per_species=8, seed=3, size=64, species=3)
    return folder


@pytest.fixture(scope="session")
def whole(few_birds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted training, two epochs of each network."""
    from lmpnet_cli.training.train import train

    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        _draw_no_curves(patch)
        train(few_birds, out=out, **TINY | {"epochs": 2})
    return out


@pytest.fixture
def short_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten part learning."""
    shorten_descents(monkeypatch)


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip drawing `curves.png`, which takes half the time of a small training."""
    _draw_no_curves(monkeypatch)


def _draw_no_curves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state, "draw_curves", lambda history: np.zeros((4, 4, 3), np.uint8))
