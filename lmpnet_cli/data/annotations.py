"""Annotated pictures, for evaluation only: CUB part locations and COCO keypoint files.

Positions are turned into the pixel convention of `keypoints.py`: CUB's are 1-based, COCO's 0-based.
"""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.data.datasets import cub_image_path, cub_root, read_cub, read_table
from lmpnet_cli.data.listing import LEADS_OUT, Inside, ListedImage, bounds, stays_inside
from lmpnet_cli.errors import DatasetError, InputError, reading_document
from lmpnet_cli.io.json_input import read_json

MOST_POSITIONS = 50_000_000  # of parts, on all pictures together; CUB has 176,820


@dataclass(frozen=True)
class AnnotatedImage:
    """One picture and what is known of it.

    Attributes:
        id: what the annotations call it, the number of a CUB or COCO image.
        landmarks: (P, 2) pixels; NaN where a landmark is not visible.
        bbox: x, y, width, height in pixels, or None.
        class_name: None where there is none.
        size: width, height that the annotations give, or None.
        refused: why the picture may not be read, where it may not.
    """

    id: str
    path: Path
    name: str
    landmarks: NDArray[np.float64]
    bbox: tuple[float, float, float, float] | None
    class_name: str | None
    size: tuple[int, int] | None = None
    refused: str = ""

    @property
    def listed(self) -> ListedImage:
        """The picture alone."""
        return ListedImage(self.path, self.name, self.refused)

    @property
    def visible(self) -> NDArray[np.float64]:
        """(V, 2) the visible parts alone."""
        return self.landmarks[~np.isnan(self.landmarks[:, 0])]


@dataclass(frozen=True)
class Annotations:
    """A data set for evaluation: its pictures in sorted order, and the names of its parts.

    Attributes:
        listed: id and name of every picture that the data set lists, in other splits too.
        training: the pictures of CUB's training split, whatever split was asked for; empty without splits.
        left_out: how many annotations could not be used, by reason.
    """

    name: str
    images: tuple[AnnotatedImage, ...]
    landmark_names: tuple[str, ...]
    listed: tuple[tuple[str, str], ...]
    training: tuple[AnnotatedImage, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)


def read_annotations(data: Path, split: str = "test", follow_links: bool = False) -> Annotations:
    """Reads a CUB folder (part `split` of its official split) or a COCO keypoint file.

    Args:
        follow_links: read pictures that links lead to, outside the folder too.

    Raises:
        InputError: when nothing is there.
        DatasetError: when the files do not fit together, or the split is empty.
    """
    if data.is_file():
        return _read_coco(data, follow_links)
    if not data.is_dir():
        raise InputError(f"There is no data set {data}. Name a CUB folder, or a COCO keypoint file beside its images.")
    root, inside = cub_root(data), bounds(data, follow_links)
    if root:
        return _read_cub(root, split, inside)
    files = sorted(data.glob("*.json"))
    if len(files) == 1:
        if inside is not None and files[0] not in inside:
            raise DatasetError(f"{files[0]} is {LEADS_OUT}.")
        return _read_coco(files[0], follow_links)
    raise DatasetError(
        f"{data} holds no annotations: neither images.txt of the CUB layout nor one COCO keypoint .json. "
        "Name the .json itself if there are several."
    )


def _read_cub(root: Path, split: str, inside: Inside | None) -> Annotations:
    samples = {sample.source: sample for sample in read_cub(root, inside).samples}
    names = tuple(row[1] for row in read_table(root / "parts" / "parts.txt", 2, inside))
    _refuse_too_many(root, len(names) * len(samples))
    hidden = _hidden(len(names))
    parts: dict[str, NDArray[np.float64]] = {}
    for image_id, (part, x, y, visible) in _numbers(root / "parts" / "part_locs.txt", inside):
        position = parts.setdefault(image_id, np.full((len(names), 2), np.nan))
        if not 1 <= part <= len(names):
            raise DatasetError(
                f"{root / 'parts' / 'part_locs.txt'}: image {image_id} has a part {part:g} of {len(names)}."
            )
        if visible > 0:
            position[int(part) - 1] = x - 1, y - 1
    boxes = dict(_numbers(root / "bounding_boxes.txt", inside))
    images: dict[str, list[AnnotatedImage]] = {"train": [], "test": []}
    listed = tuple((image_id, name) for image_id, name in read_table(root / "images.txt", 2, inside))
    for image_id, name in sorted(listed, key=lambda row: row[1]):
        box = boxes.get(image_id)
        images[samples[name].split].append(
            AnnotatedImage(
                image_id,
                cub_image_path(root, name),
                name,
                parts.get(image_id, hidden),
                (box[0] - 1, box[1] - 1, box[2], box[3]) if box and max(box[2:]) > 0 else None,
                samples[name].class_name,
                refused=samples[name].refused,
            )
        )
    images["all"] = sorted(images["train"] + images["test"], key=lambda image: image.name)
    if not images[split]:
        raise DatasetError(f"{root} has no images in its {split} split. Use --split train or --split all.")
    return Annotations(root.name, tuple(images[split]), names, listed, tuple(images["train"]))


def _numbers(path: Path, inside: Inside | None) -> list[tuple[str, list[float]]]:
    """Image id and four numbers of each row."""
    rows = []
    for image_id, *values in read_table(path, 5, inside):
        try:
            numbers = [float(value) for value in values]
        except ValueError as error:
            raise DatasetError(f"{path}: image {image_id} has a value that is no number ({error}).") from error
        if not all(map(math.isfinite, numbers)):
            raise DatasetError(f"{path}: image {image_id} has a value that is not finite ({' '.join(values)}).")
        rows.append((image_id, numbers))
    return rows


def _read_coco(path: Path, follow_links: bool) -> Annotations:
    """Pictures without keypoints, or with several annotated objects, get no visible part: scores leave them out."""
    left_out: Counter[str] = Counter()
    advice = "Name a CUB folder, or a COCO keypoint .json beside its images."
    with reading_document(path, "is not a COCO keypoint annotation file", advice):
        document = read_json(path)
        names = tuple(next(entry["keypoints"] for entry in document["categories"] if entry.get("keypoints")))
        if not all(isinstance(name, str) for name in names):
            raise TypeError("names of keypoints must be strings")
        _refuse_repetition(path, "keypoint", list(names))
        objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in document["images"]}
        _refuse_repetition(path, "image id", [image["id"] for image in document["images"]])
        _refuse_repetition(path, "file_name", [image["file_name"] for image in document["images"]])
        annotations = [annotation for annotation in document["annotations"] if annotation.get("keypoints")]
        _refuse_repetition(path, "annotation id", [each["id"] for each in annotations if "id" in each])
        for annotation in annotations:
            flags = annotation["keypoints"][2::3]
            if flags and not any(flags):
                continue  # an object without a labelled point hides no other
            if annotation["image_id"] in objects:
                objects[annotation["image_id"]].append(annotation)
            else:
                left_out["annotations of no listed image"] += 1
        hidden = _hidden(len(names))
        images = [_coco_image(path, image, objects[image["id"]], hidden, left_out) for image in document["images"]]
    if not any(objects.values()):
        raise DatasetError(f"{path} holds no annotations with labelled keypoints for its images.")
    inside = bounds(path.parent, follow_links)
    images = [
        image if inside is None or image.path in inside else replace(image, refused=LEADS_OUT) for image in images
    ]
    listed = tuple((image.id, image.name) for image in images)
    return Annotations(
        path.stem, tuple(sorted(images, key=lambda image: image.name)), names, listed, (), dict(+left_out)
    )


def _hidden(count: int) -> NDArray[np.float64]:
    """So many parts, none visible; all pictures without a visible part share it."""
    parts = np.full((count, 2), np.nan)
    parts.flags.writeable = False
    return parts


def _refuse_too_many(path: Path, positions: int) -> None:
    if positions > MOST_POSITIONS:
        raise DatasetError(f"{path} has {positions} positions of parts, more than {MOST_POSITIONS}. Take a part of it.")


def _refuse_repetition(path: Path, what: str, values: list[Any]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise DatasetError(f"{path}: {what} {twice[0]} stands there more than once. Give each its own.")


def _coco_image(
    path: Path,
    image: dict[str, Any],
    objects: list[dict[str, Any]],
    hidden: NDArray[np.float64],
    left_out: Counter[str],
) -> AnnotatedImage:
    count = len(hidden)
    parts, bbox = hidden, None
    for annotation in objects:
        points = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
        if len(points) != count:
            raise DatasetError(
                f"{path}: annotation {annotation.get('id')} has {len(points)} keypoints, expected {count}."
            )
        if len(objects) == 1:
            labelled, finite = points[:, 2] > 0, np.isfinite(points).all(1)
            parts = np.where((labelled & finite)[:, None], points[:, :2], np.nan)
            left_out["points that are no finite numbers"] += int((labelled & ~finite).sum())
            box = [float(value) for value in annotation.get("bbox") or ()]
            known = bool(box) and np.isfinite(box).all() and max(box[2], box[3]) > 0
            bbox = (box[0], box[1], box[2], box[3]) if known else None
    if len(objects) > 1:
        left_out["pictures with several objects"] += 1
    name = image["file_name"]
    size = (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None
    return AnnotatedImage(str(image["id"]), _inside(path.parent, name), name, parts, bbox, None, size)


def _inside(folder: Path, name: str) -> Path:
    if not stays_inside(name):
        raise DatasetError(f"An annotation names {name!r:.200}, which lies outside {folder}.")
    path = folder / name
    return path if path.exists() or not (folder / "images" / name).exists() else folder / "images" / name
