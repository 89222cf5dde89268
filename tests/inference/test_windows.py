"""The second look: the window of an object, and keypoints in it."""

import json
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import copy_some
from PIL import Image
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.store import Chunk
from lmpnet_cli.drawing.overlays import draw_overlay
from lmpnet_cli.errors import OptionError
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.pck import GroundTruth
from lmpnet_cli.inference import windows
from lmpnet_cli.inference.windows import WHOLE, objects
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.coco import parse_coco, read_keypoints, to_coco
from lmpnet_cli.io.json_input import SchemaError
from lmpnet_cli.keypoints import NO_OBJECT, Keypoints, positions_in_image
from lmpnet_cli.model.objects import response

OPTIONS = {"workers": 0, "device": "cpu", "objects": "one"}
WINDOW = (10.0, 20.0, 28.0, 56.0)
MIDDLE = (0.25, 0.125, 0.75, 0.875)


def middle(width: int, height: int) -> tuple[int, int, int, int]:
    """Return x, y, width, height of `MIDDLE` in whole pixels of an image that is not reduced."""
    left, top, right, bottom = (round(share * side) for share, side in zip(MIDDLE, (width, height) * 2, strict=True))
    return left, top, right - left, bottom - top


def blobs(*values: tuple[slice, slice, float]) -> np.ndarray:
    cells = np.zeros((14, 14), np.float32)
    for rows, columns, value in values:
        cells[rows, columns] = value
    return cells


SMALL, LARGE = (slice(2, 4), slice(2, 4)), (slice(8, 11), slice(5, 12))


def test_the_region_with_most_of_the_object_comes_first():
    cells = blobs((*SMALL, 1), (*LARGE, 0.9))
    ((left, top, right, bottom),) = objects(cells, 0.5)
    cell = 1 / 14
    assert (left, right) == pytest.approx((5 * cell, 12 * cell), abs=cell / 4)
    assert (top, bottom) == pytest.approx((8 * cell, 11 * cell), abs=cell / 4)
    assert objects(cells, 0.95)[0][1] < 0.3  # only the small one is above
    assert objects(cells, 1.5) == []


def test_every_region_is_an_object_up_to_a_number():
    cells = blobs((*SMALL, 1), (*LARGE, 0.9))
    first, second = objects(cells, 0.5, most=5)
    assert second[2] < first[0] and second[3] < first[1]
    assert objects(cells, 0.5, most=1) == [first]


def test_a_small_region_beside_a_large_one_is_no_object():
    assert len(objects(blobs((slice(0, 1), slice(0, 1), 1), (*LARGE, 1)), 0.5, most=5)) == 1


def test_a_region_in_the_extent_of_another_is_the_same_object():
    frame = np.ones((14, 14), np.float32)
    frame[:4], frame[11:], frame[:, :4], frame[:, 11:] = 0, 0, 0, 0
    frame[5:10, 5:10] = 0
    frame[7:8, 6:9] = 1
    assert len(objects(frame, 0.5, most=5)) == 1


def test_nearly_the_whole_image_is_the_whole_image_and_the_only_object():
    cells = blobs((slice(0, 12), slice(0, 13), 1))
    assert objects(cells, 0.5, most=5) == [WHOLE]


def test_every_filter_counts_alike_whatever_its_strength():
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 0, 1, 1], maps[0, 0, 1, 2] = 100, 50
    maps[0, 1, 1, 1], maps[0, 1, 3, 3] = 0.1, 0.1
    share = response(maps)[0]
    assert share[1, 1] == 1
    assert (share[1, 2], share[3, 3]) == (pytest.approx(0.25), pytest.approx(0.5))
    assert not response(torch.zeros(1, 2, 4, 4)).any()


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
    monkeypatch.setattr(windows, "objects", lambda *_: [WHOLE])
    looked = discover(folder, checkpoint=named, method=method, **OPTIONS)
    whole = discover(folder, checkpoint=named, method=method, **OPTIONS | {"objects": "none"})
    for one, other in zip(looked.keypoints, whole.keypoints, strict=True):
        assert np.array_equal(one.xy, other.xy, equal_nan=True)
        assert one.window == (0, 0, one.width, one.height)
        assert other.window is None


@pytest.mark.parametrize("parts", [True, False])
def test_keypoints_are_those_of_the_cut_image(folder, named, checkpoint, monkeypatch, tmp_path, parts):
    """Independent: the window is cut by hand into a file, and read as a whole image."""
    monkeypatch.setattr(windows, "objects", lambda *_: [MIDDLE])
    monkeypatch.setattr(windows, "FRAMED", 2)  # of the model without an object head
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
    monkeypatch.setattr(windows, "objects", lambda *_: [MIDDLE])
    discover(folder, checkpoint=named, out=tmp_path / "out", **OPTIONS)
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert document["info"]["objects"] == "one"
    expected = [middle(image["width"], image["height"]) for image in document["images"]]
    assert [tuple(each["bbox"]) for each in document["annotations"]] == expected
    assert document["annotations"][0]["area"] == expected[0][2] * expected[0][3]
    assert [each.window for each in read_keypoints(tmp_path / "out/keypoints.json")] == expected


def test_chunks_and_documents_keep_the_window_or_its_absence():
    shared = (np.array([[1.0, 2.0]]), np.array([0.5]))
    for window in (WINDOW, NO_OBJECT, None):
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
    monkeypatch.setattr(windows, "objects", lambda *_: [])
    result = discover(folder, checkpoint=named, out=tmp_path / "out", **OPTIONS)
    assert not any(each.found.any() for each in result.keypoints)
    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert document["annotations"] == [] and len(document["images"]) == len(result.keypoints) == 3
    assert all(each.empty for each in read_keypoints(tmp_path / "out/keypoints.json"))
    assert result.objects == {"objects_found": 0, "images_without_object": 3}


LEFT, RIGHT = (0.0, 0.25, 0.5, 1.0), (0.5, 0.0, 1.0, 0.75)


@pytest.mark.parametrize("method", ["lmpnet", "parts"])
def test_every_object_has_the_keypoints_of_its_own_window(folder, named, monkeypatch, method):
    options = OPTIONS | {"checkpoint": named, "method": method, "objects": "all"}
    found = {}
    for name, extents in {"left": [LEFT], "right": [RIGHT], "both": [LEFT, RIGHT]}.items():
        monkeypatch.setattr(windows, "objects", lambda *_, extents=extents: extents)
        found[name] = discover(folder, batch_size=3, **options).keypoints
    assert len(found["both"]) == 6
    for index, each in enumerate(found["both"]):
        alone = found["left" if index % 2 == 0 else "right"][index // 2]
        assert (each.file_name, each.window) == (alone.file_name, alone.window)
        np.testing.assert_allclose(each.xy, alone.xy, atol=1e-3)


def test_files_have_an_annotation_for_every_object(folder, named, monkeypatch, tmp_path):
    shown = iter([[LEFT, RIGHT], [], [MIDDLE]])
    monkeypatch.setattr(windows, "objects", lambda *_: next(shown))
    options = {"checkpoint": named, "method": "parts", "out": tmp_path / "out", "report": True}
    result = discover(folder, **OPTIONS | options | {"objects": "all", "export": ("csv", "yolo-pose")})
    assert result.objects == {"objects_found": 3, "images_without_object": 1} and result.images == 3

    document = json.loads((tmp_path / "out/keypoints.json").read_text())
    assert [each["image_id"] for each in document["annotations"]] == [1, 1, 3]
    assert [each["id"] for each in document["annotations"]] == [1, 2, 3]
    assert len(document["images"]) == 3 == len(list((tmp_path / "out/overlays").rglob("*.jpg")))
    read = read_keypoints(tmp_path / "out/keypoints.json")
    assert [each.window for each in read] == [each.window for each in result.keypoints]
    assert to_coco(read, document["info"], result.names)["annotations"] == document["annotations"]


def test_a_resumed_run_counts_images_and_not_objects(folder, named, monkeypatch, tmp_path):
    monkeypatch.setattr(windows, "objects", lambda *_: [LEFT, RIGHT])
    options = OPTIONS | {"checkpoint": named, "objects": "all", "batch_size": 1, "out": tmp_path / "out"}
    whole = discover(folder, **options | {"out": None})

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lmpnet_cli.discovery.discover._write_results", stop)
        with pytest.raises(KeyboardInterrupt):
            discover(folder, **options)
    resumed = discover(folder, **options | {"resume": True})
    assert [each.window for each in resumed.keypoints] == [each.window for each in whole.keypoints]
    assert len(list((tmp_path / "out/overlays").rglob("*.jpg"))) == 3


def test_batches_hold_whole_images_and_no_more_windows_than_asked(birds):
    image = LoadedImage(0, "a.jpg", width=40, height=40, scene=np.zeros((40, 40, 3), np.uint8))
    loaded = [replace(image, index=index) for index in range(5)]
    found = [[LEFT], [LEFT, RIGHT], [], [LEFT] * 7, [RIGHT]]
    pixels = torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    batches = [(entries, len(inputs)) for entries, inputs in windows.cut_windows(loaded, pixels, found, at_once=4)]
    assert [[each.index for each in entries] for entries, _ in batches] == [[0, 1, 1, 2], [3] * 7, [4]]
    assert [count for _, count in batches] == [4, 7, 1]
    assert [each.empty for each in batches[0][0]] == [False, False, False, True]


def boxes_file(folder: Path, path: Path, *boxes: tuple[float, float, float, float]) -> Path:
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*.jpg") if file.name != "broken.jpg"]
    rows = [f"{name},{','.join(map(str, box))}" for name in names for box in boxes]
    path.write_text("file_name,x,y,width,height\n" + "\n".join(rows))
    return path


def test_given_boxes_are_the_windows_inside_the_image(folder, named, tmp_path):
    boxes = boxes_file(folder, tmp_path / "boxes.csv", (20, 10, 30, 40), (-50, -50, 100, 90), (500, 5, 10, 10))
    options = {"checkpoint": named, "workers": 0, "device": "cpu", "boxes": boxes}
    result = discover(folder, **options)
    first, second, *rest = result.keypoints
    assert first.window == (20, 10, 30, 40) and second.window == (0, 0, 50, 40)
    assert rest[0].file_name != first.file_name
    assert len(discover(folder, **options | {"objects": "one"}).keypoints) == 3
    many = boxes_file(folder, tmp_path / "many.csv", *[(index % 50, index % 40, 30, 20) for index in range(3000)])
    assert len(discover(folder, **options | {"boxes": many, "max_objects": 4}).keypoints) == 12


def test_the_overlay_shows_the_window():
    grey = np.full((400, 400, 3), 128, np.uint8)
    none = Keypoints("a.jpg", 400, 400, np.full((1, 2), np.nan), np.full(1, np.nan))
    framed = draw_overlay(grey, [Keypoints(**vars(none) | {"window": (100.0, 50.0, 200.0, 300.0)})])
    assert tuple(framed[200, 100]) == (255, 255, 255)
    assert (framed[200, 200] == 128).all()
    whole = draw_overlay(grey, [Keypoints(**vars(none) | {"window": (0.0, 0.0, 400.0, 400.0)})])
    assert np.array_equal(whole, draw_overlay(grey, [none]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "saliency"}, "^--objects belongs to --method lmpnet and --method parts"),
        ({"objects": "none", "boxes": "boxes.json"}, "^--boxes cannot be combined with --objects none"),
        ({"max_objects": 3}, "^--max-objects needs --objects all"),
        ({"min_confidence": 0.5}, "^--min-confidence needs --boxes"),
    ],
)
def test_what_has_no_second_look_says_so(given, message):
    with pytest.raises(OptionError, match=message):
        DiscoverConfig(images="photos", **{"objects": "one"} | given)


def test_a_loaded_image_is_whole_until_it_was_looked_at():
    assert LoadedImage(0, "a.jpg").window is None


def test_the_summary_counts_images_and_objects(folder, named, monkeypatch, tmp_path):
    shown = cycle([[LEFT, RIGHT], [], [MIDDLE]])
    monkeypatch.setattr(windows, "objects", lambda *_: next(shown))
    arguments = ["discover", str(folder), "-c", str(named), "--method", "parts", "--objects", "all", "--workers", "0"]
    told = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "a"), "--device", "cpu"]).stderr
    assert "images      3" in told and "objects     3 (1 image without one)" in told and "per object)" in told
    document = json.loads(CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "b"), "--json"]).stdout)
    assert (document["images"], document["objects_found"], document["images_without_object"]) == (3, 3, 1)


def test_a_model_in_training_keeps_its_statistics(folder, checkpoint):
    model = load_checkpoint(checkpoint).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    discover(folder, model=model, **OPTIONS)
    assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
