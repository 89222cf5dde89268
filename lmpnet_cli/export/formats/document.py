"""Read the keypoint file that every format is written from: COCO annotations of one category."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from lmpnet_cli.errors import DatasetError
from lmpnet_cli.io.coco import ResultImage, parse_coco, to_coco
from lmpnet_cli.io.coco_schema import CocoAnnotation, CocoCategory, Id, refuse_shared_ids
from lmpnet_cli.io.json_input import SchemaError, check, dict_in
from lmpnet_cli.io.json_input import read_document as read_schema
from lmpnet_cli.keypoints import Keypoints, by_image, keypoint_names

NO_COCO = "is not a COCO keypoint annotation file"
ADVICE = "Pass the keypoints.json of `lmpnet discover`."
RANKING_METHODS = ("lmpnet", "saliency")  # their keypoints are ranks in each image (docs/papers.md L11)

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Document:
    """Holds the keypoints of a file.

    Attributes:
        results: one for each object, in the order of the images; an image without an object has one without keypoints.
        names: names of the keypoints, in their order.
        category: name of the object that the keypoints belong to.
        skeleton: pairs of keypoints that are joined by a line, counted from 1.
        image_ids: id of each image, as in the file, or in the one that the results are scored against.
        category_id: id of the category, likewise.
        source: program, version and weights that found the keypoints, in one line.
        method: the method that found them (`lmpnet`, `parts` or `saliency`); None for a file of another tool.
    """

    results: list[Keypoints]
    names: tuple[str, ...]
    category: str
    skeleton: tuple[tuple[int, int], ...]
    image_ids: list[Id]
    category_id: Id
    source: str
    method: str | None = None

    @property
    def images(self) -> list[list[Keypoints]]:
        """Return the objects of each image, in the order of `image_ids`."""
        return by_image(self.results)

    @property
    def is_ranked(self) -> bool:
        """Return whether the index of a keypoint is its rank in the image, and not a part."""
        return self.method in RANKING_METHODS


class _Image(ResultImage, kw_only=True):
    width: Annotated[float, Meta(ge=1)]
    height: Annotated[float, Meta(ge=1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.file_name or not str(self.id).isdecimal():
            raise ValueError("an image needs a file name and a number as its id")


class _Category(CocoCategory, kw_only=True):
    id: Id
    name: str


class _File(Struct, kw_only=True):
    images: list[_Image]
    annotations: list[CocoAnnotation]
    categories: Annotated[list[_Category], Meta(min_length=1)]
    info: Any = None


def read_document(path: Path) -> Document:
    """Read `keypoints.json`, or another COCO keypoint file with one category and at most one object per image.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it is not such a file.
    """
    raw = read_schema(path, Any, NO_COCO, ADVICE)
    try:
        file = check(raw, _File)
        refuse_shared_ids(path, ((image.id, image.file_name) for image in file.images))
        objects = parse_coco(raw)
        skeleton = tuple(check(file.categories[0].skeleton or [], list[tuple[int, int]]))
    except SchemaError as error:
        raise DatasetError(f"{path} {NO_COCO} ({error}). {ADVICE}") from error

    category = file.categories[0]
    k = max((len(result.scores) for result in objects), default=0)
    names = tuple(category.keypoints or keypoint_names(k))
    objects = [each.padded(len(names)) if each.empty else each for each in objects]
    _check(path, file, objects, names, skeleton)

    annotated = {group[0].file_name: group for group in by_image(objects)}
    results = [
        each
        for image in file.images
        for each in annotated.get(image.file_name)
        or [
            Keypoints(
                image.file_name,
                int(image.width),
                int(image.height),
                np.full((len(names), 2), np.nan),
                np.full(len(names), np.nan),
                frame=image.frame,
                time=image.time,
            )
        ]
    ]
    info = dict_in(file.info)
    weights = dict_in(info.get("checkpoint")).get("name")
    source = " ".join(str(part) for part in ("lmpnet", info.get("lmpnet_version"), weights) if part)
    image_ids: list[Id] = [int(image.id) for image in file.images]
    method = info.get("method")
    return Document(
        results,
        names,
        category.name,
        skeleton,
        image_ids,
        category.id,
        source,
        method if isinstance(method, str) else None,
    )


def _check(
    path: Path,
    file: _File,
    objects: Sequence[Keypoints],
    names: Sequence[str],
    skeleton: Sequence[tuple[int, int]],
) -> None:
    """Raise `DatasetError` where the parts of a file do not fit together."""
    for result in objects:
        if not np.isfinite(np.column_stack([result.xy, result.scores])[result.found]).all():
            raise DatasetError(
                f"{path} has a keypoint of {result.file_name} whose position or score is not a number. {ADVICE}"
            )
    if any(not 1 <= end <= len(names) for pair in skeleton for end in pair):
        raise DatasetError(f"{path} has a skeleton with keypoints that do not exist: it counts from 1. {ADVICE}")
    if len(file.categories) > 1:
        raise DatasetError(f"{path} has {len(file.categories)} categories. Only one category can be converted.")
    if len({image.file_name for image in file.images}) < len(file.images):
        raise DatasetError(f"{path} lists an image twice. {ADVICE}")
    if len(set(names)) < len(names):
        raise DatasetError(f"{path} gives the same name to several keypoints: {', '.join(names)}. Rename them.")
    if any(len(result.scores) != len(names) for result in objects):
        raise DatasetError(f"{path} names {len(names)} keypoints, but its annotations have another number. {ADVICE}")


def as_coco(document: Document) -> dict[str, Any]:
    """Return a COCO annotation document with ids from 1."""
    coco = to_coco(document.results, {"description": document.source}, document.names)
    coco["categories"][0] |= {"name": document.category, "skeleton": [list(pair) for pair in document.skeleton]}
    del coco["skipped"]
    return coco


def for_xml(document: Document) -> Document:
    """Return the document without characters in its names that no XML file can hold, such as most control characters.

    The tools match such names between an XML file and others, so that they must be the same in all of them.
    """
    names = tuple(NOT_IN_XML.sub("\ufffd", name) for name in document.names)
    return replace(document, names=names, category=NOT_IN_XML.sub("\ufffd", document.category))


def mean_score(result: Keypoints) -> float:
    """Return the mean score of the keypoints that were found; 0 where there are none."""
    return float(result.scores[result.found].mean()) if result.found.any() else 0.0
