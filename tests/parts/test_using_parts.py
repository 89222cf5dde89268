"""What `discover` and `eval` do with a model that has parts."""

import json

import numpy as np
import pytest
import torch
from conftest import shorten_descents

from lmpnet_cli.data.listing import list_images
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.drawing.colors import COLORS, keypoint_color
from lmpnet_cli.errors import CheckpointError, OptionError
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.io.checkpoints import load_checkpoint, part_head_spec, read_header
from lmpnet_cli.io.coco import read_keypoints
from lmpnet_cli.model.part_head import soft_argmax


@pytest.fixture(autouse=True)
def short_learning(monkeypatch):
    shorten_descents(monkeypatch)


OPTIONS = {"workers": 0, "device": "cpu", "precision": "32"}
PARTS = OPTIONS | {"method": "parts"}


def test_discover_finds_parts_with_their_names(birds, named, tmp_path):
    photos = birds / "images"
    result = discover(photos, checkpoint=named, out=tmp_path / "out", **PARTS)
    assert (result.method, result.names) == ("parts", ("head", "wing", "tail"))
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert document["categories"][0]["keypoints"] == ["head", "wing", "tail"]
    assert (document["info"]["method"], document["info"]["k"]) == ("parts", 3)
    assert "same part" in document["info"]["description"]
    assert all("keypoint_replica_shares" not in each for each in document["annotations"])
    threshold = part_head_spec(read_header(named)).threshold
    for each in read_keypoints(tmp_path / "out/keypoints.json"):
        assert each.xy.shape == (3, 2)
        assert (each.scores[each.found] >= threshold - 1e-4).all() and np.isnan(each.scores[~each.found]).all()


def test_positions_and_scores_are_those_of_the_part_head(birds, named):
    from lmpnet_cli.data.images import read_image, to_input

    file = list_images([birds / "images"])[5]
    image = read_image(file.path)
    model = load_checkpoint(named)
    pixels = torch.from_numpy(to_input(image.rgb, 64).transpose(2, 0, 1).copy())[None]
    maps = model.network.backbone(model.normalize(pixels))
    found = soft_argmax(model.part_head(maps)[:, :3])
    result = discover(file.path, checkpoint=named, **PARTS).keypoints[0]
    side = maps.shape[2]
    for part in np.flatnonzero(result.found):
        row, column = found.positions[0, part].tolist()
        expected = [(column + 0.5) * image.width / side - 0.5, (row + 0.5) * image.height / side - 0.5]
        assert result.xy[part] == pytest.approx(np.clip(expected, 0, [image.width - 1, image.height - 1]), abs=0.05)
        assert result.scores[part] == pytest.approx(found.scores[0, part].item(), abs=1e-4)


def test_the_method_is_the_one_that_was_chosen(birds, named, checkpoint):
    photo = next((birds / "images").rglob("*.jpg"))
    ranks = discover(photo, checkpoint=named, method="lmpnet", **OPTIONS)
    assert (ranks.method, ranks.names) == ("lmpnet", ("kp1", "kp2", "kp3", "kp4", "kp5"))
    assert discover(photo, checkpoint=named, k=3, **PARTS).method == "parts"

    # an option of another method is an error, its default also
    for name, value in {"thr": 3.0, "filters": 512, "margin": 0, "replica": True, "patch": 16}.items():
        with pytest.raises(OptionError, match=f"--{name}.* belongs to --method .*, but this run uses --method parts"):
            discover(photo, checkpoint=named, **PARTS, **{name: value})
    with pytest.raises(OptionError, match="--k 4 does not fit: this model has 3 parts"):
        discover(photo, checkpoint=named, k=4, **PARTS)
    with pytest.raises(CheckpointError, match="has no parts"):
        discover(photo, checkpoint=checkpoint, **PARTS)


def test_a_loaded_model_brings_its_parts(birds, named):
    photo = next((birds / "images").rglob("*.jpg"))
    model = load_checkpoint(named)
    result = discover(photo, model=model, **PARTS)
    assert result.method == "parts" and model.replica is not None
    np.testing.assert_array_equal(result.keypoints[0].xy, discover(photo, checkpoint=named, **PARTS).keypoints[0].xy)


def test_keypoints_stay_when_the_input_has_another_size(birds, named):
    small, large = (discover(birds / "images", checkpoint=named, size=size, **PARTS).keypoints for size in (64, 80))
    both = [(a, b) for a, b in zip(small, large, strict=True)]
    away = np.concatenate([np.linalg.norm(a.xy - b.xy, axis=1) / max(a.width, a.height) for a, b in both])
    assert np.nanmedian(away) < 0.12


def test_sixteen_keypoints_have_sixteen_colours():
    assert len({keypoint_color(index) for index in range(16)}) == 16 == len(COLORS)


def test_eval_scores_the_parts_beside_the_ranks(birds, named, checkpoint, tmp_path):
    metrics = evaluate(birds, checkpoint=named, stability=True, out=tmp_path / "out", **OPTIONS).metrics
    parts = metrics["parts"]
    assert metrics["k"] == 5 and parts["k"] == 3
    assert parts["landmark_regression"]["fitted_on"] == "48 training images"
    assert set(parts["landmark_regression"]["baselines"]) == {
        "image_midpoint",
        "random",
        "mean_shape",
        "true_points",
    }
    assert parts["landmark_regression"]["baselines"]["true_points"] < parts["landmark_regression"]["error"]
    assert set(parts["landmark_regression"]["by_class"]) == {"001", "002", "003"}
    assert 0 <= parts["stability"]["score"] <= 100 and parts["flip"]["error"] > 0
    stored = json.loads((tmp_path / "out/metrics.json").read_text())["parts"]
    assert stored["greedy_pck_one_to_one"] == parts["greedy_pck_one_to_one"]
    assert "parts" not in evaluate(birds, checkpoint=named, parts=False, **OPTIONS).metrics
    assert "parts" not in evaluate(birds, checkpoint=checkpoint, **OPTIONS).metrics
    with pytest.raises(CheckpointError, match="has no parts"):
        evaluate(birds, checkpoint=checkpoint, method="parts", **OPTIONS)


def test_eval_scores_what_discover_writes(birds, named, tmp_path):
    """The row of the parts is the score of the file that `discover` writes for the same images."""
    discover(birds / "images", checkpoint=named, out=tmp_path / "found", overlays=False, **PARTS)
    file = evaluate(birds, predictions=tmp_path / "found/keypoints.json", **OPTIONS).metrics["results"][0]
    assert file["thr"] is None
    own = evaluate(birds, checkpoint=named, **OPTIONS).metrics["parts"]
    assert own["greedy_pck"]["kp"] == pytest.approx(file["greedy_pck"]["kp"], abs=2.1)  # files round to 0.01 pixels
    assert own["found"] == file["found"]


def test_without_a_training_split_regressions_are_fitted_in_folds(birds, named):
    parts = evaluate(birds, checkpoint=named, split="all", **OPTIONS).metrics["parts"]
    assert parts["landmark_regression"]["fitted_on"] == "the other images, five folds"
    assert parts["landmark_regression"]["by_class"] == {}
