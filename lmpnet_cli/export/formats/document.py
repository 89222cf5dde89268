"""What every format is written from: a COCO keypoint file with one thing on each image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmpnet_cli.errors import DatasetError, reading_document
from lmpnet_cli.io.coco import parse_coco, to_coco
from lmpnet_cli.io.json_input import read_json
from lmpnet_cli.keypoints import Keypoints, keypoint_names

ADVICE = "Name the keypoints.json of `lmpnet discover`."


@dataclass(frozen=True)
class Document:
    """The keypoints of a file.

    Attributes:
        results: one for each image, in the order of the file; an image without annotation has no keypoint.
        names: of the keypoints, in their order.
        category: what they are keypoints of.
        skeleton: pairs of keypoints that are joined, from 1.
        image_ids: of each image, as in the file.
        category_id: as in the file.
        source: program, version and weights that found them, in one line.
    """

    results: list[Keypoints]
    names: tuple[str, ...]
    category: str
    skeleton: tuple[tuple[int, int], ...]
    image_ids: list[int]
    category_id: int
    source: str


def read_document(path: Path) -> Document:
    """Reads `keypoints.json`, or another COCO keypoint annotation file of one category and one thing on an image.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it is another kind of file.
    """
    with reading_document(path, "is not a COCO keypoint annotation file", ADVICE):
        document = read_json(path)
        annotated = {result.file_name: result for result in parse_coco(document)}
        category = document["categories"][0]
        categories = len(document["categories"])
        annotations = len(document["annotations"])
        images = [(str(image["file_name"]), int(image["width"]), int(image["height"])) for image in document["images"]]
        k = max((len(result.scores) for result in annotated.values()), default=0)
        names = tuple(str(name) for name in category.get("keypoints") or keypoint_names(k))
        skeleton = tuple((int(first), int(second)) for first, second in category.get("skeleton") or ())
        name, category_id = str(category["name"]), int(category["id"])
        image_ids = [int(image["id"]) for image in document["images"]]
        info = dict(document.get("info") or {})
        weights = (info.get("checkpoint") or {}).get("name")
        for file, width, height in images:
            if not file or width < 1 or height < 1:
                raise ValueError(f"image {file!r} of {width} x {height} pixels")
        for result in annotated.values():
            if not np.isfinite(np.column_stack([result.xy, result.scores])[result.found]).all():
                raise ValueError(f"a keypoint or score of {result.file_name} is no number")
        if any(not 1 <= end <= len(names) for pair in skeleton for end in pair):
            raise ValueError("the skeleton joins keypoints that there are not: it counts from 1")
    if categories > 1 or annotations > len(annotated):
        raise DatasetError(f"{path} has {categories} categories and several things on an image: one each is expected.")
    if len(set(names)) < len(names):
        raise DatasetError(f"{path} gives several keypoints one name: {', '.join(names)}. Rename them.")
    if any(len(result.scores) != len(names) for result in annotated.values()):
        raise DatasetError(f"{path} names {len(names)} keypoints, its annotations have another number. {ADVICE}")
    results = [
        annotated.get(file)
        or Keypoints(file, width, height, np.full((len(names), 2), np.nan), np.full(len(names), np.nan))
        for file, width, height in images
    ]
    source = " ".join(str(part) for part in ("lmpnet", info.get("lmpnet_version"), weights) if part)
    return Document(results, names, name, skeleton, image_ids, category_id, source)


def as_coco(document: Document) -> dict[str, Any]:
    """A COCO annotation document with ids from 1."""
    coco = to_coco(document.results, {"description": document.source}, document.names)
    coco["categories"][0] |= {"name": document.category, "skeleton": [list(pair) for pair in document.skeleton]}
    del coco["skipped"]
    return coco


def mean_score(result: Keypoints) -> float:
    """Of the keypoints that were found; 0 without any."""
    return float(result.scores[result.found].mean()) if result.found.any() else 0.0
