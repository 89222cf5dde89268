"""Write Label Studio tasks with predictions, and the labelling configuration that they belong to.

x and y are in percent of the image, and 0 is its left or upper edge: the centre of pixel x is at 100 (x + 0.5) / width.
The names `keypoints` and `image` connect the predictions to the configuration.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from lmpnet_cli.drawing.colors import web_color
from lmpnet_cli.export.formats.document import Document, for_xml, mean_score
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.export.formats.image_files import claim_files
from lmpnet_cli.io.files import write_json, write_text
from lmpnet_cli.keypoints import Keypoints

LOCAL_FILES = "/data/local-files/?d="  # how Label Studio addresses a file below its document root
POINT_WIDTH = 0.75  # percent


def write(document: Document, destination: Destination) -> list[Path]:
    """Write `tasks.json` and `labeling-config.xml` into the folder."""
    tasks, config = destination.path / "tasks.json", destination.path / "labeling-config.xml"
    prefix = _image_prefix(destination)
    document = for_xml(document)
    claim_files(destination.path, [tasks.name, config.name])
    write_json(tasks, [_task(document, number, objects, prefix) for number, objects in enumerate(document.images, 1)])
    write_text(config, _config(document))
    return [tasks, config]


def _image_prefix(destination: Destination) -> str:
    """Return the address of the folder of the images: the user's, or Label Studio's for its local files."""
    prefix, inputs = destination.image_prefix, destination.inputs
    if prefix is not None:
        return prefix if prefix.endswith(("/", "=")) else f"{prefix}/"
    if len(inputs) == 1 and inputs[0].is_dir() and (folder := inputs[0].absolute().name):
        return f"{LOCAL_FILES}{quote(folder, errors='surrogateescape')}/"
    return LOCAL_FILES


def _task(document: Document, number: int, objects: Sequence[Keypoints], prefix: str) -> dict[str, Any]:
    k = len(document.names)
    regions = [
        _region(f"{number}-{k * position + index + 1}", name, index, result)
        for position, result in enumerate(objects)
        for index, name in enumerate(document.names)
        if result.found[index]
    ]
    score = round(max(map(mean_score, objects)), 4)
    image = prefix + quote(objects[0].file_name, errors="surrogateescape")
    prediction = {"model_version": document.source, "score": score, "result": regions}
    return {"data": {"image": image}, "predictions": [prediction]}


def _region(region_id: str, name: str, index: int, result: Keypoints) -> dict[str, Any]:
    x, y = (100 * (result.xy[index] + 0.5) / (result.width, result.height)).tolist()
    return {
        "id": region_id,
        "type": "keypointlabels",
        "from_name": "keypoints",
        "to_name": "image",
        "original_width": result.width,
        "original_height": result.height,
        "image_rotation": 0,
        "score": round(float(result.scores[index]), 4),
        "value": {"x": round(x, 4), "y": round(y, 4), "width": POINT_WIDTH, "keypointlabels": [name]},
    }


def _config(document: Document) -> str:
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="{web_color(index)}"/>\n'
        for index, name in enumerate(document.names)
    )
    return (
        '<View>\n  <KeyPointLabels name="keypoints" toName="image">\n'
        f'{labels}  </KeyPointLabels>\n  <Image name="image" value="$image"/>\n</View>\n'
    )


FORMAT = Format(
    write=write,
    file_name=None,
    json_files=("tasks.json",),
    next_step="in Label Studio, paste labeling-config.xml into Labeling Setup > Code, then import tasks.json",
)
