"""Shared fixtures: drawn birds, a small trained model, photographs where LMPNET_DATA names them."""

import os

# before typer is imported anywhere: plain text, 200 columns, also where CI asks for colour
os.environ |= {"COLUMNS": "200", "TERMINAL_WIDTH": "200", "_TYPER_FORCE_DISABLE_TERMINAL": "1", "HF_HUB_OFFLINE": "1"}

if "PYTEST_XDIST_WORKER" in os.environ:  # a thread for each of those that work side by side, before torch is imported
    os.environ["OMP_NUM_THREADS"] = "1"

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))


# the slowest files come first, so that processes side by side end together
FIRST = (
    "test_ray.py", "test_train.py", "test_photographs.py", "test_saliency.py", "test_trainer.py", "test_onnx.py",
    "test_golden.py", "test_end_to_end.py", "test_learn_parts.py", "test_cli.py", "test_runs.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture
def sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM, which `main` replaces, at the end of the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four drawn species in the CUB layout, 24 images each, half of them test."""
    from draw_birds import write_cub

    folder = tmp_path_factory.mktemp("data") / "birds"
    write_cub(folder, per_species=24, seed=3, size=96, species=4)
    return folder


@pytest.fixture(scope="session")
def checkpoint(birds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Network and replica after one short epoch each: it knows nothing, but it is complete."""
    from lmpnet_cli.training.train import train

    out = tmp_path_factory.mktemp("checkpoint") / "run"
    train(birds, out=out, **SMALL)
    return out / "lmpnet.safetensors"


def copy_some(birds: Path, folder: Path, count: int) -> Path:
    """Copy so many drawn birds with their folders, and write one file that is no image."""
    for source in sorted((birds / "images").rglob("*.jpg"))[:count]:
        target = folder / source.parent.name / source.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(source, target)
    (folder / "broken.jpg").write_text("no image")
    return folder


@pytest.fixture(scope="session")
def named(birds: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with three named parts."""
    from lmpnet_cli.parts.learn_parts import learn_parts

    out = tmp_path_factory.mktemp("named") / "run"
    with pytest.MonkeyPatch.context() as patch:
        shorten_descents(patch)
        learn_parts(
            birds, checkpoint=checkpoint, names="head,wing,tail", out=out, workers=0, device="cpu", precision="32"
        )
    return out / "lmpnet.safetensors"


def shorten_descents(patch: pytest.MonkeyPatch) -> None:
    """Shorten part learning for tests that do not depend on the quality of the parts."""
    from lmpnet_cli.parts import fit
    from lmpnet_cli.parts.learning import Recipe

    patch.setattr(fit, "DEFAULT_RECIPE", Recipe(starts=2, trial=10, steps=40))


SMALL = {
    "backbone": "test_resnet",
    "layer": "layer3",
    "init": "none",
    "size": 64,
    "epochs": 1,
    "batch_size": 16,
    "workers": 0,
    "device": "cpu",
    "precision": "32",
    "parts": 0,
}


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder that LMPNET_DATA names, with cub-full and cub-crops."""
    folder = os.environ.get("LMPNET_DATA")
    if not folder:
        pytest.skip("LMPNET_DATA does not name a folder with photographs")
    return Path(folder)


@pytest.fixture(scope="module")
def benchmark_programs() -> Iterator[None]:
    """Make the programs in `benchmarks/` importable."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))
