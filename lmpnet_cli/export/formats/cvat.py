"""Write annotations for CVAT in its format "COCO Keypoints 1.0", and the label that the CVAT task needs.

CVAT reads skeletons only, and rejects annotations whose label the task does not have under the same names. Therefore
the label is written as the JSON that CVAT's label constructor accepts under "Raw".
"""

import json
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import quoteattr

from lmpnet_cli.drawing.colors import web_color
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.export.formats.document import Document, as_coco, for_xml
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.export.formats.image_files import claim_files
from lmpnet_cli.io.files import write_atomically, write_json

ANNOTATION_FILE = "annotations/person_keypoints_default.json"  # CVAT expects this name for any category


def write(document: Document, destination: Destination) -> list[Path]:
    """Write `annotations.zip` and `labels.json` into the folder; the names were checked by `check_names` before."""
    archive, labels = destination.path / "annotations.zip", destination.path / "labels.json"
    document = for_xml(document)

    coco = as_coco(document) | {"licenses": []}
    coco["categories"][0]["supercategory"] = ""
    # CVAT cannot show a skeleton without any point
    coco["annotations"] = [each for each in coco["annotations"] if each["num_keypoints"]]
    for annotation in coco["annotations"]:
        annotation.pop("predicted_class", None)  # CVAT would read it as an attribute of its own

    def pack(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(ANNOTATION_FILE, json.dumps(coco, allow_nan=False))

    claim_files(destination.path, [archive.name, labels.name])
    write_atomically(archive, pack)
    write_json(labels, [_label(document)])
    return [archive, labels]


def check_names(names: Sequence[str]) -> None:
    """Check that image names differ in more than their suffix, since CVAT matches annotations without the suffix.

    Raises:
        DatasetError: when CVAT could not tell two images apart.
    """
    first: dict[PurePosixPath, str] = {}
    for name in names:
        other = first.setdefault(PurePosixPath(name).with_suffix(""), name)
        if other != name:
            raise DatasetError(
                f"CVAT cannot tell {other} and {name} apart, because it ignores the suffix. Rename one of them."
            )


def _label(document: Document) -> dict[str, Any]:
    points = [
        {"name": name, "type": "points", "color": web_color(index), "attributes": []}
        for index, name in enumerate(document.names)
    ]
    return {
        "name": document.category,
        "type": "skeleton",
        "attributes": [],
        "sublabels": points,
        "svg": _skeleton_svg(document),
    }


def _skeleton_svg(document: Document) -> str:
    """Return the skeleton as CVAT draws it in the constructor, 100 x 100: its points are on a circle."""
    count = len(document.names)
    angles = [2 * math.pi * index / count - math.pi / 2 for index in range(count)]
    positions = [(round(50 + 35 * math.cos(angle), 2), round(50 + 35 * math.sin(angle), 2)) for angle in angles]

    edges = ""
    for start, end in document.skeleton:
        (x1, y1), (x2, y2) = positions[start - 1], positions[end - 1]
        edges += (
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" data-type="edge" '
            f'data-node-from="{start}" data-node-to="{end}"></line>'
        )

    nodes = ""
    for number, ((x, y), name) in enumerate(zip(positions, document.names, strict=True), start=1):
        nodes += (
            f'<circle r="1.5" cx="{x}" cy="{y}" data-type="element node" data-element-id="{number}" '
            f'data-node-id="{number}" data-label-name={quoteattr(name)}></circle>'
        )
    return edges + nodes


FORMAT = Format(
    write=write,
    file_name=None,
    json_files=("labels.json",),
    next_step="in CVAT, create a task with the images and, under Raw, the content of labels.json; then "
    'Upload annotations > "COCO Keypoints 1.0" > annotations.zip',
    fixed_parts=True,
    check=check_names,
)
