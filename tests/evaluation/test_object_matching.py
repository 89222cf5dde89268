"""Annotated objects and found ones, and `eval --objects all`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmpnet_cli.data.annotations import AnnotatedImage, read_annotations
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.evaluation.object_matching import match_objects, overlap
from lmpnet_cli.inference import windows
from lmpnet_cli.keypoints import NO_OBJECT, Box

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
OPTIONS = {"workers": 0, "device": "cpu", "method": "parts"}


def annotated(*boxes: Box | None) -> list[AnnotatedImage]:
    return [AnnotatedImage(str(n), Path("a.jpg"), "a.jpg", np.zeros((1, 2)), box, None) for n, box in enumerate(boxes)]


def test_the_pair_with_the_largest_overlap_goes_first():
    found: list[Box | None] = [(0, 0, 10, 10), (4, 0, 10, 10)]
    # the first one overlaps both; the second one, more, the first
    assert match_objects(found, annotated((5, 0, 10, 10), (1, 0, 10, 10))) == [1, 0]
    assert match_objects(found, annotated((100, 0, 10, 10), (1, 0, 10, 10))) == [None, 0]
    assert match_objects(found, annotated((1, 0, 10, 10))) == [0]


def test_one_and_one_belong_together_and_an_object_without_a_box_takes_what_is_left():
    assert match_objects([None], annotated((100, 100, 5, 5))) == [0]
    assert match_objects([(0, 0, 10, 10), (50, 0, 10, 10)], annotated(None, (0, 0, 10, 10))) == [1, 0]
    assert match_objects([NO_OBJECT], annotated((0, 0, 9, 9), None)) == [None, None]


def test_overlap_is_that_of_pixel_masks():
    random = np.random.default_rng(0)
    for _ in range(50):
        first, second = (tuple(random.integers(0, 30, 2)) + tuple(random.integers(1, 30, 2)) for _ in range(2))
        masks = np.zeros((2, 64, 64), bool)
        for mask, (x, y, width, height) in zip(masks, (first, second), strict=True):
            mask[y : y + height, x : x + width] = True
        assert overlap(first, second) == pytest.approx(masks.all(0).sum() / masks.any(0).sum())
    assert overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0


@pytest.fixture
def pairs(birds, tmp_path) -> Path:
    """Two drawn birds side by side on each of three images, both annotated."""
    one = read_annotations(birds)
    images, annotations = [], []
    for number in range(3):
        canvas = Image.new("RGB", (192, 96))
        images.append({"id": number, "file_name": f"{number}.png", "width": 192, "height": 96})
        for side in (0, 1):
            bird = one.images[2 * number + side]
            with Image.open(bird.path) as image:
                canvas.paste(image, (96 * side, 0))
            shown = ~np.isnan(bird.landmarks[:, 0])
            points = np.where(shown[:, None], bird.landmarks + np.array([96 * side, 0]), 0)
            triples = np.column_stack([points, 2 * shown]).ravel().tolist()
            box = [96 * side, 0, 96, 96]
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": 1, "keypoints": triples, "bbox": box}
            )
        canvas.save(tmp_path / f"{number}.png")
    category = {"id": 1, "name": "bird", "keypoints": list(one.landmark_names)}
    document = {"images": images, "annotations": annotations, "categories": [category]}
    (tmp_path / "pairs.json").write_text(json.dumps(document))
    return tmp_path / "pairs.json"


def test_every_annotated_object_is_scored_with_its_own_keypoints(birds, pairs, named, monkeypatch):
    monkeypatch.setattr(windows, "objects", lambda *_: [RIGHT, LEFT])
    both = evaluate(pairs, checkpoint=named, objects="all", **OPTIONS).metrics
    assert (both["images"], both["annotated_objects"], both["unmatched_objects"]) == (3, 6, 0)
    assert both["parts"]["landmark_regression"]["error"] > 0

    # an object that was not found is wrong, and one that is not annotated counts
    monkeypatch.setattr(windows, "objects", lambda *_: [LEFT])
    left = evaluate(pairs, checkpoint=named, objects="all", **OPTIONS).metrics
    assert left["annotated_objects"] == 6
    assert left["results"][0]["found"] == pytest.approx(both["results"][0]["found"] / 2, abs=0.6)
    monkeypatch.setattr(windows, "objects", lambda *_: [RIGHT, LEFT, (0.4, 0.4, 0.45, 0.45)])
    assert evaluate(pairs, checkpoint=named, objects="all", **OPTIONS).metrics["unmatched_objects"] == 3

    whole = evaluate(pairs, checkpoint=named, objects="all", boxes=pairs, **OPTIONS).metrics
    assert whole["results"][0]["greedy_pck"] == both["results"][0]["greedy_pck"]


def test_without_all_an_image_with_several_objects_is_left_out(pairs, named):
    with pytest.raises(Exception, match="3 images with several objects"):
        evaluate(pairs, checkpoint=named, objects="one", **OPTIONS)


def test_boxes_of_test_images_alone_are_enough(birds, named, tmp_path):
    names = [image.name for image in read_annotations(birds).images]
    rows = [f"{name},10,10,60,60" for name in names]
    (tmp_path / "boxes.csv").write_text("file_name,x,y,width,height\n" + "\n".join(rows))
    metrics = evaluate(birds, checkpoint=named, boxes=tmp_path / "boxes.csv", **OPTIONS).metrics
    assert metrics["images"] == len(names) and metrics["unmatched_objects"] == 0
