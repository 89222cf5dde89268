"""`discover --corrections`: corrected images keep the points of the file, bad ones are skipped, the others are found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import copy_some
from PIL import Image

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.corrections import Corrections, read_corrections
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.merge import merge
from lmpnet_cli.errors import DatasetError, InputError, OptionError
from lmpnet_cli.io.coco import read_keypoints, to_coco
from lmpnet_cli.io.files import write_json
from lmpnet_cli.keypoints import NO_OBJECT, Keypoints
from lmpnet_cli.progress import Progress

NAMES = ("head", "wing", "tail")
NAN = float("nan")
XY = np.array([[10.0, 20.0], [NAN, NAN], [30.5, 40.25]])
WINDOW = (5.0, 6.0, 50.0, 60.0)


class Warnings(Progress):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


def given(name, xy=XY, window=WINDOW, size=(96, 96)):
    return Keypoints(name, *size, np.array(xy), np.where(np.isnan(xy[:, 0]), NAN, 0.5), window=window)


def write(path: Path, results, bad=(), names=NAMES, objects="all") -> Path:
    document = to_coco(results, {"objects": objects}, names)
    write_json(path, document | {"bad": list(bad)})
    return path


@pytest.fixture
def photos(birds, tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return copy_some(birds, folder, 4)


@pytest.fixture
def options(named) -> dict:
    return {"checkpoint": named, "method": "parts", "workers": 0, "device": "cpu", "batch_size": 2}


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def images_in(photos: Path) -> list[str]:
    return sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg") if path.name != "broken.jpg")


def test_corrected_images_keep_their_points_and_bad_ones_are_skipped(photos, options, tmp_path):
    first, second, third, fourth = images_in(photos)
    elsewhere = first.rpartition("/")[2]  # the report was made of a folder further down
    results = [given(elsewhere, size=size_of(photos / first)), given("gone.jpg")]
    results += [given(second, xy, size=size_of(photos / second)) for xy in (XY, XY + 8)]
    corrections = write(tmp_path / "corrections.json", results, bad=[third, "lost.jpg"])

    plain = {each.file_name: each for each in discover(photos, **options).keypoints}
    progress = Warnings()
    out = tmp_path / "out"
    run = discover(photos, corrections=corrections, out=out, export=("csv",), progress=progress, **options)

    assert "corrections.json: 2 images are not in this run (gone.jpg, lost.jpg)." in progress.warnings
    assert [name for name, _ in run.skipped] == sorted(["broken.jpg", third])
    assert (third, "marked bad in corrections.json") in run.skipped

    document = json.loads((out / "keypoints.json").read_text())
    found = read_keypoints(out / "keypoints.json")
    assert [each.file_name for each in found] == [first, second, second, fourth]
    assert np.array_equal(found[0].xy, XY, equal_nan=True) and found[0].window == WINDOW
    assert document["annotations"][0]["keypoint_scores"] == [1.0, None, 1.0]
    assert found[0].class_name == plain[first].class_name  # predicted as in any run
    assert np.array_equal(found[2].xy, XY + 8, equal_nan=True)
    assert np.allclose(found[3].xy, plain[fourth].xy, atol=0.01, equal_nan=True)

    assert document["info"]["corrections"]["name"] == "corrections.json"
    assert "30.5" in next((out / "exports").rglob("*.csv")).read_text()
    assert (out / "overlays" / first).exists() and not (out / "overlays" / third).exists()


def test_resuming_and_shards_give_the_same(photos, options, tmp_path, monkeypatch):
    first, second, *_ = images_in(photos)
    options["corrections"] = write(
        tmp_path / "corrections.json", [given(first, size=size_of(photos / first))], bad=[second]
    )
    whole = discover(photos, out=tmp_path / "whole", **options)

    with monkeypatch.context() as patch:
        patch.setattr("lmpnet_cli.discovery.discover._write_results", _stop)
        with pytest.raises(KeyboardInterrupt):
            discover(photos, out=tmp_path / "again", **options)
    resumed = discover(photos, out=tmp_path / "again", resume=True, **options)
    for index in (1, 2):
        discover(photos, out=tmp_path / "shards" / str(index), shard=f"{index}/2", **options)
    merged = merge(tmp_path / "shards", out=tmp_path / "merged")

    for other in (resumed, merged):
        assert other.skipped == whole.skipped
        for mine, theirs in zip(other.keypoints, whole.keypoints, strict=True):
            assert mine.file_name == theirs.file_name and np.allclose(mine.xy, theirs.xy, atol=0.01, equal_nan=True)

    with monkeypatch.context() as patch:
        patch.setattr("lmpnet_cli.discovery.discover._write_results", _stop)
        with pytest.raises(KeyboardInterrupt):
            discover(photos, out=tmp_path / "other", **options)
    options["corrections"].unlink()
    write(options["corrections"], [given(first, XY + 1)])
    with pytest.raises(InputError, match=r"different images or options \(corrections\)"):
        discover(photos, out=tmp_path / "other", resume=True, **options)


def _stop(*_):
    raise KeyboardInterrupt


def test_keypoints_are_matched_by_name(tmp_path):
    files = [ListedImage(Path("a.jpg"), "a.jpg")]
    turned = write(tmp_path / "turned.json", [given("a.jpg")], names=("tail", "head", "wing"))
    ((result,),) = read_corrections(turned, files, NAMES, Progress()).of.values()
    assert np.array_equal(result.xy, XY[[1, 2, 0]], equal_nan=True)

    other = write(tmp_path / "other.json", [given("a.jpg")], names=("head", "wing", "foot"))
    with pytest.raises(DatasetError, match="has the keypoints head, wing, foot, and this run finds head, wing, tail"):
        read_corrections(other, files, NAMES, Progress())


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "corrections.json"
    document = to_coco([given("a.jpg")], {}, NAMES)
    document["annotations"][0] |= {"keypoints": [1, 2, 2], "keypoint_scores": None}
    for content in ({"images": []}, {**document, "categories": []}, {**document, "bad": "a.jpg"}, document):
        path.write_text(json.dumps(content))
        with pytest.raises(DatasetError, match="has no corrections that lmpnet can read"):
            read_corrections(path, [], NAMES, Progress())
    with pytest.raises(InputError, match="Cannot read"):
        read_corrections(tmp_path / "none.json", [], NAMES, Progress())


def test_windows_are_those_of_the_run(tmp_path):
    found = given("a.jpg", XY + 3, window=(1.0, 2.0, 3.0, 4.0))

    def applied(file, run):
        return Corrections(tmp_path, {"a.jpg": [given("a.jpg", window=file)]}, frozenset()).applied(
            [replace(found, window=run)]
        )[0]

    assert applied(WINDOW, found.window).window == WINDOW
    assert applied(WINDOW, None).window is None
    assert applied(None, found.window).window == found.window
    assert applied(None, NO_OBJECT).window == (0, 0, 96, 96)  # so that the object counts
    assert applied(NO_OBJECT, found.window).empty
    with pytest.raises(DatasetError, match="it states 96 x 96 pixels, and the image has 50 x 50"):
        Corrections(tmp_path, {"a.jpg": [given("a.jpg")]}, frozenset()).applied([replace(found, width=50, height=50)])


def test_corrections_need_parts():
    for method in ("lmpnet", "saliency"):
        with pytest.raises(
            OptionError, match=rf"--corrections cannot be combined with --method {method}.*use --method parts"
        ):
            DiscoverConfig(images="photos", method=method, corrections="corrections.json")
    with pytest.raises(OptionError, match="--corrections cannot be combined with a video"):
        DiscoverConfig(images="a.mp4", method="parts", corrections="corrections.json")
    with pytest.raises(OptionError, match="corrections needs image files"):
        discover(np.zeros((8, 8, 3), np.uint8), method="parts", corrections="corrections.json")
