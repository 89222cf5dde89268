"""The second look: the window of an object, and keypoints in it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import copy_some
from PIL import Image

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.store import Chunk
from lmpnet_cli.drawing.overlays import draw_overlay
from lmpnet_cli.errors import OptionError
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.pck import GroundTruth
from lmpnet_cli.inference import windows
from lmpnet_cli.inference.windows import largest_region, object_share
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.coco import parse_coco, read_keypoints, to_coco
from lmpnet_cli.io.json_input import SchemaError
from lmpnet_cli.keypoints import Keypoints, positions_in_image

OPTIONS = {"workers": 0, "device": "cpu", "objects": "one"}
WINDOW = (10.0, 20.0, 28.0, 56.0)
MIDDLE = (0.25, 0.125, 0.75, 0.875)


def middle(width: int, height: int) -> tuple[int, int, int, int]:
    """Return x, y, width, height of `MIDDLE` in whole pixels of an image that is not reduced."""
    left, top, right, bottom = (round(share * side) for share, side in zip(MIDDLE, (width, height) * 2, strict=True))
    return left, top, right - left, bottom - top


def test_the_region_with_most_of_the_object_is_chosen():
    share = np.zeros((14, 14), np.float32)
    share[2:4, 2:4] = 1  # 4 cells
    share[8:11, 5:12] = 0.9  # 21 cells
    left, top, right, bottom = largest_region(share, 0.5)
    cell = 1 / 14
    assert (left, right) == pytest.approx((5 * cell, 12 * cell), abs=cell / 4)
    assert (top, bottom) == pytest.approx((8 * cell, 11 * cell), abs=cell / 4)
    assert largest_region(share, 0.95)[1] < 0.3  # only the small one is above
    assert largest_region(share, 1.5) is None


def test_every_filter_counts_alike_whatever_its_strength():
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 0, 1, 1], maps[0, 0, 1, 2] = 100, 50
    maps[0, 1, 1, 1], maps[0, 1, 3, 3] = 0.1, 0.1
    share = object_share(maps)[0]
    assert share[1, 1] == 1
    assert (share[1, 2], share[3, 3]) == (pytest.approx(0.25), pytest.approx(0.5))
    assert not object_share(torch.zeros(1, 2, 4, 4)).any()


def test_the_edges_of_the_map_are_the_edges_of_the_image():
    assert largest_region(np.ones((8, 8), np.float32), 0.5) == (0, 0, 1, 1)


def test_cells_of_a_window_become_pixels_of_the_image():
    corners = np.array([[0.0, 0.0], [13.0, 13.0]])
    xy = positions_in_image(corners, (14, 14), (300, 200), WINDOW)
    assert xy.tolist() == [[10 + 1 - 0.5, 20 + 2 - 0.5], [10 + 27 - 0.5, 20 + 54 - 0.5]]
    whole = positions_in_image(corners, (14, 14), (300, 200), (0.0, 0.0, 300.0, 200.0))
    assert np.array_equal(whole, positions_in_image(corners, (14, 14), (300, 200)))


@pytest.fixture(scope="module")
def folder(birds, tmp_path_factory) -> Path:
    return copy_some(birds, tmp_path_factory.mktemp("images"), 3)


@pytest.mark.parametrize("method", ["lmpnet", "parts"])
def test_a_window_that_is_the_whole_image_changes_nothing(folder, named, monkeypatch, method):
    monkeypatch.setattr(windows, "largest_region", lambda *_: (0, 0, 1, 1))
    looked = discover(folder, checkpoint=named, method=method, **OPTIONS)
    whole = discover(folder, checkpoint=named, method=method, **OPTIONS | {"objects": "none"})
    for one, other in zip(looked.keypoints, whole.keypoints, strict=True):
        assert np.array_equal(one.xy, other.xy, equal_nan=True)
        assert one.window == (0, 0, one.width, one.height)
        assert other.window is None


@pytest.mark.parametrize("parts", [True, False])
def test_keypoints_are_those_of_the_cut_image(folder, named, checkpoint, monkeypatch, tmp_path, parts):
    """Independent: the window is cut by hand into a file, and read as a whole image."""
    monkeypatch.setattr(windows, "largest_region", lambda *_: MIDDLE)
    model = named if parts else checkpoint
    looked = discover(folder, checkpoint=model, **OPTIONS)
    for found in looked.keypoints:
        with Image.open(folder / found.file_name) as image:
            left, top, width, height = middle(*image.size)
            image.crop((left, top, left + width, top + height)).save(tmp_path / "cut.png")
        alone = discover(tmp_path / "cut.png", checkpoint=model, **OPTIONS | {"objects": "none"}).keypoints[0]
        assert found.window == (left, top, width, height)
        assert found.xy == pytest.approx(alone.xy + np.array([left, top]), abs=1e-6, nan_ok=True)


def test_files_hold_the_window_and_read_it_back(folder, named, monkeypatch, tmp_path):
    monkeypatch.setattr(windows, "largest_region", lambda *_: MIDDLE)
    discover(folder, checkpoint=named, out=tmp_path / "out", **OPTIONS)
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert document["info"]["objects"] == "one"
    expected = [middle(image["width"], image["height"]) for image in document["images"]]
    assert [tuple(each["bbox"]) for each in document["annotations"]] == expected
    assert document["annotations"][0]["area"] == expected[0][2] * expected[0][3]
    assert [each.window for each in read_keypoints(tmp_path / "out/keypoints.json")] == expected


def test_chunks_and_documents_keep_the_window_or_its_absence():
    shared = (np.array([[1.0, 2.0]]), np.array([0.5]))
    for window in (WINDOW, None):
        keypoints = Keypoints("a.jpg", 100, 100, *shared, window=window)
        assert Chunk.from_bytes(Chunk([keypoints], []).to_bytes()).keypoints[0].window == window
        document = to_coco([keypoints], {"objects": "one" if window else "none"}, ["kp1"])
        assert parse_coco(document)[0].window == window


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e300])
def test_a_window_that_is_none_is_one_message(wrong):
    keypoints = Keypoints("a.jpg", 100, 100, np.array([[1.0, 2.0]]), np.array([0.5]), window=WINDOW)
    document = to_coco([keypoints], {"objects": "one"}, ["kp1"])
    document["annotations"][0]["bbox"][2] = wrong
    with pytest.raises(SchemaError, match=r"the bbox of 'a\.jpg' is not a box"):
        parse_coco(document)


def test_parts_are_read_in_the_window_and_landmarks_outside_are_background(named):
    model = load_checkpoint(named)
    with torch.inference_mode():
        output = model(torch.randn(1, 3, 64, 64))
    landmarks = np.array([[20.0, 40.0], [5.0, 40.0], [20.0, 90.0], [np.nan, np.nan]])
    evaluator = PartEvaluator(model)
    evaluator.add(output, [0], [GroundTruth(landmarks, (100, 100), None)], ["a"], [WINDOW])
    x, y, width, height = WINDOW
    assert ((evaluator.xy >= (x - 0.5, y - 0.5)) & (evaluator.xy <= (x + width, y + height))).all()
    assert evaluator.labels[0, 1:].tolist() == [3, 3, -1]


def test_an_image_without_an_object_has_no_keypoint(folder, named, monkeypatch, tmp_path):
    monkeypatch.setattr(windows, "largest_region", lambda *_: None)
    result = discover(folder, checkpoint=named, out=tmp_path / "out", **OPTIONS)
    assert not any(each.found.any() for each in result.keypoints)
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert [each["num_keypoints"] for each in document["annotations"]] == [0] * len(result.keypoints)


def test_the_overlay_shows_the_window():
    grey = np.full((400, 400, 3), 128, np.uint8)
    none = Keypoints("a.jpg", 400, 400, np.full((1, 2), np.nan), np.full(1, np.nan))
    framed = draw_overlay(grey, Keypoints(**vars(none) | {"window": (100.0, 50.0, 200.0, 300.0)}))
    assert tuple(framed[200, 100]) == (255, 255, 255)
    assert (framed[200, 200] == 128).all()
    whole = draw_overlay(grey, Keypoints(**vars(none) | {"window": (0.0, 0.0, 400.0, 400.0)}))
    assert np.array_equal(whole, draw_overlay(grey, none))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "saliency"}, "^--objects belongs to --method lmpnet and --method parts"),
        ({"backend": "onnx"}, "^--objects cannot be combined with --backend onnx"),
    ],
)
def test_what_has_no_second_look_says_so(given, message):
    with pytest.raises(OptionError, match=message):
        DiscoverConfig(images="photos", objects="one", **given)


def test_a_loaded_image_is_whole_until_it_was_looked_at():
    assert LoadedImage(0, "a.jpg").window is None
