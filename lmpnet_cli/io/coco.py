"""`keypoints.json`: COCO keypoint annotations, written and read back."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.errors import WRONG_SHAPE, InputError
from lmpnet_cli.io.json_input import read_json
from lmpnet_cli.keypoints import Keypoints

FORMAT_VERSION = 1
FARTHEST = 1e9  # pixels; a larger coordinate is not a position and overflows in later arithmetic


def to_coco(
    results: Sequence[Keypoints], info: dict[str, Any], names: Sequence[str], skipped: Iterable[tuple[str, str]] = ()
) -> dict[str, Any]:
    """A COCO keypoint annotation document; missing points are 0, 0, 0 with a score of null."""
    sections = _sections(results, info, names, skipped)
    return {key: list(value) if isinstance(value, Iterator) else value for key, value in sections.items()}


def _sections(
    results: Sequence[Keypoints], info: dict[str, Any], names: Sequence[str], skipped: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """The document with its long lists as iterators."""
    numbered = list(enumerate(results, start=1))
    return {
        "info": info,
        "images": ({"id": index, **_image(result)} for index, result in numbered),
        "categories": [{"id": 1, "name": "object", "keypoints": list(names), "skeleton": []}],
        "annotations": (
            {"id": index, "image_id": index, "category_id": 1, **_annotation(result)} for index, result in numbered
        ),
        "skipped": skipped_entries(skipped),
    }


def skipped_entries(skipped: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Pictures that could not be read, as every result file lists them."""
    return [{"file_name": name, "reason": reason} for name, reason in skipped]


def _image(result: Keypoints) -> dict[str, Any]:
    image: dict[str, Any] = {"file_name": result.file_name, "width": result.width, "height": result.height}
    return image if result.frame is None else image | {"frame": result.frame, "time": result.time}


def _annotation(result: Keypoints) -> dict[str, Any]:
    found = result.found
    xy = np.round(result.xy, 2)
    # readers take x = y = 0 for "not labelled", so a point in the very corner moves by a hundredth of a pixel
    xy[(xy == 0).all(axis=1), 0] = 0.01
    flat: list[float | int] = []
    for (x, y), seen in zip(xy.tolist(), found.tolist(), strict=True):
        flat += [x, y, 2] if seen else [0, 0, 0]
    bbox = [0.0, 0.0, 0.0, 0.0]
    if found.any():
        low, high = xy[found].min(axis=0), xy[found].max(axis=0)
        bbox = np.round([*low, *(high - low)], 2).tolist()
    annotation: dict[str, Any] = {
        "keypoints": flat,
        "num_keypoints": int(found.sum()),
        "keypoint_scores": _rounded(result.scores),
        "bbox": bbox,
        "area": round(bbox[2] * bbox[3], 2),
        "iscrowd": 0,
        "segmentation": [],
    }
    if result.replica_shares is not None:
        annotation["keypoint_replica_shares"] = _rounded(result.replica_shares)
    if result.class_name is not None and result.class_score is not None:
        annotation["predicted_class"] = {"name": result.class_name, "score": round(result.class_score, 4)}
    return annotation


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else round(value, 4) for value in values.tolist()]


def coco_text(
    results: Sequence[Keypoints], info: dict[str, Any], names: Sequence[str], skipped: Iterable[tuple[str, str]] = ()
) -> Iterator[str]:
    """`to_coco` as JSON, piece by piece, so that the text of many images is never in memory as a whole.

    One image and one annotation a line: such files are readable, and can be compared by line.
    """
    for number, (key, value) in enumerate(_sections(results, info, names, skipped).items()):
        yield f"{',' if number else '{'}\n{json.dumps(key)}: "
        if isinstance(value, dict) or not value:
            yield json.dumps(value, allow_nan=False)
            continue
        opened = False
        for item in value:
            yield f"{',' if opened else '['}\n{json.dumps(item, allow_nan=False)}"
            opened = True
        yield "\n]" if opened else "[]"
    yield "\n}\n"


def read_keypoints(path: str | Path) -> list[Keypoints]:
    """Reads a `keypoints.json` back, in the order of its images.

    Raises:
        InputError: when the file is missing or is no COCO keypoint annotation file.
    """
    try:
        return parse_coco(read_json(Path(path)))
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    except WRONG_SHAPE as error:
        raise InputError(f"{path} is not a COCO keypoint annotation file ({error!r}).") from error


def parse_coco(document: Any) -> list[Keypoints]:
    """The keypoints of a COCO keypoint annotation document, in the order of its images.

    Raises:
        one of `WRONG_SHAPE`: when it is none.
    """
    images = {image["id"]: image for image in document["images"]}
    rank = {image_id: position for position, image_id in enumerate(images)}
    results = []
    for annotation in sorted(document["annotations"], key=lambda each: rank[each["image_id"]]):
        image = images[annotation["image_id"]]
        points = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
        seen = points[:, 2] > 0
        if not isinstance(image["file_name"], str) or not (np.abs(points[seen]) < FARTHEST).all():
            raise ValueError(f"an image without a name, or a keypoint of {image['file_name']!r:.80} that is nowhere")
        scores = _column(annotation.get("keypoint_scores") or [1.0] * len(points))
        shares = annotation.get("keypoint_replica_shares")
        if shares is not None and len(shares) != len(points):
            raise ValueError(f"{len(shares)} shares of {len(points)} keypoints")
        results.append(
            Keypoints(
                file_name=image["file_name"],
                width=int(image["width"]),
                height=int(image["height"]),
                xy=np.where(seen[:, None], points[:, :2], np.nan),
                scores=np.where(seen, scores, np.nan),
                replica_shares=None if shares is None else _column(shares),
                **_class(annotation.get("predicted_class") or {}),
                frame=image.get("frame"),
                time=image.get("time"),
            )
        )
    return results


def _class(predicted: dict[str, Any]) -> dict[str, Any]:
    name, score = predicted.get("name"), predicted.get("score")
    return {"class_name": None if name is None else str(name), "class_score": None if score is None else float(score)}


def _column(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
