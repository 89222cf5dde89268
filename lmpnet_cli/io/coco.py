"""Write and read `keypoints.json`, a COCO keypoint annotation file."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lmpnet_cli.errors import InputError
from lmpnet_cli.io.coco_schema import CocoAnnotation, CocoImage, predicted_class, shared_id
from lmpnet_cli.io.json_input import SchemaError, check, dict_in, read_json
from lmpnet_cli.keypoints import NO_OBJECT, Box, Keypoints, by_image

FORMAT_VERSION = 1
FARTHEST = 1e9  # pixels; larger coordinates overflow in later arithmetic


def to_coco(
    results: Sequence[Keypoints], info: dict[str, Any], names: Sequence[str], skipped: Iterable[tuple[str, str]] = ()
) -> dict[str, Any]:
    """Return a COCO keypoint annotation document; a missing keypoint is 0, 0, 0 with a score of null.

    An image with fewer keypoints than `names` has the last ones missing. Every object is an annotation; an image on
    which none was found has no annotation.
    """
    sections = _sections(results, info, names, skipped)
    return {key: list(value) if isinstance(value, Iterator) else value for key, value in sections.items()}


def _sections(
    results: Sequence[Keypoints], info: dict[str, Any], names: Sequence[str], skipped: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Return the document, with its long lists as iterators."""
    images = list(enumerate(by_image(results), start=1))
    objects = [(image_id, each) for image_id, group in images for each in group if not each.empty]
    return {
        "info": info,
        "images": ({"id": image_id, **_image(group[0])} for image_id, group in images),
        "categories": [{"id": 1, "name": "object", "keypoints": list(names), "skeleton": []}],
        "annotations": (
            {"id": index, "image_id": image_id, "category_id": 1, **_annotation(result.padded(len(names)))}
            for index, (image_id, result) in enumerate(objects, start=1)
        ),
        "skipped": skipped_entries(skipped),
    }


def skipped_entries(skipped: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Return the unreadable images as every result file lists them, from pairs of file name and reason."""
    return [{"file_name": name, "reason": reason} for name, reason in skipped]


def _image(result: Keypoints) -> dict[str, Any]:
    image: dict[str, Any] = {"file_name": result.file_name, "width": result.width, "height": result.height}
    return image if result.frame is None else image | {"frame": result.frame, "time": result.time}


def _annotation(result: Keypoints) -> dict[str, Any]:
    found = result.found
    xy = np.round(result.xy, 2)
    # readers take x = y = 0 for "not labelled", so a keypoint in the very corner moves by a hundredth of a pixel
    xy[(xy == 0).all(axis=1), 0] = 0.01

    flat: list[float | int] = []
    for (x, y), seen in zip(xy.tolist(), found.tolist(), strict=True):
        flat += [x, y, 2] if seen else [0, 0, 0]

    bbox = [0.0, 0.0, 0.0, 0.0]
    if result.window is not None:
        bbox = np.round(result.window, 2).tolist()
    elif found.any():
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
    """Yield the document of `to_coco` as JSON in pieces, so that the text of many images is never in memory at once.

    Each image and each annotation has its own line: such files are readable and can be compared by line.
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


class ResultImage(CocoImage, kw_only=True):
    """An image of `keypoints.json`, with its size; a frame of a video has its number and its time in seconds."""

    width: float
    height: float
    frame: int | None = None
    time: float | None = None


class ResultAnnotation(CocoAnnotation, kw_only=True):
    """The keypoints of an image of `keypoints.json`."""

    keypoints: list[float | None]
    keypoint_replica_shares: list[float | None] | None = None


class ResultFile(Struct, kw_only=True):
    """What `read_keypoints` needs of a COCO keypoint annotation file."""

    images: list[ResultImage]
    annotations: list[ResultAnnotation]
    info: Any = None

    @property
    def has_windows(self) -> bool:
        """Return whether each `bbox` is the window of an object, and not the extent of the keypoints."""
        return dict_in(self.info).get("objects") in ("one", "all")


def read_keypoints(path: str | Path) -> list[Keypoints]:
    """Read a `keypoints.json`, in the order of its images.

    Raises:
        InputError: when the file cannot be read or is not a COCO keypoint annotation file.
    """
    try:
        return parse_coco(read_json(Path(path)))
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except SchemaError as error:
        raise InputError(f"{path} is not a COCO keypoint annotation file ({error}).") from error


def parse_coco(document: Any) -> list[Keypoints]:
    """Return the keypoints of each object in a COCO keypoint annotation document, in the order of its images.

    Where objects were looked for, an image without one has keypoints that are `empty`.

    Raises:
        SchemaError: when it is not such a document, or an annotation does not fit its image.
    """
    file = check(document, ResultFile)
    if fault := shared_id((image.id, image.file_name) for image in file.images):
        raise SchemaError(fault)

    images = {image.id: image for image in file.images}
    rank = {image_id: position for position, image_id in enumerate(images)}
    orphan = next((each for each in file.annotations if each.image_id not in images), None)
    if orphan is not None:
        raise SchemaError(f"an annotation belongs to image {orphan.image_id!r:.80}, which is not listed")

    objects = [_parse_annotation(images[each.image_id], each, file.has_windows) for each in file.annotations]
    ranks = [rank[each.image_id] for each in file.annotations]
    if file.has_windows:
        k = max((len(each.scores) for each in objects), default=0)
        annotated = set(ranks)
        without = [image for image_id, image in images.items() if rank[image_id] not in annotated]
        objects += [_without_object(image, k) for image in without]
        ranks += [rank[image.id] for image in without]
    return [objects[index] for index in np.argsort(ranks, kind="stable").tolist()]


def _without_object(image: ResultImage, k: int) -> Keypoints:
    return Keypoints(
        image.file_name,
        int(image.width),
        int(image.height),
        np.full((k, 2), np.nan),
        np.full(k, np.nan),
        frame=image.frame,
        time=image.time,
        window=NO_OBJECT,
    )


def _parse_annotation(image: ResultImage, annotation: ResultAnnotation, has_window: bool) -> Keypoints:
    points = np.array(annotation.keypoints, dtype=np.float64).reshape(-1, 3)
    found = points[:, 2] > 0
    if not (np.abs(points[found]) < FARTHEST).all():
        raise SchemaError(f"a keypoint of {image.file_name!r:.80} is not a position")

    scores = _column(annotation.keypoint_scores or [1.0] * len(points), len(points), "keypoint_scores")
    shares = annotation.keypoint_replica_shares
    predicted = predicted_class(annotation)
    return Keypoints(
        file_name=image.file_name,
        width=int(image.width),
        height=int(image.height),
        xy=np.where(found[:, None], points[:, :2], np.nan),
        scores=np.where(found, scores, np.nan),
        replica_shares=None if shares is None else _column(shares, len(points), "keypoint_replica_shares"),
        class_name=predicted.name,
        class_score=predicted.score,
        frame=image.frame,
        time=image.time,
        window=_window(image, annotation.bbox) if has_window else None,
    )


def _window(image: ResultImage, bbox: Sequence[float] | None) -> Box:
    """Return the window of an object; `NO_OBJECT` where its `bbox` is empty."""
    x, y, width, height = (bbox or [0.0] * 4)[:4]
    if not all(abs(value) < FARTHEST for value in (x, y, width, height)):
        raise SchemaError(f"the bbox of {image.file_name!r:.80} is not a box")
    return (x, y, width, height) if width > 0 and height > 0 else NO_OBJECT


def _column(values: Sequence[float | None], count: int, name: str) -> NDArray[np.float64]:
    if len(values) != count:
        raise SchemaError(f"`{name}` has {len(values)} entries for {count} keypoints")
    return np.array(values, dtype=np.float64)
