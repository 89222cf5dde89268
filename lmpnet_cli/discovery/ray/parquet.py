"""Keypoints of a block of pictures as a Parquet file: what a cluster writes, and `lmpnet merge` joins.

One row for each picture in the order of their names, those that could not be read included. Columns are those of a COCO
annotation, with the same roundings.
"""

import io
import json
from collections.abc import Sequence
from typing import Any

from lmpnet_cli.errors import InputError, missing_package
from lmpnet_cli.io.coco import parse_coco, to_coco
from lmpnet_cli.keypoints import Keypoints

METADATA = b"lmpnet"
OF_ANNOTATION = ("keypoints", "num_keypoints", "keypoint_scores", "keypoint_replica_shares", "bbox", "area")


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet

        return pyarrow
    except ImportError as error:
        raise missing_package(error, "ray") from error


def to_parquet(keypoints: Sequence[Keypoints], skipped: Sequence[tuple[str, str]]) -> bytes:
    """A Parquet file of the pictures of a block."""
    pyarrow = _pyarrow()
    document = to_coco(keypoints, {}, ())
    rows: list[dict[str, Any]] = [{"file_name": name, "reason": why} for name, why in skipped]
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        predicted = annotation.get("predicted_class") or {}
        rows.append(
            {
                **{key: image[key] for key in ("file_name", "width", "height")},
                **{key: annotation.get(key) for key in OF_ANNOTATION},
                "class_name": predicted.get("name"),
                "class_score": predicted.get("score"),
            }
        )
    number, numbers, whole = pyarrow.float64(), pyarrow.list_(pyarrow.float64()), pyarrow.int32()
    schema = pyarrow.schema(
        {
            "file_name": pyarrow.string(),
            "width": whole,
            "height": whole,
            "keypoints": numbers,
            "num_keypoints": whole,
            "keypoint_scores": numbers,
            "keypoint_replica_shares": numbers,
            "bbox": numbers,
            "area": number,
            "class_name": pyarrow.string(),
            "class_score": number,
            "reason": pyarrow.string(),
        }
    )
    counts = {
        "images": len(keypoints),
        "found": sum(int(each.found.sum()) for each in keypoints),
        "skipped": len(skipped),
    }
    schema = schema.with_metadata({METADATA: json.dumps(counts).encode()})
    rows.sort(key=lambda row: str(row["file_name"]))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), buffer, compression="zstd")
    return buffer.getvalue()


def summary(file: Any) -> dict[str, int] | None:
    """How many images, keypoints and skipped pictures a part holds; None where it is no whole part."""
    pyarrow = _pyarrow()
    try:
        return dict(json.loads(pyarrow.parquet.read_schema(file).metadata[METADATA]))
    except (pyarrow.ArrowException, KeyError, TypeError, ValueError, OSError):
        return None


def from_parquet(name: str, content: bytes) -> tuple[list[Keypoints], list[tuple[str, str]]]:
    """Keypoints and skipped pictures of a block.

    Raises:
        InputError: when it is no such file.
    """
    pyarrow = _pyarrow()
    try:
        rows = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
        skipped = [(row["file_name"], row["reason"]) for row in rows if row["reason"] is not None]
        rows = [row for row in rows if row["reason"] is None]
        images = [{"id": index, **row} for index, row in enumerate(rows)]
        annotations = [
            {
                "image_id": index,
                **row,
                "predicted_class": row["class_name"] and {"name": row["class_name"], "score": row["class_score"]},
            }
            for index, row in enumerate(rows)
        ]
        return parse_coco({"images": images, "annotations": annotations}), skipped
    except (pyarrow.ArrowException, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(f"{name} is no part of a result of lmpnet ({error!r:.200}). Run it again.") from error
