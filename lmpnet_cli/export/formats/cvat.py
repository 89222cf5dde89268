"""CVAT: annotations in its format "COCO Keypoints 1.0", and the label that its task must have first.

CVAT takes skeletons only, and refuses annotations whose label the task does not have under the same names; so the
label comes as the JSON that CVAT's label constructor takes under "Raw".
"""

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import quoteattr

from lmpnet_cli.drawing.colors import web_color
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.export.formats.document import Document, as_coco
from lmpnet_cli.io.files import write_atomically, write_json

ENTRY = "annotations/person_keypoints_default.json"  # CVAT's name, whatever the keypoints are of


def write(document: Document, out: Path, pictures: Mapping[str, Path]) -> list[Path]:
    """Writes `annotations.zip` and `labels.json` into the folder `out`; `check_names` comes before."""
    archive, labels = out / "annotations.zip", out / "labels.json"
    coco = as_coco(document) | {"licenses": []}
    coco["categories"][0]["supercategory"] = ""
    # an annotation without a point would be a skeleton without a place
    coco["annotations"] = [each for each in coco["annotations"] if each["num_keypoints"]]
    for annotation in coco["annotations"]:
        annotation.pop("predicted_class", None)  # CVAT reads attributes as its own

    def pack(aside: Path) -> None:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(ENTRY, json.dumps(coco, allow_nan=False))

    write_atomically(archive, pack)
    write_json(labels, [_label(document)])
    return [archive, labels]


def check_names(names: Sequence[str]) -> None:
    """CVAT looks for the frame of an annotation by the name without its suffix.

    Raises:
        DatasetError: when it could not tell two pictures apart.
    """
    first: dict[PurePosixPath, str] = {}
    for name in names:
        other = first.setdefault(PurePosixPath(name).with_suffix(""), name)
        if other != name:
            raise DatasetError(f"CVAT cannot tell {other} and {name} apart: it leaves the suffix out. Rename one.")


def _label(document: Document) -> dict[str, Any]:
    colors = [web_color(index) for index in range(len(document.names))]
    return {
        "name": document.category,
        "type": "skeleton",
        "attributes": [],
        "sublabels": [
            {"name": name, "type": "points", "color": color, "attributes": []}
            for name, color in zip(document.names, colors, strict=True)
        ],
        "svg": _svg(document),
    }


def _svg(document: Document) -> str:
    """The skeleton as CVAT draws it in the constructor, 100 x 100: its points on a circle."""
    count = len(document.names)
    turns = [2 * math.pi * index / count - math.pi / 2 for index in range(count)]
    places = [(round(50 + 35 * math.cos(turn), 2), round(50 + 35 * math.sin(turn), 2)) for turn in turns]
    lines = "".join(
        f'<line x1="{places[first - 1][0]}" y1="{places[first - 1][1]}" x2="{places[second - 1][0]}" '
        f'y2="{places[second - 1][1]}" data-type="edge" data-node-from="{first}" data-node-to="{second}"></line>'
        for first, second in document.skeleton
    )
    return lines + "".join(
        f'<circle r="1.5" cx="{x}" cy="{y}" data-type="element node" data-element-id="{index}" data-node-id="{index}" '
        f"data-label-name={quoteattr(name)}></circle>"
        for index, ((x, y), name) in enumerate(zip(places, document.names, strict=True), start=1)
    )
