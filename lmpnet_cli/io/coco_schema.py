"""The COCO keypoint format as schemas: what every reader of annotations and predictions needs.

Only fields that are read are listed. Ids may be numbers or strings, since annotation tools write both; 1, 1.0, "1" and
"1.0" are the same id (`same_id`). Optional fields may be missing or null. Readers that need more extend these classes.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from lmpnet_cli.errors import DatasetError
from lmpnet_cli.io.json_input import SchemaError, check

Id = int | float | str
_WHOLE = re.compile(r"\s*([+-]?\d{1,300})(\.0*)?\s*")


def same_id(value: Id) -> Id:
    """Return an id so that equal ids are equal, however a program spells them: a whole number as `int`.

    >>> [same_id(value) for value in (7, 7.0, "7", "7.0", "007", "seven")]
    [7, 7, 7, 7, 7, 'seven']
    """
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value)
        return int(found[1]) if found else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shared_id(images: Iterable[tuple[Id | None, str]]) -> str:
    """Return which two images have the same id, as a sentence without its stop; empty where none have.

    A keypoint of such an id could belong to either image. An image that is listed twice is only one.

    Args:
        images: id and file name of each; an image without an id has no annotations.
    """
    name_of: dict[Id, str] = {}
    for image_id, name in images:
        if image_id is None:
            continue
        first = name_of.setdefault(image_id, name)
        if first != name:
            return f"the images {first:.60} and {name:.60} have the same id {image_id!r:.40}"
    return ""


def refuse_shared_ids(path: Path, images: Iterable[tuple[Id | None, str]]) -> None:
    """Raise `DatasetError` where two images of a file have the same id (see `shared_id`)."""
    if fault := shared_id(images):
        raise DatasetError(f"{path}: {fault}. Give each image an id of its own.")


class CocoImage(Struct, kw_only=True):
    """One entry of `images`."""

    id: Id
    file_name: str
    width: float | None = None  # tables write 640.0
    height: float | None = None

    def __post_init__(self) -> None:
        self.id = same_id(self.id)
        if not all(math.isfinite(side or 0) for side in (self.width, self.height)):
            raise ValueError(f"size {self.width} x {self.height} is not finite")

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels, or None where the file does not say both."""
        return (int(self.width), int(self.height)) if self.width and self.height else None


class CocoAnnotation(Struct, kw_only=True):
    """One entry of `annotations`, or of a list of COCO results.

    Attributes:
        keypoints: x, y, v of each keypoint in turn; null where a program wrote NaN as null.
        bbox: x, y, width, height; an empty list counts as none.
        predicted_class: of `keypoints.json`; other programs may put anything here (see `predicted_class`).
    """

    image_id: Id
    id: Id | None = None
    category_id: Id | None = None
    keypoints: list[float | None] | None = None
    bbox: list[float] | None = None
    score: float | None = None
    keypoint_scores: list[float | None] | None = None
    predicted_class: Any = None

    def __post_init__(self) -> None:
        self.image_id = same_id(self.image_id)
        self.id = None if self.id is None else same_id(self.id)
        self.category_id = None if self.category_id is None else same_id(self.category_id)
        if self.keypoints and len(self.keypoints) % 3:
            raise ValueError(f"`keypoints` has {len(self.keypoints)} numbers, expected x, y, v for each keypoint")
        if self.bbox and len(self.bbox) < 4:
            raise ValueError(f"`bbox` has {len(self.bbox)} numbers, expected x, y, width, height")


class CocoCategory(Struct, kw_only=True):
    """One entry of `categories`: what the keypoints belong to, and their names."""

    id: Id | None = None
    name: str | None = None
    keypoints: list[str] | None = None
    skeleton: Any = None

    def __post_init__(self) -> None:
        self.id = None if self.id is None else same_id(self.id)


class PredictedClass(Struct, kw_only=True):
    """The class that a classifier predicted, and its probability."""

    name: str | None = None
    score: float | None = None


def predicted_class(annotation: CocoAnnotation) -> PredictedClass:
    """Return the predicted class of an annotation; empty where another program wrote something else there."""
    try:
        return check(annotation.predicted_class or {}, PredictedClass)
    except SchemaError:
        return PredictedClass()
