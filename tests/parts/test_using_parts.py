"""What `discover`, `match` and `eval` do with a model that has parts."""

import json

import numpy as np
import pytest
import torch
from conftest import shorten_descents
from PIL import Image

from lmpnet_cli.data.listing import list_images
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.match import match
from lmpnet_cli.drawing.colors import COLORS, keypoint_color
from lmpnet_cli.errors import CheckpointError, InputError, OptionError, OutputError
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.io.checkpoints import load_checkpoint, part_head_spec, read_header
from lmpnet_cli.io.coco import read_keypoints
from lmpnet_cli.model.part_head import soft_argmax


@pytest.fixture(autouse=True)
def short_learning(monkeypatch):
    shorten_descents(monkeypatch)


OPTIONS = {"workers": 0, "device": "cpu", "precision": "32"}


def test_discover_gives_identities_where_there_are_some(birds, named, tmp_path):
    photos = birds / "images"
    result = discover(photos, checkpoint=named, out=tmp_path / "out", **OPTIONS)
    assert (result.order, result.names) == ("identity", ("head", "wing", "tail"))
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert document["categories"][0]["keypoints"] == ["head", "wing", "tail"]
    assert (document["info"]["order"], document["info"]["k"]) == ("identity", 3)
    assert "same part" in document["info"]["description"]
    assert all("keypoint_replica_shares" not in each for each in document["annotations"])
    threshold = part_head_spec(read_header(named)).threshold
    for each in read_keypoints(tmp_path / "out/keypoints.json"):
        assert each.xy.shape == (3, 2)
        assert (each.scores[each.found] >= threshold - 1e-4).all() and np.isnan(each.scores[~each.found]).all()


def test_positions_and_scores_are_those_of_the_vocabulary(birds, named):
    from lmpnet_cli.data.images import read_image, to_input

    file = list_images([birds / "images"])[5]
    picture = read_image(file.path)
    model = load_checkpoint(named)
    pixels = torch.from_numpy(to_input(picture.rgb, 64).transpose(2, 0, 1).copy())[None]
    maps = model.network.backbone(model.normalize(pixels))
    found = soft_argmax(model.part_head(maps)[:, :3])
    result = discover(file.path, checkpoint=named, **OPTIONS).keypoints[0]
    side = maps.shape[2]
    for part in np.flatnonzero(result.found):
        row, column = found.positions[0, part].tolist()
        expected = [(column + 0.5) * picture.width / side - 0.5, (row + 0.5) * picture.height / side - 0.5]
        assert result.xy[part] == pytest.approx(np.clip(expected, 0, [picture.width - 1, picture.height - 1]), abs=0.05)
        assert result.scores[part] == pytest.approx(found.scores[0, part].item(), abs=1e-4)


def test_what_only_the_papers_order_has_brings_it_back(birds, named, checkpoint):
    photo = next((birds / "images").rglob("*.jpg"))
    for options in ({"identity": False}, {"thr": 2.0}, {"filters": 8}, {"margin": 1}, {"replica": False}, {"k": 4}):
        result = discover(photo, checkpoint=named, **OPTIONS, **options)
        assert (result.order, result.names[0]) == ("prominence", "kp1"), options
        assert len(result.names) == options.get("k", 5)
    assert discover(photo, checkpoint=named, k=3, **OPTIONS).order == "identity"
    assert discover(photo, checkpoint=checkpoint, **OPTIONS).order == "prominence"
    for options, message in (
        ({"thr": 2.0}, "--thr means nothing with --identity"),
        ({"replica": False}, "--no-replica means nothing"),
        ({"method": "saliency"}, "--method saliency means nothing"),
        ({"k": 4}, "has 3 keypoints: leave --k 4 out"),
    ):
        with pytest.raises(OptionError, match=message):
            discover(photo, checkpoint=named, identity=True, **OPTIONS, **options)
    with pytest.raises(CheckpointError, match="has no keypoint vocabulary"):
        discover(photo, checkpoint=checkpoint, identity=True, **OPTIONS)


def test_a_loaded_model_brings_its_vocabulary(birds, named):
    photo = next((birds / "images").rglob("*.jpg"))
    model = load_checkpoint(named)
    result = discover(photo, model=model, **OPTIONS)
    assert result.order == "identity" and model.replica is not None
    np.testing.assert_array_equal(result.keypoints[0].xy, discover(photo, checkpoint=named, **OPTIONS).keypoints[0].xy)


def test_keypoints_stay_when_the_input_has_another_size(birds, named):
    small, large = (discover(birds / "images", checkpoint=named, size=size, **OPTIONS).keypoints for size in (64, 80))
    both = [(a, b) for a, b in zip(small, large, strict=True)]
    away = np.concatenate([np.linalg.norm(a.xy - b.xy, axis=1) / max(a.width, a.height) for a, b in both])
    assert np.nanmedian(away) < 0.12


def test_match_joins_the_same_keypoints(birds, named, tmp_path):
    files = sorted((birds / "images").rglob("*.jpg"))[:3]
    result = match(files, checkpoint=named, out=tmp_path / "out", columns=2, **OPTIONS)
    assert len(result.keypoints) == 3 and result.names == ("head", "wing", "tail")
    picture = np.asarray(Image.open(tmp_path / "out/match.png"))
    assert np.array_equal(picture, result.picture)
    for part in range(3):
        drawn = (picture == keypoint_color(part)).all(2).sum()
        assert drawn > 100  # in the legend at least
    with pytest.raises(OutputError, match=r"already holds match\.png"):
        match(files, checkpoint=named, out=tmp_path / "out", **OPTIONS)
    with pytest.raises(InputError, match="only one picture"):
        match(files[:1], checkpoint=named, **OPTIONS)
    many = tmp_path / "many"
    many.mkdir()
    for index in range(201):
        (many / f"{index}.jpg").symlink_to(files[0])
    with pytest.raises(InputError, match="There are 201 pictures, and one drawing takes 200"):
        match(many, checkpoint=named, **OPTIONS)


def test_match_draws_a_line_between_two_pictures_and_none_for_a_missing_point():
    from lmpnet_cli.discovery.match import SIDE, draw_matches
    from lmpnet_cli.keypoints import Keypoints

    blank = np.full((100, 100, 3), 255, np.uint8)
    xy = np.array([[20.0, 50.0], [80.0, 80.0]])
    whole = Keypoints("a.jpg", 100, 100, xy, np.ones(2))
    lacking = Keypoints("b.jpg", 100, 100, np.array([[20.0, 50.0], [np.nan, np.nan]]), np.array([1, np.nan]))
    picture = draw_matches([blank, blank], [whole, lacking], ["a", "b"], 4)
    row = round(6 + (50.5 * SIDE / 100))
    between = picture[row - 3 : row + 3, SIDE // 2 : SIDE]
    assert (between == keypoint_color(0)).all(2).any(1).sum() >= 1
    assert not (picture[:SIDE, SIDE + 30 :] == keypoint_color(1)).all(2).any()  # neither point nor line on the second


def test_sixteen_keypoints_have_sixteen_colours():
    assert len({keypoint_color(index) for index in range(16)}) == 16 == len(COLORS)


def test_eval_scores_identity_beside_the_papers_order(birds, named, checkpoint, tmp_path):
    metrics = evaluate(birds, checkpoint=named, stability=True, out=tmp_path / "out", **OPTIONS).metrics
    identity = metrics["identity"]
    assert metrics["k"] == 5 and identity["k"] == 3
    assert identity["landmark_regression"]["fitted_on"] == "48 training images"
    assert set(identity["landmark_regression"]["baselines"]) == {
        "image_midpoint",
        "random",
        "mean_shape",
        "true_points",
    }
    assert identity["landmark_regression"]["baselines"]["true_points"] < identity["landmark_regression"]["error"]
    assert set(identity["landmark_regression"]["by_class"]) == {"001", "002", "003"}
    assert 0 <= identity["stability"]["score"] <= 100 and identity["flip"]["error"] > 0
    stored = json.loads((tmp_path / "out/metrics.json").read_text())["identity"]
    assert stored["greedy_pck_one_to_one"] == identity["greedy_pck_one_to_one"]
    assert "identity" not in evaluate(birds, checkpoint=named, identity=False, **OPTIONS).metrics
    assert "identity" not in evaluate(birds, checkpoint=checkpoint, **OPTIONS).metrics
    with pytest.raises(CheckpointError, match="no keypoint vocabulary to score"):
        evaluate(birds, checkpoint=checkpoint, identity=True, **OPTIONS)


def test_eval_scores_what_discover_writes(birds, named, tmp_path):
    """The identity row is the score of the file that `discover` writes for the same pictures."""
    discover(birds / "images", checkpoint=named, out=tmp_path / "found", overlays=False, **OPTIONS)
    file = evaluate(birds, predictions=tmp_path / "found/keypoints.json", **OPTIONS).metrics["results"][0]
    assert file["thr"] is None
    own = evaluate(birds, checkpoint=named, **OPTIONS).metrics["identity"]
    assert own["greedy_pck"]["kp"] == pytest.approx(file["greedy_pck"]["kp"], abs=2.1)  # files round to 0.01 pixels
    assert own["found"] == file["found"]


def test_without_a_training_split_regressions_are_fitted_in_folds(birds, named):
    identity = evaluate(birds, checkpoint=named, split="all", **OPTIONS).metrics["identity"]
    assert identity["landmark_regression"]["fitted_on"] == "the other pictures, five folds"
    assert identity["landmark_regression"]["by_class"] == {}
