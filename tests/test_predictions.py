import json
from pathlib import Path

import numpy as np
import pytest

from lmpnet_cli.annotations import AnnotatedImage
from lmpnet_cli.errors import DatasetError, InputError
from lmpnet_cli.predictions import read_predictions


def annotated(*names):
    return [
        AnnotatedImage(str(index), Path(name), name, np.zeros((1, 2)), None, None)
        for index, name in enumerate(names, start=1)
    ]


IMAGES = annotated("a.heron/x.jpg", "a.heron/y.jpg", "b.egret/y.jpg")


def write(path, document):
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def document(*names, **more):
    return {
        "info": {"method": "lmpnet", "thr": 2},
        "images": [{"id": 10 + i, "file_name": name, "width": 50, "height": 40} for i, name in enumerate(names)],
        "annotations": [
            {"id": i + 1, "image_id": 10 + i, "keypoints": [i + 1, 5, 2, 0, 0, 0], "keypoint_scores": [0.5, None]}
            for i in range(len(names))
        ],
        **more,
    }


def test_an_annotation_file_is_matched_by_name(tmp_path):
    given = read_predictions(write(tmp_path / "p.json", document("a.heron/y.jpg", "a.heron/x.jpg")), IMAGES)
    assert (given.method, given.threshold, given.k, given.left_out) == ("lmpnet", 2.0, 2, {})
    assert set(given.of) == {"a.heron/x.jpg", "a.heron/y.jpg"}
    np.testing.assert_array_equal(given.of["a.heron/y.jpg"].xy, [[1, 5], [np.nan, np.nan]])
    np.testing.assert_array_equal(given.of["a.heron/x.jpg"].xy, [[2, 5], [np.nan, np.nan]])
    assert given.of["a.heron/x.jpg"].size == (50, 40)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("x.jpg", "a.heron/x.jpg"),  # made inside a folder
        ("images/a.heron/y.jpg", "a.heron/y.jpg"),  # made a folder higher
        ("y.jpg", None),  # two pictures of this name
        ("c.stork/x.jpg", None),
        ("z.jpg", None),
    ],
)
def test_names_may_start_at_another_folder_but_not_be_ambiguous(tmp_path, name, match):
    path = write(tmp_path / "p.json", document("b.egret/y.jpg", name))
    given = read_predictions(path, IMAGES)
    assert set(given.of) - {"b.egret/y.jpg"} == ({match} if match else set())
    assert given.left_out == ({} if match else {"predictions for pictures that are not scored": 1})


def test_a_result_list_goes_by_image_id_and_keeps_the_best_object(tmp_path):
    entries = [
        {"image_id": 2, "category_id": 1, "keypoints": [1, 1, 1], "score": 0.2},
        {"image_id": 2, "category_id": 1, "keypoints": [2, 2, 0.7], "score": 0.9},
        {"image_id": 2, "category_id": 1, "keypoints": [3, 3, 1], "score": 0.5},
        {"image_id": 77, "category_id": 1, "keypoints": [3, 3, 1], "score": 0.5},
        {"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4]},
    ]
    given = read_predictions(write(tmp_path / "results.json", entries), IMAGES)
    assert (given.method, given.threshold, given.k) == ("results", None, 1)
    assert {name: each.xy.tolist() for name, each in given.of.items()} == {"a.heron/y.jpg": [[2.0, 2.0]]}
    assert given.left_out == {"further objects on a picture": 2, "predictions for pictures that are not scored": 1}


def test_points_that_are_no_numbers_are_missing_and_counted(tmp_path):
    damaged = document("a.heron/x.jpg", "a.heron/y.jpg")
    damaged["annotations"][0]["keypoints"] = [float("nan"), 5, 2, 1, 1, 2, 7, 8, 1]
    given = read_predictions(write(tmp_path / "p.json", damaged), IMAGES)
    assert given.left_out == {"predicted points that are no finite numbers": 1}
    assert given.k == 3
    assert np.isnan(given.of["a.heron/x.jpg"].xy[:, 0]).tolist() == [True, False, False]
    assert np.isnan(given.of["a.heron/y.jpg"].xy[:, 0]).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no COCO keypoints"),
        ({"annotations": [{"keypoints": [1, 2]}], "images": []}, "holds no COCO keypoints"),
        ([{"image_id": 1, "keypoints": ["x", 1, 1]}], "holds no COCO keypoints"),
        ([5], "holds no COCO keypoints"),
        ([], "no keypoints for any of the 3 annotated pictures"),
        (document("elsewhere.jpg"), "no keypoints for any of the 3 annotated pictures"),
    ],
)
def test_a_file_without_usable_keypoints_is_one_clear_error(tmp_path, content, message):
    with pytest.raises(DatasetError, match=message):
        read_predictions(write(tmp_path / "p.json", content), IMAGES)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        read_predictions(tmp_path / "none.json", IMAGES)
