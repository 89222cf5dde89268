"""Annotations find their images in the layouts of other programs, whatever their ids and names look like."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.errors import DatasetError, InputError

NAMES = ["a.jpg", "b.jpg"]


def document(names=NAMES, ids=(1, 2), of=None) -> dict:
    return {
        "images": [{"id": image_id, "file_name": name} for image_id, name in zip(ids, names, strict=True)],
        "annotations": [
            {"id": number, "image_id": image_id, "category_id": 1, "keypoints": [number, 2, 2], "bbox": [0, 0, 9, 9]}
            for number, image_id in enumerate(of or ids, 1)
        ],
        "categories": [{"id": 1, "name": "bird", "keypoints": ["beak"]}],
    }


def write(root: Path, file: str, folder: str, names=NAMES, on_disk=NAMES, **changed) -> Path:
    for name in on_disk:
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / folder / name, "JPEG")
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(document(names, **changed)), "utf-8")
    return root / file


LAYOUTS = {
    "beside": ("ann.json", ""),
    "images": ("ann.json", "images"),
    "CVAT": ("annotations/person_keypoints_default.json", "images/default"),
    "CVAT, named subset": ("annotations/person_keypoints_Train.json", "images/Train"),
    "COCO": ("annotations/person_keypoints_train2017.json", "train2017"),
    "COCO, images above": ("annotations/person_keypoints_val2017.json", "images/val2017"),
    "subset first": ("annotations/val_keypoints.json", "val"),
    "subset in the middle": ("annotations/birds-Test.v2_keypoints.json", "images/Test"),
    "subset of two words": ("annotations/person_keypoints_my_set.json", "images/my_set"),
    "FiftyOne": ("labels.json", "data"),
    "Label Studio": ("result.json", "images"),
    "Roboflow": ("_annotations.coco.json", ""),
    "somewhere": ("annotations/a.json", "media/2024/birds"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_images_are_found(tmp_path, layout):
    file, folder = LAYOUTS[layout]
    path = write(tmp_path / "data", file, folder)
    for data in (path, tmp_path / "data"):
        images = read_annotations(data).images
        assert [image.path for image in images] == [tmp_path / "data" / folder / name for name in NAMES]
        assert [image.refused for image in images] == ["", ""]


def test_the_right_one_of_two_subsets_is_taken(tmp_path):
    for subset in ("train2017", "val2017"):
        path = write(tmp_path, f"annotations/person_keypoints_{subset}.json", subset)
        (tmp_path / f"annotations/captions_{subset}.json").write_text("{}")
    assert [image.path.parent.name for image in read_annotations(path).images] == ["val2017", "val2017"]
    with pytest.raises(DatasetError, match=r"It has 2 \.json files \(annotations/person_keypoints_train2017\.json, "):
        read_annotations(tmp_path)


@pytest.mark.parametrize("file", ["val_keypoints", "person_keypoints_val", "keypoints-val", "val.coco", "birds_val_2"])
def test_the_subset_is_any_word_of_the_name(tmp_path, file):
    write(tmp_path, f"annotations/{file}.json", "train")
    path = write(tmp_path, f"annotations/{file}.json", "val")
    assert [image.path.parent for image in read_annotations(path).images] == [tmp_path / "val"] * 2


def test_words_of_the_name_do_not_lead_out(tmp_path):
    write(tmp_path, "a.json", "")
    path = write(tmp_path / "data", "x_.._...json", "inner", on_disk=[])
    assert not any(image.path.exists() for image in read_annotations(path, follow_links=True).images)


def test_a_name_that_fits_several_files_is_refused_with_their_names(tmp_path):
    path = write(tmp_path, "annotations/a.json", "media/one", ["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"])
    write(tmp_path, "annotations/a.json", "media/two", ["a.jpg", "b.jpg"], ["a.jpg"])
    first, second = read_annotations(path).images
    assert first.refused == (
        "its name fits several files (media/one/a.jpg, media/two/a.jpg); say which folder is meant (--images of eval, --image-folder of fit)"
    )
    assert first.path.exists() and (second.path, second.refused) == (tmp_path / "media/one/b.jpg", "")
    chosen = read_annotations(path, images=tmp_path / "media/one").images
    assert [(image.path.parent.name, image.refused) for image in chosen] == [("one", "")] * 2


def test_an_ambiguous_name_of_a_cub_folder_is_refused(birds, tmp_path):
    shutil.copytree(birds, tmp_path / "birds")
    for copy in ("one", "two"):
        shutil.copytree(tmp_path / "birds/images", tmp_path / "birds" / copy)
    shutil.rmtree(tmp_path / "birds/images")
    refused = {image.refused[:28] for image in read_annotations(tmp_path / "birds").images}
    assert refused == {"its name fits several files "}
    images = read_annotations(tmp_path / "birds", images=tmp_path / "birds/two").images
    assert not any(image.refused for image in images)


def test_a_manifest_beside_the_labels_is_no_second_annotation_file(tmp_path):
    write(tmp_path, "labels.json", "data")
    (tmp_path / "data.json").write_text("{}")
    assert len(read_annotations(tmp_path).images) == 2


def test_images_elsewhere_are_named_by_the_user(tmp_path):
    path = write(tmp_path / "labels here", "ann.json", "")
    for name in NAMES:
        (tmp_path / "elsewhere/sub").mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / "labels here" / name, tmp_path / "elsewhere/sub" / name)
    images = read_annotations(path, images=tmp_path / "elsewhere").images
    assert [image.path for image in images] == [tmp_path / "elsewhere/sub" / name for name in NAMES]
    assert all(not image.refused for image in images)
    with pytest.raises(InputError, match="nowhere is not a folder"):
        read_annotations(path, images=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "on_disk"),
    [
        ("images\\a.jpg", "a.jpg"),
        ("C:\\Users\\me\\a.jpg", "a.jpg"),
        ("/home/me/birds/a.jpg", "a.jpg"),
        ("../images/a.jpg", "a.jpg"),
        ("A.JPG", "a.jpg"),
        ("/data/upload/1/0a1b2c3d-a.jpg", "a.jpg"),
        (unicodedata.normalize("NFC", "Höckerschwan.jpg"), unicodedata.normalize("NFD", "Höckerschwan.jpg")),
        (unicodedata.normalize("NFD", "Höckerschwan.jpg"), unicodedata.normalize("NFC", "Höckerschwan.jpg")),
    ],
)
def test_names_of_other_systems_are_found(tmp_path, name, on_disk):
    path = write(tmp_path / "data", "ann.json", "images", [name, "b.jpg"], [on_disk, "b.jpg"])
    found = {image.name: image.path for image in read_annotations(path).images}
    assert found[name].resolve() == tmp_path / "data/images" / on_disk
    assert found[name].read_bytes()


def test_a_name_outside_is_refused_where_no_image_is_called_alike(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = write(tmp_path / "data", "ann.json", "images", ["../secret.jpg", "b.jpg"], ["b.jpg"])
    with pytest.raises(DatasetError, match=r"names .*secret\.jpg.*outside"):
        read_annotations(path)


def test_an_image_that_is_nowhere_is_expected_beside_the_file(tmp_path):
    path = write(tmp_path / "data", "annotations/a.json", "images", ["gone.jpg", "b.jpg"], ["b.jpg"])
    gone = next(image for image in read_annotations(path).images if image.name == "gone.jpg")
    assert gone.path == tmp_path / "data/annotations/gone.jpg" and not gone.path.exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("ids", "of"),
    [
        ((1, 2), ("1", "2")),
        ((1.0, 2.0), (1, 2)),
        (("1.0", "2"), (1, 2.0)),
        (("007", "08"), (7, 8)),
        (("x", "y"), ("x", "y")),
    ],
)
def test_ids_are_the_same_in_any_spelling(tmp_path, ids, of, encoding):
    path = write(tmp_path, "ann.json", "", ids=ids, of=of)
    path.write_text(path.read_text(), encoding)
    images = read_annotations(path).images
    assert [image.landmarks.tolist() for image in images] == [[[1.0, 2.0]], [[2.0, 2.0]]]


def test_ids_that_do_not_fit_are_shown(tmp_path):
    path = write(tmp_path, "ann.json", "", ids=(1, 2), of=("one", "two"))
    with pytest.raises(DatasetError, match=r"image_id 'one', and a\.jpg has id 1\."):
        read_annotations(path)


def test_two_spellings_of_one_id_are_a_repetition(tmp_path):
    path = write(tmp_path, "ann.json", "", ids=(1, "1.0"), of=(1, 1))
    with pytest.raises(DatasetError, match=r"the images a\.jpg and b\.jpg have the same id 1"):
        read_annotations(path)


def test_a_cub_folder_may_have_its_images_elsewhere(birds, tmp_path):
    shutil.copytree(birds, tmp_path / "birds")
    shutil.move(tmp_path / "birds/images", tmp_path / "photos")
    images = read_annotations(tmp_path / "birds", images=tmp_path / "photos").images
    assert all(image.path.is_relative_to(tmp_path / "photos") and image.path.exists() for image in images)
    assert not any(image.refused for image in images)
