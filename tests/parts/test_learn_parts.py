"""`lmpnet parts`, and what `discover`, `match` and `train` do with one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, shorten_descents
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.config import PartsConfig
from lmpnet_cli.data.datasets import training_images
from lmpnet_cli.data.listing import ListedImage, list_images
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.match import match
from lmpnet_cli.drawing.colors import COLORS, keypoint_color
from lmpnet_cli.errors import CheckpointError, DatasetError, InputError, OptionError, OutputError
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.checkpoints import load_checkpoint, part_head_spec, read_header
from lmpnet_cli.io.coco import read_keypoints
from lmpnet_cli.model.part_head import soft_argmax
from lmpnet_cli.parts.fit import Cells, best_sightings
from lmpnet_cli.parts.learn_parts import learn_parts
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.train import train


@pytest.fixture(autouse=True)
def short_descents(monkeypatch):
    shorten_descents(monkeypatch)


OPTIONS = {"workers": 0, "device": "cpu", "precision": "32"}


def weights(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_the_vocabulary_is_stored_beside_weights_that_stay_as_they_are(checkpoint, named):
    before, after = weights(checkpoint), weights(named)
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert {key for key in after if key not in before} == {
        f"part_head.{name}" for name in ("centre", "projection", "level", "weight", "bias")
    }
    spec = part_head_spec(read_header(named))
    assert (spec.names, spec.k, spec.learned_from["pictures"]) == (("head", "wing", "tail"), 3, 48)
    assert read_header(named)["training"] == read_header(checkpoint)["training"]
    document = json.loads((named.parent / "parts.json").read_text())
    assert [entry["name"] for entry in document["keypoints"]] == ["head", "wing", "tail"]
    assert document["threshold"] == spec.threshold
    run = json.loads((named.parent / "run.json").read_text())
    assert (run["command"], run["images"]) == ("parts", 48)


def test_loading_gives_the_same_parts(named, checkpoint):
    model = load_checkpoint(named)
    given = torch.rand(2, model.network.backbone.channels, 4, 4, generator=torch.Generator().manual_seed(0))
    again = load_checkpoint(named)
    assert torch.equal(model.part_head(given), again.part_head(given))
    assert load_checkpoint(checkpoint).part_head is None


def test_a_seed_repeats_the_vocabulary(birds, checkpoint, named, tmp_path):
    learn_parts(birds, checkpoint=checkpoint, k=3, out=tmp_path / "a", **OPTIONS)
    one, again = weights(named), weights(tmp_path / "a/lmpnet.safetensors")
    assert all(torch.equal(one[key], again[key]) for key in one)
    other = learn_parts(birds, checkpoint=checkpoint, k=3, out=tmp_path / "b", seed=1, **OPTIONS)
    assert other.spec.names == ("kp1", "kp2", "kp3")
    assert not torch.equal(one["part_head.weight"], weights(tmp_path / "b/lmpnet.safetensors")["part_head.weight"])


def test_annotations_and_test_pictures_are_never_read(birds, checkpoint, tmp_path, named):
    copy = tmp_path / "birds"
    shutil.copytree(birds, copy)
    shutil.rmtree(copy / "parts")
    (copy / "bounding_boxes.txt").unlink()
    names = dict(line.split() for line in (copy / "images.txt").read_text().splitlines())
    for line in (copy / "train_test_split.txt").read_text().splitlines():
        number, training = line.split()
        if training == "0":
            (copy / "images" / names[number]).write_bytes(b"not to be opened")
    result = learn_parts(copy, checkpoint=checkpoint, k=3, out=tmp_path / "out", **OPTIONS)
    assert result.skipped == []
    assert torch.equal(
        weights(named)["part_head.weight"], weights(result.out / "lmpnet.safetensors")["part_head.weight"]
    )


def test_training_pictures_of_every_layout(tmp_path, birds):
    cub = training_images([birds])
    assert len(cub) == 48 and all(isinstance(each, ListedImage) for each in cub)
    for name in ("train/a/1.png", "train/b/2.png", "test/a/3.png", "loose/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert [each.path.name for each in training_images([tmp_path])] == ["1.png", "2.png"]
    assert [each.path.name for each in training_images([tmp_path / "loose"])] == ["4.png"]
    with pytest.raises(InputError, match="no image or folder"):
        training_images([tmp_path / "nowhere"])


def test_at_most_so_many_pictures_are_learned_from(birds, checkpoint):
    assert learn_parts(birds, checkpoint=checkpoint, k=2, images=20, **OPTIONS).spec.learned_from["pictures"] == 20


def test_names_alone_change_names_alone(named, tmp_path):
    result = learn_parts(checkpoint=named, names=["beak", " body ", "rump"], out=tmp_path / "out")
    assert result.document is None and result.spec.names == ("beak", "body", "rump")
    before, after = weights(named), weights(tmp_path / "out/lmpnet.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)
    spec, old = (part_head_spec(read_header(path)) for path in (tmp_path / "out/lmpnet.safetensors", named))
    assert (spec.names, spec.threshold) == (("beak", "body", "rump"), old.threshold)


def test_names_that_do_not_fit_are_refused(named, checkpoint, birds):
    with pytest.raises(OptionError, match=r"gives 2 names, and the vocabulary of .* has 3"):
        learn_parts(checkpoint=named, names="a,b")
    with pytest.raises(CheckpointError, match="no vocabulary to name"):
        learn_parts(checkpoint=checkpoint, names="a,b")
    with pytest.raises(OptionError, match="nothing to do"):
        learn_parts(checkpoint=named)
    with pytest.raises(OptionError, match="gives 2 names for --k 3"):
        learn_parts(birds, names="a,b", k=3)
    for wrong in ("a,,b", "a,a", ""):
        with pytest.raises(OptionError, match="a name of its own"):
            learn_parts(birds, names=wrong)


def test_a_size_that_discover_would_not_use_is_refused(birds, checkpoint):
    with pytest.raises(OptionError, match=r"--size 96 is not the model's 64.*Leave --size out"):
        learn_parts(birds, checkpoint=checkpoint, k=2, size=96, **OPTIONS)
    with pytest.raises(OptionError, match="number of --names"):
        learn_parts(birds, checkpoint=checkpoint, names=",".join(map(str, range(500))), **OPTIONS)


def test_names_given_anew_leave_no_picture_with_the_old_ones(named, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(named.parent, copy)
    assert (copy / "parts.png").exists()
    learn_parts(checkpoint=named, names="a,b,c", out=copy, overwrite=True)
    assert part_head_spec(read_header(copy / "lmpnet.safetensors")).names == ("a", "b", "c")
    assert not (copy / "parts.png").exists() and not (copy / "parts.json").exists()


def test_pictures_that_are_all_alike_teach_nothing(tmp_path, checkpoint):
    for name in "abcd":
        Image.new("RGB", (40, 40), "white").save(tmp_path / f"{name}.png")
    with pytest.raises(DatasetError, match="The 4 pictures do not show 3 parts"):
        learn_parts(tmp_path, checkpoint=checkpoint, k=3, **OPTIONS)


def test_unreadable_pictures_are_named(tmp_path, birds, checkpoint):
    shutil.copytree(birds / "images", tmp_path / "photos")
    (tmp_path / "photos/broken.jpg").write_bytes(b"no picture")
    result = learn_parts(tmp_path / "photos", checkpoint=checkpoint, k=2, out=tmp_path / "out", **OPTIONS)
    assert [name for name, _ in result.skipped] == ["broken.jpg"]
    assert (
        json.loads((tmp_path / "out/parts.json").read_text())["learned_from"]["skipped"][0]["file_name"] == "broken.jpg"
    )


def test_an_earlier_vocabulary_is_not_overwritten(birds, checkpoint, named):
    with pytest.raises(OutputError, match="already holds"):
        learn_parts(birds, checkpoint=checkpoint, out=named.parent, **OPTIONS)


def test_each_row_shows_the_best_of_every_group():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.3], [0.7, 0.4]], np.float32)
    positions = np.zeros((4, 2, 2), np.float32)
    positions[2, 0] = 6, 2  # row, column
    files = [ListedImage(Path(f"{i}.png"), f"{i}.png") for i in range(4)]
    rows = best_sightings(scores, positions, (14, 7), files, 2)
    assert [[each.file.name for each in row] for row in rows] == [["2.png", "1.png"], ["0.png", "3.png"]]
    assert (rows[0][0].x, rows[0][0].y) == (round(2.5 / 7, 4), round(6.5 / 14, 4))


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
    from lmpnet_cli.data.listing import list_images

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


def test_only_the_method_chooses_the_order(birds, named, checkpoint):
    photo = next((birds / "images").rglob("*.jpg"))
    for options in ({}, {"thr": 2.0}, {"filters": 8}, {"margin": 1}, {"replica": False}, {"k": 4}):
        result = discover(photo, checkpoint=named, method="lmpnet", **OPTIONS, **options)
        assert result.names[0] == "kp1", options
        assert len(result.names) == options.get("k", 5)
    assert discover(photo, checkpoint=named, k=3, **OPTIONS).names == ("head", "wing", "tail")
    with pytest.raises(OptionError, match="--k 4 differs from the 3 parts of this model"):
        discover(photo, checkpoint=named, k=4, **OPTIONS)
    with pytest.raises(CheckpointError, match="has no keypoint vocabulary"):
        discover(photo, checkpoint=checkpoint, **OPTIONS)


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


def test_a_vocabulary_does_not_depend_on_the_batch_size(birds, checkpoint):
    model = load_checkpoint(checkpoint)
    pictures = list_images([birds / "images"])[:12]
    made = []
    for size in (3, 12):
        runner = open_runner(PartsConfig(data=birds, k=2, batch_size=size, workers=0), model, replica=False)
        made.append(Cells(runner, pictures, 5, Progress()).material)
    torch.testing.assert_close(made[0].theta, made[1].theta, rtol=0, atol=0)
    for name in ("cells", "mirrored", "warped"):
        # the activation; directions with equal shares of the whole may be exchanged by rounding
        one, other = (getattr(each, name)[..., -1].float() for each in made)
        torch.testing.assert_close(one, other, rtol=0, atol=0.02)


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


def test_training_ends_with_a_vocabulary(birds, tmp_path):
    train(birds, out=tmp_path / "run", **SMALL | {"parts": 2, "replica_epochs": 0})
    model = load_checkpoint(tmp_path / "run/lmpnet.safetensors")
    assert model.part_head.spec.names == ("kp1", "kp2")
    assert (tmp_path / "run/parts.png").exists()
    held_out = model.part_head.spec.learned_from["pictures"]
    assert held_out < 48  # validation pictures choose the best epoch, and teach nothing
    assert load_checkpoint(tmp_path / "run/last.safetensors").part_head is None


def test_a_vision_transformer_gets_a_vocabulary_too(birds, tmp_path):
    options = {"backbone": "test_vit", "layer": "-1", "size": 160, "parts": 2, "replica_epochs": 0}
    train(birds, out=tmp_path / "run", **SMALL | options)
    result = discover(birds / "images", checkpoint=tmp_path / "run/lmpnet.safetensors", **OPTIONS)
    assert result.order == "identity" and len(result.keypoints) == 96


def test_training_on_pictures_without_parts_warns_and_is_complete(tmp_path, birds):
    from lmpnet_cli.progress import Progress

    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), "white" if name[0] == "a" else "black").save(tmp_path / "data" / name)
    callback: list[str] = []

    class Ear(Progress):
        def warn(self, message: str) -> None:
            callback.append(message)

    options = SMALL | {"parts": 5, "replica_epochs": 0, "val_fraction": 0.0}
    assert train(tmp_path / "data", out=tmp_path / "run", progress=Ear(), **options).complete
    assert any("gets no keypoint vocabulary" in message for message in callback)
    assert load_checkpoint(tmp_path / "run/lmpnet.safetensors").part_head is None


def test_commands_say_what_they_did(birds, checkpoint, named, tmp_path):
    runner = CliRunner()
    run = ["parts", str(birds), "-c", str(checkpoint), "--k", "2", "-o", str(tmp_path / "v"), "--device", "cpu"]
    first = runner.invoke(app, [*run, "--workers", "0"])
    assert first.exit_code == 0, first.output
    assert "kp1, kp2" in first.stderr and "parts.png" in first.stderr
    again = runner.invoke(app, ["parts", "-c", str(tmp_path / "v/lmpnet.safetensors"), "--names", "front,back", "-o", str(tmp_path / "n"), "--json"])  # fmt: skip
    assert json.loads(again.stdout)["names"] == ["front", "back"]
    photos = [str(path) for path in sorted((birds / "images").rglob("*.jpg"))[:2]]
    shown = runner.invoke(app, ["match", *photos, "-c", str(named), "-o", str(tmp_path / "m"), "--device", "cpu"])
    assert shown.exit_code == 0 and "match.png" in shown.stderr
    missing = runner.invoke(app, ["match", *photos, "-c", str(checkpoint), "-o", str(tmp_path / "x")])
    assert missing.exit_code == 1 and "lmpnet parts DATA" in missing.stderr


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
    assert "identity" not in evaluate(birds, checkpoint=named, parts=False, **OPTIONS).metrics
    assert "identity" not in evaluate(birds, checkpoint=checkpoint, **OPTIONS).metrics
    with pytest.raises(CheckpointError, match="no keypoint vocabulary to score"):
        evaluate(birds, checkpoint=checkpoint, stability=True, **OPTIONS)


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
