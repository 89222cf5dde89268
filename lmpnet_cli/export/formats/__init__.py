"""Files that other tools open, one module for each format, all written from one `Document`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmpnet_cli.export.formats import coco_results, csv_table, cvat, deeplabcut, fiftyone, label_studio, yolo_pose
from lmpnet_cli.export.formats.document import Document, read_document

__all__ = ["FORMATS", "Document", "Format", "read_document"]

Write = Callable[..., list[Path]]


@dataclass(frozen=True)
class Format:
    """How a format is written.

    Attributes:
        write: takes the document, the file or folder, and where each picture lies; returns what it wrote.
        file: name of its file where it has only one (others may stand beside it); None where it is a folder.
        needs_pictures: whether it names or links the pictures.
        beside: suffixes of what may stand beside the one file.
        check: raises `DatasetError` for names of images that the tool cannot tell apart.
        has_prefix: whether `write` takes a `prefix` for the addresses of images.
        next: what to do with it.
    """

    write: Write
    file: str | None
    needs_images: bool
    next: str
    has_prefix: bool = False
    beside: tuple[str, ...] = ()
    check: Callable[[Sequence[str]], None] = lambda _names: None


FORMATS = {
    "coco-results": Format(
        coco_results.write, "results.json", False, 'pycocotools: COCO("annotations.json").loadRes("{out}")'
    ),
    "csv": Format(csv_table.write, "keypoints.csv", False, "any spreadsheet opens it"),
    "dlc": Format(
        deeplabcut.write,
        "keypoints.csv",
        False,
        'pandas.read_csv("{out}", header=[0, 1, 2], index_col=0)',
        beside=(".h5",),
    ),
    "label-studio": Format(
        label_studio.write,
        None,
        False,
        "in Label Studio paste labeling-config.xml into Labeling Setup > Code, then import tasks.json",
        has_prefix=True,
    ),
    "cvat": Format(
        cvat.write,
        None,
        False,
        'in CVAT make a task with the pictures and, under Raw, labels.json; then Upload annotations > "COCO Keypoints '
        '1.0" > annotations.zip',
        check=cvat.check_names,
    ),
    "fiftyone": Format(
        fiftyone.write,
        None,
        True,
        'fiftyone.Dataset.from_dir("{out}", fiftyone.types.COCODetectionDataset, data_path="data.json", '
        'label_types=["keypoints"])',
    ),
    "yolo-pose": Format(yolo_pose.write, None, True, "yolo pose train data={out}/data.yaml model=yolo11n-pose.pt"),
}
