import json

import numpy as np
import pytest

from lmpnet_cli.data.coco_predictions import read_predictions
from lmpnet_cli.errors import DatasetError, InputError

NAMES = ["a.heron/x.jpg", "a.heron/y.jpg", "b.egret/y.jpg"]
LISTED = [(str(index), name) for index, name in enumerate(NAMES, start=1)]


def read(path, scored=NAMES):
    return read_predictions(path, LISTED, scored)


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
    given = read(write(tmp_path / "p.json", document("a.heron/y.jpg", "a.heron/x.jpg")))
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
        ("y.jpg", None),  # two images of this name
        ("c.stork/x.jpg", None),
        ("z.jpg", None),
    ],
)
def test_names_may_start_at_another_folder_but_not_be_ambiguous(tmp_path, name, match):
    path = write(tmp_path / "p.json", document("b.egret/y.jpg", name))
    given = read(path)
    assert set(given.of) - {"b.egret/y.jpg"} == ({match} if match else set())
    reasons = {"predictions for images that are not scored": 1} if not match else {}
    assert given.left_out == reasons | ({"images whose name fits several": 1} if name == "y.jpg" else {})


def test_an_exact_name_counts_before_one_that_ends_alike(tmp_path):
    listed = [("1", "x.jpg"), ("2", "y.jpg")]
    path = write(tmp_path / "p.json", document("b/x.jpg", "x.jpg", "a/y.jpg", "b/y.jpg"))
    given = read_predictions(path, listed, ["x.jpg", "y.jpg"])
    assert {name: each.xy[0].tolist() for name, each in given.of.items()} == {"x.jpg": [2, 5]}
    assert given.left_out["images whose name fits several"] == 3


def test_a_name_is_not_taken_for_a_image_of_another_split(tmp_path):
    path = write(tmp_path / "p.json", document("y.jpg", "a.heron/x.jpg"))
    assert set(read(path, scored=["a.heron/x.jpg", "b.egret/y.jpg"]).of) == {"a.heron/x.jpg"}


def test_the_class_and_threshold_of_other_tools_do_no_harm(tmp_path):
    foreign = document("a.heron/x.jpg", info={"thr": "auto", "classes": 5})
    foreign["annotations"][0]["predicted_class"] = "heron"
    given = read(write(tmp_path / "p.json", foreign))
    assert (given.threshold, given.classes, given.of["a.heron/x.jpg"].class_name) == (None, None, None)
    assert read(write(tmp_path / "p.json", foreign | {"info": {"thr": float("nan")}})).threshold is None


def test_a_result_list_goes_by_image_id_and_keeps_the_best_object(tmp_path):
    entries = [
        {"image_id": 2, "category_id": 1, "keypoints": [1, 1, 1], "score": 0.2},
        {"image_id": 2, "category_id": 1, "keypoints": [2, 2, 0.7], "score": 0.9},
        {"image_id": 2, "category_id": 1, "keypoints": [3, 3, 1], "score": 0.5},
        {"image_id": 77, "category_id": 1, "keypoints": [3, 3, 1], "score": 0.5},
        {"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4]},
    ]
    given = read(write(tmp_path / "results.json", entries))
    assert (given.method, given.threshold, given.k) == ("results", None, 1)
    assert {name: each.xy.tolist() for name, each in given.of.items()} == {"a.heron/y.jpg": [[2.0, 2.0]]}
    assert given.left_out == {"further objects in an image": 2, "predictions for images that are not scored": 1}


def test_in_a_result_list_the_third_number_means_nothing(tmp_path):
    entries = [
        {"image_id": 1, "keypoints": [10, 10, 0, 20, 20, -3.5, 0, 0, 0]},
        {"image_id": 77, "keypoints": [1, 1, 1] * 21},
    ]
    given = read(write(tmp_path / "results.json", entries))
    assert given.k == 3  # the entry of an image that is not scored does not count
    assert np.isnan(given.of["a.heron/x.jpg"].xy[:, 0]).tolist() == [False, False, True]


def test_points_that_are_no_numbers_are_missing_and_counted(tmp_path):
    damaged = document("a.heron/x.jpg", "a.heron/y.jpg")
    damaged["annotations"][0]["keypoints"] = [float("nan"), 5, 2, 1, 1, 2, 7, 8, 1]
    given = read(write(tmp_path / "p.json", damaged))
    assert given.left_out == {"predicted points that are not finite numbers": 1}
    assert given.k == 3
    assert np.isnan(given.of["a.heron/x.jpg"].xy[:, 0]).tolist() == [True, False, False]
    assert np.isnan(given.of["a.heron/y.jpg"].xy[:, 0]).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "contains no COCO keypoints"),
        ({"annotations": [{"keypoints": [1, 2]}], "images": []}, "contains no COCO keypoints"),
        ([{"image_id": 1, "keypoints": ["x", 1, 1]}], "contains no COCO keypoints"),
        ([5], "contains no COCO keypoints"),
        (document("x.jpg", images=[{"id": 10, "file_name": ""}]), "no keypoints for any"),
        (
            document("x.jpg", images=[{"id": 10, "file_name": "x.jpg", "width": float("inf"), "height": 1}]),
            "contains no",
        ),
        ([], "no keypoints for any of the 3 annotated images"),
        (document("elsewhere.jpg"), "no keypoints for any of the 3 annotated images"),
    ],
)
def test_a_file_without_usable_keypoints_is_one_clear_error(tmp_path, content, message):
    with pytest.raises(DatasetError, match=message):
        read(write(tmp_path / "p.json", content))


@pytest.mark.parametrize("ids", [(10, 10), (10, "10.0")])
def test_two_images_of_one_id_are_refused_by_name(tmp_path, ids):
    """Its keypoints would all be credited to the last one."""
    given = document("a.heron/x.jpg", "a.heron/y.jpg")
    for image, image_id in zip(given["images"], ids, strict=True):
        image["id"] = image_id
    given["annotations"][1]["image_id"] = 10
    with pytest.raises(
        DatasetError, match=r"p\.json: the images a\.heron/x\.jpg and a\.heron/y\.jpg have the same id 10\."
    ):
        read(write(tmp_path / "p.json", given))
    given["images"][1]["file_name"] = "a.heron/x.jpg"  # one image, listed twice
    assert set(read(write(tmp_path / "p.json", given)).of) == {"a.heron/x.jpg"}


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        read(tmp_path / "none.json")
