"""`lmpnet parts`: learn parts, or rename them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import shorten_descents
from PIL import Image
from random_states import generators
from safetensors import safe_open
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.data.datasets import training_images
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.errors import CheckpointError, DatasetError, InputError, OptionError, OutputError
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.checkpoints import load_checkpoint, part_head_spec, read_header
from lmpnet_cli.parts.learn_parts import learn_parts
from lmpnet_cli.progress import Progress


@pytest.fixture(autouse=True)
def short_learning(monkeypatch):
    shorten_descents(monkeypatch)


OPTIONS = {"workers": 0, "device": "cpu", "precision": "32"}


def weights(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_parts_are_stored_beside_weights_that_stay_unchanged(checkpoint, named):
    before, after = weights(checkpoint), weights(named)
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert {key for key in after if key not in before} == {
        *(f"part_head.{name}" for name in ("centre", "projection", "level", "weight", "bias")),
        *(f"object_head.{name}" for name in ("weight", "bias")),
    }
    spec = part_head_spec(read_header(named))
    assert (spec.names, spec.k, spec.learned_from["images"]) == (("head", "wing", "tail"), 3, 48)
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


def test_another_seed_gives_other_parts_and_leaves_the_callers_generators_alone(birds, checkpoint, named, tmp_path):
    states = generators()
    other = learn_parts(birds, checkpoint=checkpoint, k=3, out=tmp_path, seed=1, **OPTIONS)
    assert states == generators()
    assert other.spec.names == ("kp1", "kp2", "kp3")
    other_weight = weights(tmp_path / "lmpnet.safetensors")["part_head.weight"]
    assert not torch.equal(weights(named)["part_head.weight"], other_weight)


def test_the_seed_repeats_the_parts_without_annotations_and_test_images(birds, checkpoint, tmp_path, named):
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
    expected, found = weights(named), weights(result.out / "lmpnet.safetensors")
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_training_images_of_every_layout(tmp_path, birds):
    cub = training_images([birds])
    assert len(cub) == 48 and all(isinstance(each, ListedImage) for each in cub)
    for name in ("train/a/1.png", "train/b/2.png", "test/a/3.png", "loose/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert [each.path.name for each in training_images([tmp_path])] == ["1.png", "2.png"]
    assert [each.path.name for each in training_images([tmp_path / "loose"])] == ["4.png"]
    with pytest.raises(DatasetError, match="has no training images"):
        training_images([bundled_examples()])
    with pytest.raises(InputError, match="nowhere not found"):
        training_images([tmp_path / "nowhere"])


def test_names_alone_change_names_alone(named, tmp_path):
    result = learn_parts(checkpoint=named, names=["beak", " body ", "rump"], out=tmp_path / "out")
    assert result.document is None and result.spec.names == ("beak", "body", "rump")
    before, after = weights(named), weights(tmp_path / "out/lmpnet.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)
    spec, old = (part_head_spec(read_header(path)) for path in (tmp_path / "out/lmpnet.safetensors", named))
    assert (spec.names, spec.threshold) == (("beak", "body", "rump"), old.threshold)


def test_a_dropped_part_becomes_background_and_the_others_stay(named, tmp_path):
    result = learn_parts(checkpoint=named, drop="wing", names="beak,rump", out=tmp_path / "out")
    assert result.spec.names == ("beak", "rump")
    before, after = (load_checkpoint(path).part_head for path in (named, tmp_path / "out/lmpnet.safetensors"))
    maps = torch.rand(2, before.spec.channels, 4, 4, generator=torch.Generator().manual_seed(0))
    old, new = before(maps), after(maps)
    torch.testing.assert_close(new[:, :2], old[:, [0, 2]])
    torch.testing.assert_close(new[:, 2], old[:, 1] + old[:, 3])
    assert after.spec.threshold == before.spec.threshold
    others = {key: value for key, value in weights(named).items() if not key.startswith("part_head.")}
    assert all(torch.equal(value, weights(tmp_path / "out/lmpnet.safetensors")[key]) for key, value in others.items())
    assert learn_parts(checkpoint=named, drop="wing,head").spec.names == ("tail",)


def test_parts_that_cannot_be_dropped_are_refused(named, birds):
    with pytest.raises(OptionError, match=r"--drop foot: .* has the parts head, wing, tail"):
        learn_parts(checkpoint=named, drop="foot")
    with pytest.raises(OptionError, match=r"--drop names all 3 parts\. Keep"):
        learn_parts(checkpoint=named, drop="head,wing,tail")
    with pytest.raises(OptionError, match="--names has 3 names, but there are 2 keypoints"):
        learn_parts(checkpoint=named, drop="wing", names="a,b,c")
    with pytest.raises(OptionError, match="--drop"):
        learn_parts(birds, drop="wing")


def test_parts_beside_the_object_are_named_in_a_warning(birds, checkpoint, tmp_path, monkeypatch):
    told = []
    progress = Progress()
    monkeypatch.setattr(progress, "warn", told.append)
    monkeypatch.setattr("lmpnet_cli.parts.fit.share_on_object", lambda *_: torch.tensor([0.95, 0.3, 0.79]))
    out = tmp_path / "out"
    learn_parts(birds, checkpoint=checkpoint, names="a,b,c", images=12, out=out, progress=progress, **OPTIONS)
    (message,) = told
    assert "(b 30%, c 79% of the images on it)" in message and f"-c {out} --drop b,c" in message
    shares = [part["on_object"] for part in json.loads((out / "parts.json").read_text())["keypoints"]]
    assert shares == [0.95, 0.3, 0.79]


def test_names_that_do_not_fit_are_refused(named, checkpoint, birds):
    with pytest.raises(OptionError, match=r"--names has 2 names, but there are 3 keypoints"):
        learn_parts(checkpoint=named, names="a,b")
    with pytest.raises(CheckpointError, match="contains no parts"):
        learn_parts(checkpoint=checkpoint, names="a,b")
    with pytest.raises(OptionError, match="--names"):
        learn_parts(checkpoint=named)
    with pytest.raises(OptionError, match=r"--names gives 2 names, but --k is 3: they must be equal"):
        learn_parts(birds, names="a,b", k=3)
    for wrong in ("a,,b", "a,a", ""):
        with pytest.raises(OptionError, match="--names"):
            learn_parts(birds, names=wrong)


def test_a_size_that_discover_would_not_use_is_refused(birds, checkpoint):
    with pytest.raises(OptionError, match=r"--size 96 differs from the model's input size, 64.*Remove --size"):
        learn_parts(birds, checkpoint=checkpoint, k=2, size=96, **OPTIONS)
    with pytest.raises(OptionError, match="--names"):
        learn_parts(birds, checkpoint=checkpoint, names=",".join(map(str, range(500))), **OPTIONS)


def test_renaming_deletes_the_gallery_with_the_old_names(named, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(named.parent, copy)
    assert (copy / "parts.png").exists()
    learn_parts(checkpoint=named, names="a,b,c", out=copy, overwrite=True)
    assert part_head_spec(read_header(copy / "lmpnet.safetensors")).names == ("a", "b", "c")
    assert not (copy / "parts.png").exists() and not (copy / "parts.json").exists()


def test_identical_images_are_refused(tmp_path, checkpoint):
    for name in "abcd":
        Image.new("RGB", (40, 40), "white").save(tmp_path / f"{name}.png")
    with pytest.raises(DatasetError, match="Cannot learn 3 parts from these 4 images"):
        learn_parts(tmp_path, checkpoint=checkpoint, k=3, **OPTIONS)


def test_unreadable_images_are_listed_and_no_more_than_asked_for_are_used(tmp_path, birds, checkpoint):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted((birds / "images").rglob("*.jpg"))[:5]:
        shutil.copy(path, photos)
    (photos / "broken.jpg").write_bytes(b"no image")
    options = OPTIONS | {"k": 2, "images": 6}
    result = learn_parts(tmp_path / "photos", checkpoint=checkpoint, out=tmp_path / "out", **options)
    assert [name for name, _ in result.skipped] == ["broken.jpg"]
    assert result.spec.learned_from["images"] == 5
    assert (
        json.loads((tmp_path / "out/parts.json").read_text())["learned_from"]["skipped"][0]["file_name"] == "broken.jpg"
    )


def test_earlier_parts_are_not_overwritten(birds, checkpoint, named):
    with pytest.raises(OutputError, match="already holds"):
        learn_parts(birds, checkpoint=checkpoint, out=named.parent, **OPTIONS)


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
