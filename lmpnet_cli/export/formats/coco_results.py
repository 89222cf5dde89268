"""Write COCO results: the list that COCO's evaluator reads beside the ground truth.

v is 1 for a found keypoint, as COCO recommends (the evaluator ignores it), and 0 for a missing one. The format has no
place for a score per keypoint, so these are in a field of their own, `keypoint_scores`.
"""

from pathlib import Path

from lmpnet_cli.export.formats.document import Document, mean_score
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.io.coco import to_coco
from lmpnet_cli.io.files import write_json


def write(document: Document, destination: Destination) -> list[Path]:
    """Write the file with the image and category ids of the document. Images without a keypoint have no entry."""
    annotations = to_coco(document.results, {}, document.names)["annotations"]
    annotated = [result for result in document.results if not result.empty]
    entries = []
    for annotation, result in zip(annotations, annotated, strict=True):
        if not result.found.any():
            continue

        image_id = document.image_ids[annotation["image_id"] - 1]  # `to_coco` counts images from 1
        keypoints = list(annotation["keypoints"])
        keypoints[2::3] = [min(v, 1) for v in keypoints[2::3]]
        entries.append(
            {
                "image_id": image_id,
                "category_id": document.category_id,
                "keypoints": keypoints,
                "score": round(mean_score(result), 4),
                "keypoint_scores": annotation["keypoint_scores"],
            }
        )

    write_json(destination.path, entries)
    return [destination.path]


FORMAT = Format(
    write=write,
    file_name="results.json",
    next_step='load it with pycocotools: COCO("truth.json").loadRes("{out}"). Its ids must be those of truth.json '
    "(--ids-of truth.json takes them from there), else AP is 0.0 without a message",
    fixed_parts=True,
)
