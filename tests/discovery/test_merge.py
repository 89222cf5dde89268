"""`discover --shard` and `lmpnet merge` give the same as one run, and report what is missing or doubled."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import copy_some
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.merge import merge
from lmpnet_cli.discovery.provenance import names_sha256, take_shard
from lmpnet_cli.errors import InputError, OptionError, OutputError
from lmpnet_cli.progress import Progress

OPTIONS = {"workers": 0, "device": "cpu", "method": "lmpnet", "precision": "32", "overlays": False}


@pytest.fixture(scope="module")
def images(birds, tmp_path_factory) -> Path:
    return copy_some(birds, tmp_path_factory.mktemp("images"), 9)


@pytest.fixture(scope="module")
def shards(images, checkpoint, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for index in (1, 2, 3):
        discover(images, checkpoint=checkpoint, shard=f"{index}/3", out=folder / str(index), **OPTIONS)
    return folder


def test_the_shards_of_a_list_hold_each_image_once():
    files = [ListedImage(Path(f"{index}.jpg"), f"{index}.jpg") for index in range(10)]
    taken = [take_shard(files, (index, 4), {"size": 224}) for index in (1, 2, 3, 4)]
    assert sorted(file.name for chosen, _ in taken for file in chosen) == sorted(file.name for file in files)
    assert {len(chosen) for chosen, _ in taken} == {2, 3}
    assert {shard.run for _, shard in taken} == {(4, 10, names_sha256(file.name for file in files))}
    assert names_sha256(["a", "b"]) != names_sha256(["b", "a"])
    with pytest.raises(InputError, match=r"more shards than there are images \(10\)"):
        take_shard(files, (1, 11), {})


@pytest.mark.parametrize("given", ["0/4", "5/4", "1/0", "x", "1", "1/4/2", "-1/4", "1.5/4", ""])
def test_an_invalid_shard_is_refused(given):
    with pytest.raises(OptionError, match="--shard"):
        DiscoverConfig(images="photos", shard=given)


def test_merged_shards_are_the_same_bytes_as_one_run(images, shards, checkpoint, tmp_path):
    result = merge(shards, out=tmp_path / "all")
    discover(images, checkpoint=checkpoint, out=tmp_path / "one", **OPTIONS)
    merged, whole = (tmp_path / name / "keypoints.json" for name in ("all", "one"))
    document, expected = (json.loads(path.read_text()) for path in (merged, whole))
    document["info"].pop("date_created"), expected["info"].pop("date_created")
    assert json.dumps(document) == json.dumps(expected)
    assert (len(result.keypoints), result.shards, result.skipped[0][0]) == (9, 3, "broken.jpg")
    assert json.loads((tmp_path / "all/run.json").read_text())["images"] == 9


def test_shards_with_different_numbers_of_keypoints_become_one_run(images, checkpoint, tmp_path):
    options = OPTIONS | {"method": "saliency", "nms_radius": 4, "coarse_weight": 0, "checkpoint": checkpoint}
    for index in (1, 2, 3):
        discover(images, shard=f"{index}/3", out=tmp_path / "shards" / str(index), **options)
    discover(images, out=tmp_path / "one", **options)
    merge(tmp_path / "shards", out=tmp_path / "all")

    def document(name):
        content = json.loads((tmp_path / name / "keypoints.json").read_text())
        content["info"].pop("date_created")
        return content

    numbers = {len(document(f"shards/{index}")["categories"][0]["keypoints"]) for index in (1, 2, 3)}
    merged, whole = document("all"), document("one")
    assert len(numbers) > 1 and len(merged["categories"][0]["keypoints"]) == max(numbers)
    assert [merged[key] for key in ("info", "images", "categories")] == [
        whole[key] for key in ("info", "images", "categories")
    ]
    for one, other in zip(merged["annotations"], whole["annotations"], strict=True):
        assert one["num_keypoints"] == other["num_keypoints"]
        assert one["keypoints"] == pytest.approx(other["keypoints"], abs=0.05)  # other images share the batch


def test_a_missing_shard_is_named_with_what_to_run(shards):
    with pytest.raises(InputError, match=r"1 of 3 shards are missing: 2\. Run `lmpnet discover --shard I/3` for each"):
        merge([shards / "1", shards / "3"])


def test_a_shard_that_is_there_twice_counts_once(shards, tmp_path):
    shutil.copytree(shards, tmp_path / "all")
    shutil.copytree(shards / "2", tmp_path / "all/again")
    warnings = []

    class Recording(Progress):
        def warn(self, message: str) -> None:
            warnings.append(message)

    result = merge(tmp_path / "all", progress=Recording())
    assert len(result.keypoints) == 9 and len(result.twice) == 1
    assert len(warnings) == 1 and "is the same shard 2 as" in warnings[0]
    path = tmp_path / "all/again/keypoints.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["keypoints"][0] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="both shard 2, with different keypoints"):
        merge(tmp_path / "all")


def test_shards_of_two_runs_do_not_mix(images, shards, checkpoint, tmp_path):
    discover(images, checkpoint=checkpoint, shard="2/3", thr=2, out=tmp_path / "thr", **OPTIONS)
    with pytest.raises(InputError, match=r"different options: thr is 3\.0 and 2\.0"):
        merge([shards / "1", tmp_path / "thr", shards / "3"])
    discover(images, checkpoint=checkpoint, shard="2/3", margin=1, out=tmp_path / "margin", **OPTIONS)
    with pytest.raises(InputError, match=r"different options: margin is 0 and 1"):
        merge([shards / "1", tmp_path / "margin", shards / "3"])
    discover(images, checkpoint=checkpoint, shard="2/2", out=tmp_path / "two", **OPTIONS)
    with pytest.raises(InputError, match="belong to different runs"):
        merge([shards / "1", tmp_path / "two"])
    discover(images, checkpoint=checkpoint, out=tmp_path / "whole", **OPTIONS)
    with pytest.raises(InputError, match="is not a shard"):
        merge([tmp_path / "whole"])


def test_merge_names_what_it_cannot_read(shards, tmp_path):
    with pytest.raises(InputError, match=r"Folder or file .* not found"):
        merge(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"No keypoints\.json in"):
        merge(tmp_path / "empty")
    shutil.copytree(shards, tmp_path / "cut")
    path = tmp_path / "cut/1/keypoints.json"
    path.write_text(path.read_text()[:-200])
    with pytest.raises(InputError, match="is not a COCO keypoint annotation file"):
        merge(tmp_path / "cut")
    merge(shards, out=tmp_path / "out")
    with pytest.raises(OutputError, match="already holds"):
        merge(shards, out=tmp_path / "out")


def test_merging_into_the_folder_of_the_shards_can_be_repeated(shards, tmp_path):
    shutil.copytree(shards, tmp_path / "all")
    first = merge(tmp_path / "all", out=tmp_path / "all")
    (tmp_path / "all" / "report.html").write_text("of the first")
    again = merge(tmp_path / "all", out=tmp_path / "all", overwrite=True)
    assert len(first.keypoints) == len(again.keypoints) == 9
    assert not (tmp_path / "all" / "report.html").exists()


def test_the_command(shards, tmp_path):
    result = CliRunner().invoke(app, ["merge", str(shards), "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) | {"out": ""} == {"images": 9, "skipped": 1, "shards": 3, "out": ""}
    result = CliRunner().invoke(app, ["merge", str(shards / "1"), "--out", str(tmp_path / "other")])
    assert result.exit_code == 1 and "2 of 3 shards are missing: 2, 3" in result.stderr
