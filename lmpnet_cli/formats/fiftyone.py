"""FiftyOne: its layout of a COCO dataset, with a manifest in place of copied pictures.

FiftyOne loads keypoints only when they are asked for: `label_types=["keypoints"]`.
"""

from collections.abc import Mapping
from pathlib import Path

from lmpnet_cli.formats.document import Document
from lmpnet_cli.keypoints import to_coco
from lmpnet_cli.runtime import write_json


def write(document: Document, out: Path, pictures: Mapping[str, Path]) -> list[Path]:
    """Writes `labels.json` and `data.json` into the folder `out`.

    Args:
        pictures: where each image lies, by its name.
    """
    labels, manifest = out / "labels.json", out / "data.json"
    coco = to_coco(document.results, {"description": document.source}, document.names)
    coco["categories"][0] |= {"name": document.category, "skeleton": [list(pair) for pair in document.skeleton]}
    del coco["skipped"]
    write_json(labels, coco)
    write_json(manifest, {result.file_name: str(pictures[result.file_name].absolute()) for result in document.results})
    return [labels, manifest]
