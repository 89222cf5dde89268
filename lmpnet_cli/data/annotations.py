"""Read annotated images, for evaluation only: CUB part locations and COCO keypoint files.

Positions are converted to the pixel convention of `keypoints.py`: CUB counts pixels from 1, COCO from 0.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lmpnet_cli.data.datasets import cub_root, read_cub, read_table
from lmpnet_cli.data.layouts import ImageFile, annotation_file, data_root, image_files
from lmpnet_cli.data.listing import LEADS_OUT, GivenBox, Inside, ListedImage, bounds
from lmpnet_cli.errors import DatasetError, InputError
from lmpnet_cli.io.coco_schema import CocoAnnotation, CocoCategory, CocoImage, Id, refuse_shared_ids, same_id
from lmpnet_cli.io.json_input import read_document

MAX_POSITIONS = 50_000_000  # of landmarks, on all images together; CUB has 176,820
NO_COCO = "is not a COCO keypoint annotation file"
ADVICE = "Pass a CUB folder, or a COCO keypoint .json."


@dataclass(frozen=True)
class AnnotatedImage:
    """One object on an image and its annotations.

    Attributes:
        id: the image id of the CUB or COCO annotations.
        landmarks: (P, 2) positions of the landmarks in pixels; NaN where a landmark is not visible.
        bbox: x, y, width, height of the object in pixels, or None.
        class_name: None where the annotations have no classes.
        size: width and height as the annotations state them, or None.
        refused: the reason why the image must not be read; empty where it may be.
        given: boxes of the objects on the image, where another program knows them (`--boxes`).
    """

    id: str
    path: Path
    name: str
    landmarks: NDArray[np.float64]
    bbox: tuple[float, float, float, float] | None
    class_name: str | None
    size: tuple[int, int] | None = None
    refused: str = ""
    given: tuple[GivenBox, ...] = ()

    @property
    def listed(self) -> ListedImage:
        """Return the image without its annotations."""
        return ListedImage(self.path, self.name, self.refused, self.given)

    @property
    def visible(self) -> NDArray[np.float64]:
        """Return the (V, 2) positions of the visible landmarks."""
        return self.landmarks[~np.isnan(self.landmarks[:, 0])]


@dataclass(frozen=True)
class Annotations:
    """A data set for evaluation: its images sorted by name, and the names of its landmarks.

    Attributes:
        listed: id and name of every image that the data set lists, including those of other splits.
        training: the images of CUB's training split, whichever split was requested; empty without splits.
        left_out: number of annotations that could not be used, by reason.
    """

    name: str
    images: tuple[AnnotatedImage, ...]
    landmark_names: tuple[str, ...]
    listed: tuple[tuple[str, str], ...]
    training: tuple[AnnotatedImage, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)


def read_annotations(
    data: Path,
    split: str = "test",
    follow_links: bool = False,
    every_object: bool = False,
    images: Path | None = None,
) -> Annotations:
    """Read a CUB folder (one `split` of its official split) or a COCO keypoint file.

    Args:
        every_object: return each object of an image by itself; else an image with several has no visible landmark.
        follow_links: follow symbolic links that point outside the folder.
        images: the folder of the images, where they are in none of the known places (`layouts.py`).

    Raises:
        InputError: when `data` does not exist.
        DatasetError: when the files do not fit together, or the split is empty.
    """
    if data.is_file():
        return _read_coco(data, follow_links, every_object, images)
    if not data.is_dir():
        raise InputError(f"Data set {data} not found. Pass a CUB folder, or a COCO keypoint file.")

    root, inside = cub_root(data), bounds(data, follow_links)
    if root:
        return _read_cub(root, split, inside, images)

    file = annotation_file(data)
    if inside is not None and file not in inside:
        raise DatasetError(f"{file} is {LEADS_OUT}.")
    return _read_coco(file, follow_links, every_object, images)


def _read_cub(root: Path, split: str, inside: Inside | None, given: Path | None) -> Annotations:
    samples = {sample.source: sample for sample in read_cub(root, inside, given).samples}
    listed = tuple((image_id, name) for image_id, name in read_table(root / "images.txt", 2, inside))
    names = tuple(name for _, name in read_table(root / "parts" / "parts.txt", 2, inside))
    _refuse_too_many(root, len(names) * len(samples))

    parts = _cub_parts(root / "parts" / "part_locs.txt", len(names), inside)
    boxes = dict(_numbers(root / "bounding_boxes.txt", inside))
    hidden = _hidden(len(names))

    images: dict[str, list[AnnotatedImage]] = {"train": [], "test": []}
    for image_id, name in sorted(listed, key=lambda row: row[1]):
        sample = samples[name]
        image = AnnotatedImage(
            image_id,
            sample.path,
            name,
            parts.get(image_id, hidden),
            _cub_box(boxes.get(image_id)),
            sample.class_name,
            refused=sample.refused,
        )
        images[sample.split].append(image)

    images["all"] = sorted(images["train"] + images["test"], key=lambda image: image.name)
    if not images[split]:
        filled = " or ".join(f"--split {name}" for name in ("test", "train", "all") if images[name])
        raise DatasetError(f"{root} has no images in its {split} split. {f'Use {filled}.' if filled else 'Check it.'}")
    return Annotations(root.name, tuple(images[split]), names, listed, tuple(images["train"]))


def _cub_parts(path: Path, count: int, inside: Inside | None) -> dict[str, NDArray[np.float64]]:
    """Return the (count, 2) positions for each image id that `part_locs.txt` lists."""
    parts: dict[str, NDArray[np.float64]] = {}
    for image_id, (part, x, y, visible) in _numbers(path, inside):
        positions = parts.setdefault(image_id, np.full((count, 2), np.nan))
        if not 1 <= part <= count:
            raise DatasetError(f"{path}: image {image_id} has part number {part:g}, but there are {count} parts.")
        if visible > 0:
            positions[int(part) - 1] = x - 1, y - 1
    return parts


def _cub_box(box: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    return (box[0] - 1, box[1] - 1, box[2], box[3]) if box and max(box[2:]) > 0 else None


def _numbers(path: Path, inside: Inside | None) -> list[tuple[str, list[float]]]:
    """Return the image id and the four numbers of each row."""
    rows = []
    for image_id, *values in read_table(path, 5, inside):
        try:
            numbers = [float(value) for value in values]
        except ValueError as error:
            raise DatasetError(f"{path}: image {image_id} has a value that is not a number ({error}).") from error
        if not all(map(math.isfinite, numbers)):
            raise DatasetError(f"{path}: image {image_id} has a value that is not finite ({' '.join(values)}).")
        rows.append((image_id, numbers))
    return rows


class _CocoFile(Struct, kw_only=True):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


def _read_coco(path: Path, follow_links: bool, every_object: bool, given: Path | None) -> Annotations:
    """Read a COCO file; images without keypoints get no visible landmark, and no score."""
    file = read_document(path, _CocoFile, NO_COCO, ADVICE)
    named = [category for category in file.categories if category.keypoints]
    if not named:
        raise DatasetError(f"{path} {NO_COCO} (no category lists the names of its keypoints). {ADVICE}")
    names = tuple(named[0].keypoints or ())
    others = {same_id(each.id) for each in named if each.id is not None and tuple(each.keypoints or ()) != names}
    left_out: Counter[str] = Counter()
    annotated = [annotation for annotation in file.annotations if annotation.keypoints]
    foreign = [each for each in annotated if each.category_id in others]
    left_out["objects of another category, with other keypoints"] = len(foreign)
    annotated = [each for each in annotated if each.category_id not in others]
    _refuse_repetition(path, "keypoint", names)
    refuse_shared_ids(path, ((image.id, image.file_name) for image in file.images))
    _refuse_repetition(path, "file_name", (image.file_name for image in file.images))
    _refuse_repetition(path, "annotation id", (each.id for each in annotated if each.id is not None))

    objects = _objects(file.images, annotated, left_out)
    hidden = _hidden(len(names))
    files = image_files(path, [image.file_name for image in file.images], given)
    images = [
        _coco_image(path, image, files[image.file_name], group, hidden, left_out)
        for image in file.images
        for group in _groups(objects[image.id], every_object)
    ]
    if not any(objects.values()):
        raise DatasetError(
            f"{path} contains no annotations with labelled keypoints for its images.{_mismatch(file, annotated)}"
        )

    inside = bounds(given or data_root(path), follow_links)
    if inside is not None:
        images = [image if image.path in inside else replace(image, refused=LEADS_OUT) for image in images]
    listed = tuple((str(image.id), image.file_name) for image in file.images)
    by_name = tuple(sorted(images, key=lambda image: image.name))
    return Annotations(path.stem, by_name, names, listed, (), dict(+left_out))


def _objects(
    images: Sequence[CocoImage], annotations: Sequence[CocoAnnotation], left_out: Counter[str]
) -> dict[Id, list[CocoAnnotation]]:
    """Return the annotated objects of each image id; objects without a labelled keypoint do not count."""
    objects: dict[Id, list[CocoAnnotation]] = {image.id: [] for image in images}
    for annotation in annotations:
        visibilities = (annotation.keypoints or [])[2::3]
        if not any(visibilities):
            continue
        if annotation.image_id in objects:
            objects[annotation.image_id].append(annotation)
        else:
            left_out["annotations of no listed image"] += 1
    return objects


def _mismatch(file: _CocoFile, annotations: Sequence[CocoAnnotation]) -> str:
    """Return one example of each, where the annotations belong to images that are not listed."""
    known = {image.id for image in file.images}
    foreign = next((each.image_id for each in annotations if each.image_id not in known), None)
    if foreign is None or not file.images:
        return ""
    image = file.images[0]
    return f" For example, one has image_id {foreign!r:.60}, and {image.file_name:.100} has id {image.id!r:.60}."


def _groups(objects: list[CocoAnnotation], every_object: bool) -> list[list[CocoAnnotation]]:
    """Return the objects of an image one by one, where that is wanted."""
    return [[each] for each in objects] if every_object and objects else [objects]


def _coco_image(
    path: Path,
    image: CocoImage,
    file: ImageFile,
    objects: Sequence[CocoAnnotation],
    hidden: NDArray[np.float64],
    left_out: Counter[str],
) -> AnnotatedImage:
    count = len(hidden)
    points = [np.array(annotation.keypoints, dtype=np.float64).reshape(-1, 3) for annotation in objects]
    for annotation, each in zip(objects, points, strict=True):
        if len(each) != count:
            raise DatasetError(f"{path}: annotation {annotation.id} has {len(each)} keypoints, expected {count}.")

    parts, bbox = hidden, None
    if len(objects) == 1:
        labelled, finite = points[0][:, 2] > 0, np.isfinite(points[0]).all(1)
        parts = np.where((labelled & finite)[:, None], points[0][:, :2], np.nan)
        left_out["points that are not finite numbers"] += int((labelled & ~finite).sum())
        bbox = _coco_box(objects[0].bbox)
    elif objects:
        left_out["images with several objects"] += 1

    return AnnotatedImage(str(image.id), file.path, image.file_name, parts, bbox, None, image.size, file.refused)


def _coco_box(box: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    """Return the box, or None where it has no extent or a number that is not finite."""
    if not box or not all(map(math.isfinite, box)) or max(box[2], box[3]) <= 0:
        return None
    return box[0], box[1], box[2], box[3]


def _hidden(count: int) -> NDArray[np.float64]:
    """Return `count` positions, none visible; all images without a visible landmark share the array."""
    positions = np.full((count, 2), np.nan)
    positions.flags.writeable = False
    return positions


def _refuse_too_many(path: Path, positions: int) -> None:
    if positions > MAX_POSITIONS:
        raise DatasetError(
            f"{path} has {positions} landmark positions, more than {MAX_POSITIONS}. Use a subset of its images."
        )


def _refuse_repetition(path: Path, what: str, values: Iterable[Hashable]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise DatasetError(f"{path}: {what} {repeated[0]} occurs more than once. Each must be unique.")
