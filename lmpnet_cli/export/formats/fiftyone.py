"""FiftyOne: its layout of a COCO dataset, with a manifest in place of copied pictures.

FiftyOne loads keypoints only when they are asked for: `label_types=["keypoints"]`.
"""

from collections.abc import Mapping
from pathlib import Path

from lmpnet_cli.export.formats.document import Document, as_coco
from lmpnet_cli.io.files import write_json


def write(document: Document, out: Path, pictures: Mapping[str, Path]) -> list[Path]:
    """Writes `labels.json` and `data.json` into the folder `out`.

    Args:
        pictures: where each image lies, by its name.
    """
    labels, manifest = out / "labels.json", out / "data.json"
    write_json(labels, as_coco(document))
    write_json(manifest, {result.file_name: str(pictures[result.file_name].absolute()) for result in document.results})
    return [labels, manifest]
