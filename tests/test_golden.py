"""The same numbers as ever: a stored run on drawn birds, and the same bytes for the same seed.

`make golden` repeats this with the oldest PyTorch that is supported. `python tests/test_golden.py` writes the stored
run anew, after a change that is meant to change numbers.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load

from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.filters.visualize import visualize_filters
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.coco import read_keypoints
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.training.train import train

STORED = Path(__file__).parent / "golden"
OPTIONS: dict[str, Any] = {"device": "cpu", "precision": "32", "workers": 0}
PIXELS, SCORE = 0.5, 0.01  # how far a keypoint may lie, or its score, on another machine or with another PyTorch
TRAINING: dict[str, Any] = {
    **OPTIONS, "backbone": "test_resnet", "layer": "layer3", "init": "none", "size": 64, "epochs": 2,
    "batch_size": 16, "parts": 0,
}  # fmt: skip


def birds(folder: Path) -> Path:
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    from draw_birds import write_cub

    write_cub(folder, per_species=24, seed=3, size=96, species=4)
    return folder


def made(folder: Path) -> dict[str, Path]:
    """The files of a stored run, made now."""
    photos = [min(each.iterdir()) for each in sorted((bundled_examples() / "images").iterdir())]
    discover(photos, out=folder / "lmpnet", method="lmpnet", overlays=False, **OPTIONS)
    discover(photos, out=folder / "parts", method="parts", overlays=False, **OPTIONS)
    evaluate(out=folder / "eval", split="all", thr=(1.0, 3.0), parts=False, **OPTIONS)
    visualize_filters(photos, out=folder / "filters", columns=4, rows=3, **OPTIONS)
    train(birds(folder / "birds"), out=folder / "train", **TRAINING)
    return {
        "lmpnet.json": folder / "lmpnet" / "keypoints.json",
        "parts.json": folder / "parts" / "keypoints.json",
        "metrics.json": folder / "eval" / "metrics.json",
        "filters.json": folder / "filters" / "filters.json",
        "history.csv": folder / "train" / "history.csv",
    }


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return made(tmp_path_factory.mktemp("golden"))


def apart(one: list[Keypoints], other: list[Keypoints]) -> float:
    """The share of keypoints that are there in one only, or lie or score elsewhere."""
    assert [(each.file_name, each.width, each.height) for each in one] == [
        (each.file_name, each.width, each.height) for each in other
    ]
    differing = []
    for first, second in zip(one, other, strict=True):
        near = np.linalg.norm(first.xy - second.xy, axis=1) < PIXELS
        alike = np.abs(first.scores - second.scores) < SCORE
        differing += np.where(first.found & second.found, ~(near & alike), first.found != second.found).tolist()
    return float(np.mean(differing))


@pytest.mark.parametrize("name", ["lmpnet.json", "parts.json"])
def test_keypoints_are_those_of_the_stored_run(now, name):
    found, stored = read_keypoints(now[name]), read_keypoints(STORED / name)
    assert len(stored) == 8 and sum(each.found.sum() for each in stored) > 20
    assert apart(found, stored) <= 0.03  # two maxima that are equal but for the last digit may change places
    assert [each.class_name for each in found] == [each.class_name for each in stored]


def test_scores_are_those_of_the_stored_run(now):
    found, stored = (json.loads(path.read_text()) for path in (now["metrics.json"], STORED / "metrics.json"))
    assert found["entropy"] == pytest.approx(stored["entropy"], abs=1e-3)
    rows = [*zip(found["results"], stored["results"], strict=True)]
    rows += [(found["baselines"][name], stored["baselines"][name]) for name in stored["baselines"]]
    assert len(rows) == 5
    for one, other in rows:
        for metric in ("greedy_pck", "greedy_pck_one_to_one", "greedy_pck_bbox"):
            assert one[metric]["mean"] == pytest.approx(other[metric]["mean"], abs=2)
        assert one["coverage"] == pytest.approx(other["coverage"], abs=2)


def test_the_bundled_model_works_on_drawn_birds(now):
    """It beats five copies of the image centre one-to-one, and its first point sits on the bird."""
    metrics = json.loads(now["metrics.json"].read_text())
    row, centre = metrics["results"][0], metrics["baselines"]["image_centre"]
    assert row["greedy_pck_one_to_one"]["mean"] > centre["greedy_pck_one_to_one"]["mean"]
    assert row["greedy_pck"]["kp"][0] > 70


def test_filters_are_those_of_the_stored_run(now):
    found, stored = (json.loads(path.read_text())["filters"] for path in (now["filters.json"], STORED / "filters.json"))
    one, other = ({each["filter"] for each in filters} for filters in (found, stored))
    assert len(one & other) >= len(other) - 1


def test_training_runs_as_the_stored_one(now):
    texts = [path.read_text() for path in (now["history.csv"], STORED / "history.csv")]
    found, stored = ([*csv.DictReader(text.splitlines())] for text in texts)
    assert len(found) == len(stored) == 4
    for one, other in zip(found, stored, strict=True):
        assert float(one["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=0.02)
        assert float(one["learning_rate"]) == float(other["learning_rate"])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but for the times in it."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del found["run.json"]
    for name in ("keypoints.json", "metrics.json", "filters.json"):
        if name in found:
            lines = [line for line in found[name].splitlines() if b"date_created" not in line]
            found[name] = b"\n".join(lines)
    if "last.state" in found:  # beside weights and momentum it holds the seconds of each epoch
        tensors = load(found["last.state"])
        found["last.state"] = b"".join(key.encode() + tensors[key].numpy().tobytes() for key in sorted(tensors))
    found.pop("curves.png", None)
    if "history.csv" in found:
        rows = [*csv.DictReader(found["history.csv"].decode().splitlines())]
        found["history.csv"] = repr([{k: v for k, v in row.items() if "second" not in k} for row in rows]).encode()
    return found


def test_the_same_seed_gives_the_same_bytes(tmp_path, checkpoint):
    data = birds(tmp_path / "birds")
    for number in "12":
        options = {"checkpoint": checkpoint, **OPTIONS}
        train(data, out=tmp_path / number / "train", **(TRAINING | {"epochs": 1}))
        discover(data / "images", out=tmp_path / number / "discover", method="lmpnet", **options)
        visualize_filters(data / "images", out=tmp_path / number / "filters", columns=4, rows=3, **options)
        evaluate(data, out=tmp_path / number / "eval", **options)
    for command in ("train", "discover", "filters", "eval"):
        one, again = (contents(tmp_path / number / command) for number in "12")
        assert one.keys() == again.keys()
        assert [name for name in one if one[name] != again[name]] == []


if __name__ == "__main__":
    import shutil
    import tempfile

    STORED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for name, path in made(Path(place)).items():
            shutil.copy(path, STORED / name)
