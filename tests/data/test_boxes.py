"""`--boxes`: the boxes of other programs, and what cannot be used of them."""

import json
from pathlib import Path

import pytest

from lmpnet_cli.data.boxes import read_boxes
from lmpnet_cli.data.listing import GivenBox
from lmpnet_cli.errors import DatasetError, InputError

NAMES = ["a/one.jpg", "a/two.jpg", "b/three.jpg"]
COCO = {
    "images": [{"id": 7, "file_name": "one.jpg"}, {"id": "x", "file_name": "a/two.jpg"}],
    "annotations": [{"image_id": 7, "bbox": [1, 2, 30, 40]}, {"image_id": "x", "bbox": [5, 6, 7, 8], "score": 0.9}],
}
MEGADETECTOR = {
    "info": {"format_version": "1.3"},
    "detection_categories": {"1": "animal", "2": "person"},
    "images": [
        {
            "file": "a/one.jpg",
            "detections": [
                {"category": "1", "conf": 0.4, "bbox": [0.1, 0.2, 0.3, 0.4]},
                {"category": "1", "conf": 0.8, "bbox": [0.5, 0.5, 0.2, 0.2]},
                {"category": "2", "conf": 0.9, "bbox": [0, 0, 1, 1]},
            ],
        },
        {"file": "a/two.jpg", "failure": "Image access", "detections": None},
    ],
}


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_coco_annotations(tmp_path):
    boxes = read_boxes(write(tmp_path / "boxes.json", COCO), NAMES, 0.2)
    assert boxes.of["a/one.jpg"] == (GivenBox(1, 2, 30, 40),)
    assert boxes.of["a/two.jpg"] == (GivenBox(5, 6, 7, 8),)
    assert boxes.of["b/three.jpg"] == ()
    assert boxes.notes == ("1 images have no box (for example b/three.jpg)",)


def test_coco_results_whose_ids_are_names(tmp_path):
    results = [{"image_id": "a/one.jpg", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
    assert read_boxes(write(tmp_path / "r.json", results), NAMES, 0.2).of["a/one.jpg"] == (GivenBox(1, 2, 3, 4),)


def test_megadetector_gives_animals_as_shares_of_the_image_the_surest_first(tmp_path):
    boxes = read_boxes(write(tmp_path / "md.json", MEGADETECTOR), NAMES[:2], 0.2)
    assert boxes.of["a/one.jpg"] == (
        GivenBox(0.5, 0.5, 0.2, 0.2, relative=True),
        GivenBox(0.1, 0.2, 0.3, 0.4, relative=True),
    )
    assert read_boxes(tmp_path / "md.json", NAMES[:2], 0.5).of["a/one.jpg"] == (
        GivenBox(0.5, 0.5, 0.2, 0.2, relative=True),
    )


def test_a_cub_folder_counts_pixels_from_one(birds):
    names = [line.split()[1] for line in (birds / "images.txt").read_text().splitlines()]
    first = [float(cell) for cell in (birds / "bounding_boxes.txt").read_text().splitlines()[0].split()[1:]]
    for given in (birds, birds / "bounding_boxes.txt"):
        boxes = read_boxes(given, names, 0.2)
        assert boxes.of[names[0]] == (GivenBox(first[0] - 1, first[1] - 1, first[2], first[3]),)
        assert boxes.notes == ()


def test_csv_with_and_without_a_score(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("\ufefffile_name,x,y,width,height\r\na/one.jpg,1,2,3,4\r\n", encoding="utf-8")
    assert read_boxes(path, NAMES, 0.2).of["a/one.jpg"] == (GivenBox(1, 2, 3, 4),)
    path.write_text("file_name,x,y,width,height,conf\na/one.jpg,1,2,3,4,0.1\na/one.jpg,5,6,7,8,0.3\n")
    boxes = read_boxes(path, NAMES, 0.2)
    assert boxes.of["a/one.jpg"] == (GivenBox(5, 6, 7, 8),)
    assert "1 boxes have a confidence below 0.2 (--min-confidence) (for example a/one.jpg)" in boxes.notes


def test_empty_negative_and_nan_boxes_are_left_out_and_counted(tmp_path):
    path = tmp_path / "boxes.csv"
    rows = [
        "a/one.jpg,1,2,0,4",
        "a/one.jpg,1,2,-3,4",
        "a/one.jpg,nan,2,3,4",
        "a/one.jpg,x,2,3,4",
        "a/one.jpg,1,2,3",
        "a/one.jpg,-9,2,3,4",
    ]
    path.write_text("file_name,x,y,width,height\n" + "\n".join([*rows, "a/one.jpg,1,2,3,inf", "a/two.jpg,1,2,3,4"]))
    boxes = read_boxes(path, NAMES, 0.2)
    assert boxes.of == {"a/one.jpg": (), "a/two.jpg": (GivenBox(1, 2, 3, 4),), "b/three.jpg": ()}
    assert "7 boxes are empty, not finite or outside their image (for example a/one.jpg)" in boxes.notes


def test_boxes_of_other_images_are_counted_and_named(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("file_name,x,y,width,height\nelsewhere.jpg,1,2,3,4\na/one.jpg,1,2,3,4\n")
    assert "1 boxes belong to no image of this run (for example elsewhere.jpg)" in read_boxes(path, NAMES, 0.2).notes
    path.write_text("file_name,x,y,width,height\nelsewhere.jpg,1,2,3,4\n")
    with pytest.raises(DatasetError, match=r"1 images \(for example elsewhere\.jpg\), but for none of the 3 images"):
        read_boxes(path, NAMES, 0.2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.json", "{", "no boxes that lmpnet can read"),
        ("b.json", '{"images": 3}', "no boxes that lmpnet can read"),
        (
            "b.json",
            '{"images": [{"id": 1, "file_name": "a/one.jpg"}, {"id": "1", "file_name": "b.jpg"}], "annotations": []}',
            r"b\.json: the images a/one\.jpg and b\.jpg have the same id 1\. Give each image an id of its own",
        ),
        ("b.csv", "file,x,y,width,height\n", "it has no column file_name"),
        ("b.csv", b"file_name,x,y,width,height\n\xff,1,2,3,4\n", "it is not Unicode text"),
    ],
)
def test_another_kind_of_file_is_one_message(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match=message):
        read_boxes(path, NAMES, 0.2)


def test_missing_files_and_folders_without_boxes_say_so(tmp_path):
    for name in ("b.json", "b.csv"):
        with pytest.raises(InputError, match="Cannot read"):
            read_boxes(tmp_path / name, NAMES, 0.2)
    with pytest.raises(DatasetError, match="is not a CUB folder"):
        read_boxes(tmp_path, NAMES, 0.2)
