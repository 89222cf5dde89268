import json
import math

import numpy as np
import pytest
from pycocotools.coco import COCO

from lmpnet_cli.errors import InputError
from lmpnet_cli.io.coco import coco_text, read_keypoints, to_coco
from lmpnet_cli.keypoints import Keypoints, cells_to_pixels, keypoint_names, names_in_run

NAN = math.nan


def keypoints(*xy, name="sub/a.jpg", scores=None, **others):
    xy = np.array(xy, dtype=np.float64).reshape(-1, 2)
    given = np.full(len(xy), 0.5) if scores is None else np.array(scores, dtype=np.float64)
    return Keypoints(name, 50, 40, xy, np.where(np.isnan(xy[:, 0]), NAN, given), **others)


RESULTS = [
    keypoints(
        (10.25, 20.5),
        (NAN, NAN),
        (3, 7),
        name="a b/Ä.jpg",
        scores=(0.9, NAN, 0.1),
        replica_shares=np.array([0.5, NAN, 0.0]),
        class_name="heron",
        class_score=0.8,
    ),
    keypoints(*[(NAN, NAN)] * 3, name="b.jpg"),
    keypoints((0, 0), (0, 5), (5, 0), name="c.jpg"),
]


@pytest.fixture
def document():
    return to_coco(RESULTS, {"description": "test"}, names=keypoint_names(3), skipped=[("broken.jpg", "truncated")])


@pytest.fixture
def text():
    return "".join(coco_text(RESULTS, {"description": "test"}, keypoint_names(3), [("broken.jpg", "truncated")]))


@pytest.fixture
def written(text, tmp_path):
    path = tmp_path / "keypoints.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_cells_to_pixels_by_hand():
    """A 2 x 4 map over 100 x 60 pixels: cells of 25 x 30, the first pixel's centre at 0."""
    rows, columns = np.mgrid[0:2, 0:4].astype(float)
    xy = cells_to_pixels(rows, columns, (2, 4), (100, 60))
    assert xy.shape == (2, 4, 2)
    assert xy[0, :, 0].tolist() == [12.0, 37.0, 62.0, 87.0]
    assert xy[:, 0, 1].tolist() == [14.5, 44.5]
    assert cells_to_pixels(np.array(-0.5), np.array(3.5), (2, 4), (100, 60)).tolist() == [99.5, -0.5]
    assert np.isnan(cells_to_pixels(np.array([NAN]), np.array([NAN]), (2, 4), (100, 60))).all()


@pytest.mark.parametrize("size", [(96, 60), (60, 96), (24, 12)])
@pytest.mark.parametrize("at", [(0, 0), (3, 10), (5, 11)])
def test_a_blob_in_the_pixels_comes_back_from_its_cell(size, at):
    (width, height), (h, w) = size, (6, 12)
    blob = np.zeros((height, width))
    blob[at[0] * height // h : (at[0] + 1) * height // h, at[1] * width // w : (at[1] + 1) * width // w] = 1
    pooled = blob.reshape(h, height // h, w, width // w).mean((1, 3))
    row, column = np.unravel_index(pooled.argmax(), pooled.shape)
    y, x = np.argwhere(blob).mean(0)
    assert cells_to_pixels(np.array(row), np.array(column), (h, w), size).tolist() == pytest.approx([x, y])


def test_a_document_is_what_the_contract_shows(document):
    assert list(document) == ["info", "images", "categories", "annotations", "skipped"]
    assert document["images"][0] == {"id": 1, "file_name": "a b/Ä.jpg", "width": 50, "height": 40}
    names = ["kp1", "kp2", "kp3"]
    assert document["categories"] == [{"id": 1, "name": "object", "keypoints": names, "skeleton": []}]
    assert document["skipped"] == [{"file_name": "broken.jpg", "reason": "truncated"}]
    assert document["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "keypoints": [10.25, 20.5, 2, 0, 0, 0, 3.0, 7.0, 2],
        "num_keypoints": 2,
        "keypoint_scores": [0.9, None, 0.1],
        "bbox": [3.0, 7.0, 7.25, 13.5],
        "area": 97.88,
        "iscrowd": 0,
        "segmentation": [],
        "keypoint_replica_shares": [0.5, None, 0.0],
        "predicted_class": {"name": "heron", "score": 0.8},
    }


def test_an_image_without_keypoints_has_an_annotation_of_zeros(document):
    annotation = document["annotations"][1]
    assert annotation["keypoints"] == [0] * 9
    assert (annotation["num_keypoints"], annotation["bbox"], annotation["area"]) == (0, [0.0] * 4, 0.0)
    assert annotation["keypoint_scores"] == [None] * 3


@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.004, -0.004), (-0.0, -0.0)])
def test_a_point_in_the_corner_is_no_missing_point(corner):
    annotation = to_coco([keypoints(corner)], {}, names=keypoint_names(1))["annotations"][0]
    assert annotation["keypoints"] == [0.01, 0.0, 2]
    assert annotation["bbox"] == [0.01, 0.0, 0.0, 0.0]
    assert to_coco([keypoints((0, 5), (5, 0))], {}, keypoint_names(2))["annotations"][0]["keypoints"] == [
        0,
        5,
        2,
        5,
        0,
        2,
    ]


def test_images_with_fewer_keypoints_have_the_last_ones_missing():
    few = keypoints((3, 7), name="few.jpg", replica_shares=np.array([0.5]))
    many = keypoints((1, 2), (3, 4), (5, 6), name="many.jpg")
    names = names_in_run((), [few, many])
    assert names == ["kp1", "kp2", "kp3"] and names_in_run(("beak",), [few, many]) == ["beak"]
    first, second = to_coco([few, many], {}, names)["annotations"]
    assert first["keypoints"] == [3, 7, 2, 0, 0, 0, 0, 0, 0] and first["num_keypoints"] == 1
    assert first["keypoint_scores"] == [0.5, None, None] and first["keypoint_replica_shares"] == [0.5, None, None]
    assert second["num_keypoints"] == 3 and len(few.scores) == 1  # unchanged


def test_missing_keypoints_can_be_left_out():
    some = keypoints((1, 2), (NAN, NAN), (5, 6), replica_shares=np.array([0.5, NAN, 0.25])).found_only()
    assert some.xy.tolist() == [[1, 2], [5, 6]] and some.replica_shares.tolist() == [0.5, 0.25] and some.found.all()


def test_text_has_one_image_and_one_annotation_a_line(document, text):
    lines = text.splitlines()
    for section in ("images", "annotations"):
        for entry in document[section]:
            assert sum(line.rstrip(",") == json.dumps(entry) for line in lines) == 1
    assert text.endswith("}\n")
    assert json.loads(text) == document
    assert json.loads("".join(coco_text([], {}, keypoint_names(5)))) == to_coco([], {}, keypoint_names(5))


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_a_number_that_is_not_finite_is_never_written(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        list(coco_text([], {"thr": value}, ()))


def test_round_trip(written):
    again = read_keypoints(written)
    assert [each.file_name for each in again] == ["a b/Ä.jpg", "b.jpg", "c.jpg"]
    for before, after in zip(RESULTS[:2], again[:2], strict=True):
        np.testing.assert_array_equal(after.xy, before.xy)
        np.testing.assert_array_equal(after.scores, before.scores)
        assert (after.width, after.height, after.found.tolist()) == (50, 40, before.found.tolist())
        assert (after.class_name, after.class_score) == (before.class_name, before.class_score)
    np.testing.assert_array_equal(again[0].replica_shares, RESULTS[0].replica_shares)
    assert again[1].replica_shares is None


def test_reading_follows_the_order_of_the_images_and_takes_files_without_scores(document, tmp_path):
    document["annotations"].reverse()
    for annotation in document["annotations"]:
        del annotation["keypoint_scores"]
    path = tmp_path / "foreign.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    again = read_keypoints(path)
    assert [each.file_name for each in again] == ["a b/Ä.jpg", "b.jpg", "c.jpg"]
    np.testing.assert_array_equal(again[0].scores, [1, NAN, 1])


def test_pycocotools_loads_the_file(written, capsys):
    coco = COCO(str(written))
    assert "Done" in capsys.readouterr().out
    assert coco.getImgIds() == [1, 2, 3]
    annotation = coco.loadAnns(coco.getAnnIds(imgIds=[1]))[0]
    assert annotation["num_keypoints"] == sum(v > 0 for v in annotation["keypoints"][2::3]) == 2
    assert coco.loadCats(annotation["category_id"])[0]["keypoints"] == keypoint_names(3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"images": [], "annotations": [{"image_id": 1}]}',
        '{"images": [{"id": 1, "file_name": "a", "width": 1, "height": 1}], '
        '"annotations": [{"image_id": 1, "keypoints": [1, 2]}]}',
    ],
)
def test_another_file_is_refused_by_name(text, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"other\.json is not a COCO keypoint annotation file"):
        read_keypoints(path)


def test_two_images_of_one_id_are_refused_by_name(document, tmp_path):
    document["images"][1]["id"] = 1
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=r"the images a b/Ä\.jpg and b\.jpg have the same id 1\)"):
        read_keypoints(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"Cannot read .*none\.json: No such file"):
        read_keypoints(tmp_path / "none.json")


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected xy"):
        Keypoints("a.jpg", 1, 1, np.zeros((3, 2)), np.zeros(2))
