"""Write FiftyOne's layout of a COCO dataset: `labels.json`, and the images in `data/`.

FiftyOne loads keypoints only on request: `label_types=["keypoints"]`.
"""

from pathlib import Path

from lmpnet_cli.export.formats.document import Document, as_coco
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.export.formats.image_files import write_images
from lmpnet_cli.io.files import write_json


def write(document: Document, destination: Destination) -> list[Path]:
    """Write `labels.json` and `data/`, where every image has the path that it has in `labels.json`."""
    labels, data = destination.path / "labels.json", destination.path / "data"
    names = [objects[0].file_name for objects in document.images]
    images = {f"{data.name}/{name}": destination.images[name] for name in names}

    write_images(destination.path, images, destination.link_images, [labels.name], destination.progress)
    write_json(labels, as_coco(document))
    return [labels, data]


FORMAT = Format(
    write=write,
    file_name=None,
    json_files=("labels.json",),
    next_step='load it: fiftyone.Dataset.from_dir("{out}", fiftyone.types.COCODetectionDataset, '
    'label_types=["keypoints"])',
    needs_images=True,
    fixed_parts=True,
)
