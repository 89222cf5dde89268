"""The COCO keypoint format as schemas: what every reader of annotations and predictions needs.

Only fields that are read are listed. Ids may be numbers or strings, since annotation tools write both; optional fields
may be missing or null. Readers that need more extend these classes.
"""

import math
from typing import Any

from msgspec import Struct

from lmpnet_cli.io.json_input import SchemaError, check

Id = int | float | str


class CocoImage(Struct, kw_only=True):
    """One entry of `images`."""

    id: Id
    file_name: str
    width: float | None = None  # tables write 640.0
    height: float | None = None

    def __post_init__(self) -> None:
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
    keypoints: list[float | None] | None = None
    bbox: list[float] | None = None
    score: float | None = None
    keypoint_scores: list[float | None] | None = None
    predicted_class: Any = None

    def __post_init__(self) -> None:
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
