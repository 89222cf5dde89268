"""Write FiftyOne's layout of a COCO dataset, with a manifest of image paths in place of copied images.

FiftyOne loads keypoints only on request: `label_types=["keypoints"]`.
"""

from pathlib import Path

from lmpnet_cli.export.formats.document import Document, as_coco
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.io.files import write_json


def write(document: Document, destination: Destination) -> list[Path]:
    """Write `labels.json` and the manifest `data.json` into the folder."""
    labels, manifest = destination.path / "labels.json", destination.path / "data.json"
    names = [result.file_name for result in document.results]
    write_json(labels, as_coco(document))
    write_json(manifest, {name: str(destination.images[name].absolute()) for name in names})
    return [labels, manifest]


FORMAT = Format(
    write=write,
    file_name=None,
    next_step='load it: fiftyone.Dataset.from_dir("{out}", fiftyone.types.COCODetectionDataset, '
    'data_path="data.json", label_types=["keypoints"])',
    needs_images=True,
    fixed_parts=True,
)
