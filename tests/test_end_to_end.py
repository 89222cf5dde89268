"""From photos sorted into classes to keypoints: a small network learns drawn birds from random weights."""

from pathlib import Path

import pytest

from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.training.train import train


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data and the run: four species, 60 photos each, half of them for training."""
    from draw_birds import write_cub

    root = tmp_path_factory.mktemp("learned")
    write_cub(root / "birds", per_species=60, seed=5, size=96, species=4)
    train(
        root / "birds",
        out=root / "run",
        backbone="resnet10t",
        layer="layer2",
        init="none",
        size=96,
        epochs=16,
        replica_epochs=4,
        learning_rate=0.1,
        batch_size=16,
        val_fraction=0.0,
        device="cpu",
        precision="32",  # the accuracy must not depend on the processor
        workers=1,
        parts=0,
    )
    return root / "birds", root / "run"


def test_it_beats_the_image_centre_one_to_one(learned):
    data, run = learned
    metrics = evaluate(data, checkpoint=run / "lmpnet.safetensors", thr=(1.0,), device="cpu", workers=0).metrics
    found, centre = metrics["results"][0], metrics["baselines"]["image_centre"]
    assert found["greedy_pck_one_to_one"]["mean"] > centre["greedy_pck_one_to_one"]["mean"]
    assert found["found"] > 4
    assert metrics["accuracy"] > 0.4
