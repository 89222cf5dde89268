"""Read the keypoint file that every format is written from: COCO annotations with at most one object per image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmpnet_cli.errors import DatasetError, reading_document
from lmpnet_cli.io.coco import parse_coco, to_coco
from lmpnet_cli.io.json_input import read_json
from lmpnet_cli.keypoints import Keypoints, keypoint_names

ADVICE = "Pass the keypoints.json of `lmpnet discover`."
RANKING_METHODS = ("lmpnet", "saliency")  # their keypoints are ranks in each image (docs/papers.md L11)


@dataclass(frozen=True)
class Document:
    """Holds the keypoints of a file.

    Attributes:
        results: one for each image, in the order of the file; an image without annotation has no keypoint.
        names: names of the keypoints, in their order.
        category: name of the object that the keypoints belong to.
        skeleton: pairs of keypoints that are joined by a line, counted from 1.
        image_ids: id of each image, as in the file.
        category_id: id of the category, as in the file.
        source: program, version and weights that found the keypoints, in one line.
        method: the method that found them (`lmpnet`, `parts` or `saliency`); None for a file of another tool.
    """

    results: list[Keypoints]
    names: tuple[str, ...]
    category: str
    skeleton: tuple[tuple[int, int], ...]
    image_ids: list[int]
    category_id: int
    source: str
    method: str | None = None

    @property
    def is_ranked(self) -> bool:
        """Return whether the index of a keypoint is its rank in the image, and not a part."""
        return self.method in RANKING_METHODS


def read_document(path: Path) -> Document:
    """Read `keypoints.json`, or another COCO keypoint file with one category and at most one object per image.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it is not such a file.
    """
    with reading_document(path, "is not a COCO keypoint annotation file", ADVICE):
        content = read_json(path)
        annotated = {result.file_name: result for result in parse_coco(content)}
        categories, annotations = content["categories"], content["annotations"]
        category = categories[0]
        names = _keypoint_names(category, annotated)

        document = Document(
            results=[_result(image, annotated, len(names)) for image in content["images"]],
            names=names,
            category=str(category["name"]),
            skeleton=_skeleton(category, len(names)),
            image_ids=[int(image["id"]) for image in content["images"]],
            category_id=int(category["id"]),
            source=_source(content),
            method=_method(content),
        )

    if len(categories) > 1 or len(annotations) > len(annotated):
        raise DatasetError(
            f"{path} has {len(categories)} categories and {len(annotations)} objects on {len(annotated)} images. "
            "Only one category, and at most one object per image, can be converted."
        )
    if len(set(names)) < len(names):
        raise DatasetError(f"{path} gives the same name to several keypoints: {', '.join(names)}. Rename them.")
    if any(len(result.scores) != len(names) for result in annotated.values()):
        raise DatasetError(f"{path} names {len(names)} keypoints, but its annotations have another number. {ADVICE}")
    return document


def _keypoint_names(category: Mapping[str, Any], annotated: Mapping[str, Keypoints]) -> tuple[str, ...]:
    count = max((len(result.scores) for result in annotated.values()), default=0)
    return tuple(str(name) for name in category.get("keypoints") or keypoint_names(count))


def _skeleton(category: Mapping[str, Any], count: int) -> tuple[tuple[int, int], ...]:
    pairs = tuple((int(first), int(second)) for first, second in category.get("skeleton") or ())
    if any(not 1 <= end <= count for pair in pairs for end in pair):
        raise ValueError(f"the skeleton joins keypoints outside 1 to {count}")
    return pairs


def _result(image: Mapping[str, Any], annotated: Mapping[str, Keypoints], count: int) -> Keypoints:
    """Return the keypoints of an image, all missing where it has no annotation."""
    name, width, height = str(image["file_name"]), int(image["width"]), int(image["height"])
    if not name or width < 1 or height < 1:
        raise ValueError(f"image {name!r} of {width} x {height} pixels")

    result = annotated.get(name)
    if result is None:
        return Keypoints(name, width, height, np.full((count, 2), np.nan), np.full(count, np.nan))
    if not np.isfinite(np.column_stack([result.xy, result.scores])[result.found]).all():
        raise ValueError(f"a keypoint or score of {name} is not a finite number")
    return result


def _source(content: Mapping[str, Any]) -> str:
    info = dict(content.get("info") or {})
    weights = (info.get("checkpoint") or {}).get("name")
    words: Sequence[Any] = ("lmpnet", info.get("lmpnet_version"), weights)
    return " ".join(str(word) for word in words if word)


def _method(content: Mapping[str, Any]) -> str | None:
    method = dict(content.get("info") or {}).get("method")
    return method if isinstance(method, str) else None


def as_coco(document: Document) -> dict[str, Any]:
    """Return a COCO annotation document with ids from 1."""
    coco = to_coco(document.results, {"description": document.source}, document.names)
    coco["categories"][0] |= {"name": document.category, "skeleton": [list(pair) for pair in document.skeleton]}
    del coco["skipped"]
    return coco


def mean_score(result: Keypoints) -> float:
    """Return the mean score of the keypoints that were found; 0 where there are none."""
    return float(result.scores[result.found].mean()) if result.found.any() else 0.0
