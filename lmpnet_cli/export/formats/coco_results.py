"""COCO results: the bare array that COCO's evaluator reads beside the ground truth.

v is 1 for a found keypoint, as COCO recommends (the evaluator ignores it), and 0 for a missing one. One score for each
keypoint has no place in the format: it stands in an array of its own, `keypoint_scores`.
"""

from collections.abc import Mapping
from pathlib import Path

from lmpnet_cli.export.formats.document import Document, mean_score
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json


def write(document: Document, out: Path, pictures: Mapping[str, Path]) -> list[Path]:
    """Writes the file `out`; image and category ids are those of `keypoints.json`."""
    annotations = to_coco(document.results, {}, document.names)["annotations"]
    entries = []
    for image_id, annotation, result in zip(document.image_ids, annotations, document.results, strict=True):
        if not result.found.any():
            continue  # no detection
        flat = annotation["keypoints"]
        entries.append(
            {
                "image_id": image_id,
                "category_id": document.category_id,
                "keypoints": [min(value, 1) if place % 3 == 2 else value for place, value in enumerate(flat)],
                "score": round(mean_score(result), 4),
                "keypoint_scores": annotation["keypoint_scores"],
            }
        )
    write_json(out, entries)
    return [out]
