"""Read the boxes of objects from a file of another program, for `--boxes`.

Four kinds are read: COCO (annotations, or a list of results), the output of MegaDetector, a CUB folder, and CSV. An
image of the run and one of the file belong together where their names end alike (`match_names`).
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from lmpnet_cli.data.datasets import cub_root, read_table
from lmpnet_cli.data.listing import GivenBox, ListedImage
from lmpnet_cli.data.names import match_names
from lmpnet_cli.errors import DatasetError, InputError
from lmpnet_cli.io.coco_schema import Id, refuse_shared_ids, same_id
from lmpnet_cli.io.json_input import read_document, read_text
from lmpnet_cli.progress import Progress

FAULT = "has no boxes that lmpnet can read"
ADVICE = (
    "Pass COCO annotations or results, the output of MegaDetector, a CUB folder, or a CSV file with the columns "
    "file_name, x, y, width and height."
)
COLUMNS = ("file_name", "x", "y", "width", "height")
SCORES = ("score", "confidence", "conf")  # columns of a CSV file that may hold the confidence
ANIMAL = "animal"  # category of MegaDetector; people and vehicles are left out where it is known


class Entry(NamedTuple):
    """One box of a file, with the name of its image."""

    name: str
    box: GivenBox
    confidence: float


@dataclass(frozen=True)
class Boxes:
    """The boxes of a file, for the images of a run.

    Attributes:
        of: for each image its boxes, the one with the highest confidence first; empty where there is none.
        notes: what could not be used, in words, each with its number and an example.
    """

    of: dict[str, tuple[GivenBox, ...]]
    notes: tuple[str, ...]


def read_boxes(path: Path, names: Sequence[str], min_confidence: float) -> Boxes:
    """Read the boxes of the images with these names.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it has no boxes in a known form, gives one id to two images, or has no box for any of these.
    """
    entries = _read(path)
    match = match_names(list(dict.fromkeys(entry.name for entry in entries)), names, Counter())

    found: dict[str, list[tuple[float, int, GivenBox]]] = {name: [] for name in names}
    foreign: list[str] = []
    unusable, unsure = [], []
    for number, (name, box, confidence) in enumerate(entries):
        if name not in match:
            foreign.append(name)
        elif not _is_box(box) or math.isnan(confidence):
            unusable.append(name)
        elif confidence < min_confidence:
            unsure.append(name)
        else:
            found[match[name]].append((-confidence, number, box))

    if not match:
        example = f" (for example {entries[0].name:.100})" if entries else ""
        raise DatasetError(
            f"{path} has boxes for {len(set(foreign))} images{example}, but for none of the {len(names)} images of "
            f"this run (for example {names[0]:.100}). Pass the file of these images."
        )
    without = [name for name, boxes in found.items() if not boxes]
    notes = (
        _note(without, "images have no box"),
        _note(foreign, "boxes belong to no image of this run"),
        _note(unusable, "boxes are empty, not finite or outside their image"),
        _note(unsure, f"boxes have a confidence below {min_confidence:g} (--min-confidence)"),
    )
    return Boxes(
        {name: tuple(box for *_, box in sorted(boxes)) for name, boxes in found.items()}, tuple(filter(None, notes))
    )


def _is_box(box: GivenBox) -> bool:
    """Tell whether a box has an extent on its image, as far as that is known before the image is read."""
    if not all(map(math.isfinite, box)) or min(box.width, box.height) <= 0:
        return False
    return min(box.x + box.width, box.y + box.height) > 0 and not (box.relative and max(box.x, box.y) >= 1)


def boxes_of(
    names: Sequence[str], path: Path, min_confidence: float, progress: Progress
) -> dict[str, tuple[GivenBox, ...]]:
    """Return the boxes of the images with these names, and warn of what could not be used.

    Raises:
        InputError, DatasetError: as `read_boxes`.
    """
    boxes = read_boxes(path, names, min_confidence)
    for note in boxes.notes:
        progress.warn(f"{path.name}: {note}.")
    return boxes.of


def with_boxes(
    files: Sequence[ListedImage], path: Path, min_confidence: float, progress: Progress
) -> list[ListedImage]:
    """Return the files with the boxes of their objects; errors and warnings are those of `boxes_of`."""
    boxes = boxes_of([file.name for file in files], path, min_confidence, progress)
    return [replace(file, boxes=boxes[file.name]) for file in files]


def _note(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what} (for example {names[0]:.100})" if names else ""


def _read(path: Path) -> list[Entry]:
    if path.is_dir() or path.name == "bounding_boxes.txt":
        return _cub(path if path.is_dir() else path.parent)
    if path.suffix.lower() == ".csv":
        return _csv(path)

    document = read_document(path, _DOCUMENT, FAULT, ADVICE)
    if isinstance(document, list):
        return _of_annotations(document, {})
    if document.annotations is None:
        return _megadetector(document)
    refuse_shared_ids(path, ((image.id, image.name) for image in document.images))
    return _of_annotations(document.annotations, {image.id: image.name for image in document.images})


class _Detection(Struct):
    bbox: list[float]
    conf: float
    category: str | int | None = None


class _Image(Struct):
    """An image of COCO (`id`, `file_name`) or of MegaDetector (`file`, `detections`; none where reading failed)."""

    id: Id | None = None
    file_name: str | None = None
    file: str | None = None
    detections: list[_Detection] | None = None

    def __post_init__(self) -> None:
        self.id = None if self.id is None else same_id(self.id)

    @property
    def name(self) -> str:
        return self.file_name or self.file or ""


class _Annotation(Struct):
    image_id: Id
    bbox: list[float] | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        self.image_id = same_id(self.image_id)


class _File(Struct):
    images: list[_Image]
    annotations: list[_Annotation] | None = None
    detection_categories: dict[str, Any] | None = None


_DOCUMENT: Any = list[_Annotation] | _File


def _of_annotations(annotations: Iterable[_Annotation], names: dict[Id, str]) -> list[Entry]:
    """Return the boxes of COCO; a list of results has no names, so that its image ids must be those."""
    entries = []
    for each in annotations:
        name = names.get(each.image_id, str(each.image_id))
        entries.append(Entry(name, GivenBox(*_four(each.bbox or ())), 1.0 if each.score is None else each.score))
    return entries


def _megadetector(document: _File) -> list[Entry]:
    """Return the boxes of animals, or of everything where the file does not say what is an animal."""
    categories = document.detection_categories or {}
    animals = {number for number, name in categories.items() if name == ANIMAL}
    return [
        Entry(image.name, GivenBox(*_four(each.bbox), relative=True), each.conf)
        for image in document.images
        for each in image.detections or ()
        if not animals or str(each.category) in animals
    ]


def _four(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the first four numbers; those that are missing make the box unusable."""
    x, y, width, height = [*numbers, *[math.nan] * 4][:4]
    return x, y, width, height


def _cub(folder: Path) -> list[Entry]:
    root = cub_root(folder)
    if root is None:
        raise DatasetError(f"{folder} {FAULT}: it is not a CUB folder with images.txt. {ADVICE}")
    names = dict(read_table(root / "images.txt", 2))
    entries = []
    for image_id, *cells in read_table(root / "bounding_boxes.txt", 5):
        x, y, width, height = _four(list(map(_number, cells)))
        # CUB counts pixels from 1
        entries.append(Entry(names.get(image_id, image_id), GivenBox(x - 1, y - 1, width, height), 1.0))
    return entries


def _csv(path: Path) -> list[Entry]:
    try:
        text = read_text(path)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} {FAULT} (it is not Unicode text). {ADVICE}") from error

    rows = csv.DictReader(io.StringIO(text, newline=""))
    fields = list(rows.fieldnames or ())
    if missing := [name for name in COLUMNS if name not in fields]:
        raise DatasetError(f"{path} {FAULT} (it has no column {missing[0]}). {ADVICE}")
    score = next((name for name in SCORES if name in fields), None)
    try:
        return [
            Entry(
                row["file_name"] or "",
                GivenBox(*_four([_number(row[name]) for name in COLUMNS[1:]])),
                1.0 if score is None else _number(row[score]),
            )
            for row in rows
        ]
    except csv.Error as error:
        raise DatasetError(f"{path} {FAULT} ({error}). {ADVICE}") from error


def _number(text: str | None) -> float:
    """Return the number in a cell; one that cannot be read makes the box unusable."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
