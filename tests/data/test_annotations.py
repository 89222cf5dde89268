import json
import math

import numpy as np
import pytest

from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.errors import DatasetError, InputError

NAN = math.nan
CUB = {
    "images": "1 b.egret/x.jpg\n2 a.heron/y.jpg\n3 a.heron/z.jpg\n",
    "image_class_labels": "1 1\n2 2\n3 2\n",
    "classes": "1 b.egret\n2 a.heron\n",
    "train_test_split": "1 0\n2 1\n3 0\n",
    "bounding_boxes": "1 1.0 1.0 20.0 30.0\n2 5 6 7 8\n",
    "parts/parts": "1 beak\n2 left eye\n",
    "parts/part_locs": "1 1 1.0 1.0 1\n1 2 0.0 0.0 0\n2 1 10 20 1\n2 2 30.5 40.5 1\n",
}


def write_cub(folder, **changed):
    (folder / "parts").mkdir(parents=True)
    for name, text in CUB.items():
        text = changed.get(name.rpartition("/")[2], text)
        if text is not None:
            (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("inner", ["", "CUB_200_2011"])
def test_cub_positions_count_from_0_and_hidden_parts_are_missing(tmp_path, inner):
    root = write_cub(tmp_path / "birds" / inner)
    annotations = read_annotations(tmp_path / "birds", "all")
    assert (annotations.name, annotations.landmark_names) == (root.name, ("beak", "left eye"))
    heron, without, egret = annotations.images
    assert [image.name for image in annotations.images] == ["a.heron/y.jpg", "a.heron/z.jpg", "b.egret/x.jpg"]
    np.testing.assert_array_equal(egret.landmarks, [[0, 0], [NAN, NAN]])
    np.testing.assert_array_equal(egret.visible, [[0, 0]])
    np.testing.assert_array_equal(heron.landmarks, [[9, 19], [29.5, 39.5]])
    assert egret.path == root / "images" / "b.egret" / "x.jpg"
    assert (egret.bbox, egret.class_name) == ((0.0, 0.0, 20.0, 30.0), "b.egret")
    assert without.bbox is None and np.isnan(without.landmarks).all() and without.visible.shape == (0, 2)


def test_cub_splits(tmp_path):
    write_cub(tmp_path / "birds")
    names = {split: [i.name for i in read_annotations(tmp_path / "birds", split).images] for split in ("train", "test")}
    assert names == {"train": ["a.heron/y.jpg"], "test": ["a.heron/z.jpg", "b.egret/x.jpg"]}
    assert len(read_annotations(tmp_path / "birds").images) == 2


def test_drawn_birds_have_their_landmarks_inside_the_image(birds):
    from lmpnet_cli.data.images import image_size

    images = read_annotations(birds, "all").images
    assert len(images) == 96
    for image in images[::12]:
        assert len(image.visible)
        assert (image.visible > -1).all() and (image.visible < image_size(image.path)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_test_split": "1 1\n2 1\n3 1\n"}, r"no images in its test split\. Use --split train or --split all\."),
        ({"parts": None}, r"Cannot read .*parts\.txt"),
        ({"part_locs": "1 1 1 1\n"}, r"part_locs\.txt, line 1: expected 5 columns, found 4"),
        ({"part_locs": "1 1 x 1 1\n"}, r"part_locs\.txt: image 1 has a value that is not a number"),
        ({"part_locs": "1 1 nan 1 1\n"}, r"part_locs\.txt: image 1 has a value that is not finite \(1 nan 1 1\)"),
        ({"part_locs": "1 0 5 5 1\n"}, "image 1 has part number 0, but there are 2 parts"),
        ({"part_locs": "1 3 5 5 1\n"}, "image 1 has part number 3, but there are 2 parts"),
        ({"bounding_boxes": "1 1 1 wide 1\n"}, r"bounding_boxes\.txt: image 1 has a value that is not a number"),
        ({"images": "1 ../x.jpg\n"}, "is located outside"),
        ({"images": "1 a/x.jpg\n1 a/y.jpg\n"}, r"images\.txt lists 1 twice"),
        ({"images": "1 a/x.jpg\n2 a/x.jpg\n"}, r"images\.txt lists a/x\.jpg twice"),
    ],
)
def test_a_broken_cub_folder_is_refused(tmp_path, changed, message):
    with pytest.raises(DatasetError, match=message):
        read_annotations(write_cub(tmp_path / "birds", **changed))


def coco():
    return {
        "images": [{"id": 7, "file_name": "b.jpg"}, {"id": 8, "file_name": "sub/a.jpg"}],
        "categories": [{"id": 1, "name": "ball"}, {"id": 2, "name": "bird", "keypoints": ["beak", "tail", "eye"]}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 2,
                "keypoints": [0, 5.5, 2, 0, 0, 0, 3, 4, 1],
                "bbox": [0, 1, 9, 8],
            },
            {"id": 2, "image_id": 8, "category_id": 2, "keypoints": [math.nan, 1, 2, 1, 1, 2, 0, 0, 0]},
        ],
    }


def write_coco(path, document):
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_coco_file_is_read(tmp_path):
    path = write_coco(tmp_path / "birds.json", coco())
    annotations = read_annotations(path)
    assert (annotations.name, annotations.landmark_names) == ("birds", ("beak", "tail", "eye"))
    first, second = annotations.images
    assert (first.name, first.path, first.bbox) == ("b.jpg", tmp_path / "b.jpg", (0.0, 1.0, 9.0, 8.0))
    np.testing.assert_array_equal(first.landmarks, [[0, 5.5], [NAN, NAN], [3, 4]])
    np.testing.assert_array_equal(second.landmarks, [[NAN, NAN], [1, 1], [NAN, NAN]])
    assert (second.bbox, second.class_name) == (None, None)
    again = read_annotations(tmp_path)  # the folder with one .json
    assert [image.path for image in again.images] == [image.path for image in annotations.images]


def test_images_may_lie_beside_the_file_in_images_or_behind_a_link(tmp_path):
    (tmp_path / "set").mkdir()
    path = write_coco(tmp_path / "set" / "birds.json", coco())
    (tmp_path / "disk" / "sub").mkdir(parents=True)
    (tmp_path / "disk" / "sub" / "a.jpg").touch()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "disk")
    (tmp_path / "set" / "b.jpg").touch()
    assert [image.path for image in read_annotations(path).images] == [
        tmp_path / "set" / "b.jpg",
        tmp_path / "set" / "images" / "sub" / "a.jpg",
    ]


def change(at, value):
    *way, last = at

    def apply(document):
        for step in way:
            document = document[step]
        document[last] = value

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.pop("categories"), "not a COCO keypoint annotation file"),
        (change(["categories"], []), "not a COCO keypoint annotation file"),
        (change(["categories"], [{"id": 1, "name": "ball"}]), "not a COCO keypoint annotation file"),
        (change(["categories", 1, "keypoints"], [1, 2, 3]), r"Expected `str`, got `int` - at `\$\.categories"),
        (change(["categories", 1, "keypoints"], ["a", "b", "a"]), "keypoint a occurs more than once"),
        (lambda d: d["images"][0].update(width=math.inf, height=9), "not a COCO keypoint annotation file"),
        (change(["annotations", 0, "keypoints"], [1, 1, 2]), "annotation 1 has 1 keypoints, expected 3"),
        (change(["annotations", 0, "keypoints"], [1, 1]), "not a COCO keypoint annotation file"),
        (change(["annotations", 0, "keypoints"], ["x"] * 9), "not a COCO keypoint annotation file"),
        (change(["annotations", 0, "bbox"], [1, 2]), "not a COCO keypoint annotation file"),
        (change(["annotations", 0, "bbox"], list("abcd")), "not a COCO keypoint annotation file"),
        (change(["annotations"], []), "contains no annotations"),
        (change(["images", 1, "id"], 7), r"the images .*\.jpg and .*\.jpg have the same id 7\. Give each"),
        (change(["images", 1, "file_name"], "b.jpg"), "file_name b.jpg occurs more than once"),
        (change(["annotations", 1, "id"], 1), "annotation id 1 occurs more than once"),
        (change(["images", 0, "file_name"], "../b.jpg"), r"names .\.\./b\.jpg., which is located outside"),
        (change(["images", 0, "file_name"], "sub/../../b.jpg"), "is located outside"),
        (change(["images", 0, "file_name"], "/etc/b.jpg"), "is located outside"),
        (change(["images", 0, "file_name"], 5), "not a COCO keypoint annotation file"),
    ],
)
def test_a_damaged_coco_file_is_refused_by_name(tmp_path, damage, message):
    document = coco()
    damage(document)
    with pytest.raises(DatasetError, match=message):
        read_annotations(write_coco(tmp_path / "birds.json", document))


def test_images_without_keypoints_or_with_two_objects_are_kept_without_visible_landmarks(tmp_path):
    document = coco()
    document["annotations"][0].pop("keypoints")
    images = {image.name: image for image in read_annotations(write_coco(tmp_path / "one.json", document)).images}
    assert len(images) == len(document["images"])
    assert not len(images["b.jpg"].visible)
    document = coco()
    document["annotations"][1]["image_id"] = 7
    two = read_annotations(write_coco(tmp_path / "two.json", document))
    assert [len(image.visible) for image in two.images] == [0, 0]
    assert two.left_out == {"images with several objects": 1}


def test_objects_without_labelled_points_hide_no_other_and_boxes_need_an_extent(tmp_path):
    document = coco()
    document["categories"].insert(0, {"id": 9, "name": "no keypoints", "keypoints": []})
    document["annotations"].append({"id": 3, "image_id": 7, "category_id": 2, "keypoints": [0] * 9})
    document["annotations"][0]["bbox"] = [0, 0, 0, 0]
    document["images"][0] |= {"width": 50, "height": 40}
    annotations = read_annotations(write_coco(tmp_path / "birds.json", document))
    first, second = annotations.images
    assert (len(first.visible), first.bbox, first.size, second.size) == (2, None, (50, 40), None)
    assert annotations.listed == (("7", "b.jpg"), ("8", "sub/a.jpg"))


def test_what_cannot_be_used_is_counted(tmp_path):
    document = coco()
    document["annotations"].append({"id": 3, "image_id": 99, "category_id": 2, "keypoints": [1, 1, 2] * 3})
    document["annotations"][0]["bbox"] = [0, 0, math.inf, 5]
    annotations = read_annotations(write_coco(tmp_path / "birds.json", document))
    assert annotations.left_out == {"annotations of no listed image": 1, "points that are not finite numbers": 1}
    assert annotations.images[0].bbox is None
    assert [image.id for image in annotations.images] == ["7", "8"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xd8\xff"])
def test_a_file_that_is_not_json_is_refused(tmp_path, content):
    (tmp_path / "birds.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"birds\.json is not a COCO keypoint annotation file"):
        read_annotations(tmp_path / "birds.json")


def test_a_path_without_annotations_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"Data set .*none not found"):
        read_annotations(tmp_path / "none")
    with pytest.raises(DatasetError, match="must contain either"):
        read_annotations(tmp_path)
    for name in ("a.json", "b.json"):
        write_coco(tmp_path / name, coco())
    with pytest.raises(DatasetError, match=r"It has 2 \.json files \(a\.json, b\.json\): pass one"):
        read_annotations(tmp_path)
