"""Label Studio: tasks with predictions, and the labelling configuration that they belong to.

x and y are percent of the picture, 0 at its left or upper edge: the centre of pixel x lies at 100 (x + 0.5) / width.
The names `keypoints` and `image` tie the predictions to the configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from lmpnet_cli.drawing.colors import web_color
from lmpnet_cli.export.formats.document import Document, mean_score
from lmpnet_cli.io.files import write_json, write_text
from lmpnet_cli.keypoints import Keypoints

LOCAL_FILES = "/data/local-files/?d="  # its address of a file, before the path below the document root
POINT = 0.75  # width of a point, in percent


def write(document: Document, out: Path, pictures: Mapping[str, Path], prefix: str = LOCAL_FILES) -> list[Path]:
    """Writes `tasks.json` and `labeling-config.xml` into the folder `out`.

    Args:
        prefix: what stands before the name of an image in its address.
    """
    tasks, config = out / "tasks.json", out / "labeling-config.xml"
    write_json(tasks, [_task(document, number, result, prefix) for number, result in enumerate(document.results, 1)])
    write_text(config, _config(document))
    return [tasks, config]


def _task(document: Document, number: int, result: Keypoints, prefix: str) -> dict[str, Any]:
    regions = []
    for index, name in enumerate(document.names):
        if not result.found[index]:
            continue
        x, y = (100 * (result.xy[index] + 0.5) / (result.width, result.height)).tolist()
        regions.append(
            {
                "id": f"{number}-{index + 1}",
                "type": "keypointlabels",
                "from_name": "keypoints",
                "to_name": "image",
                "original_width": result.width,
                "original_height": result.height,
                "image_rotation": 0,
                "score": round(float(result.scores[index]), 4),
                "value": {"x": round(x, 4), "y": round(y, 4), "width": POINT, "keypointlabels": [name]},
            }
        )
    prediction = {"model_version": document.source, "score": round(mean_score(result), 4), "result": regions}
    return {"data": {"image": prefix + quote(result.file_name, errors="surrogateescape")}, "predictions": [prediction]}


def _config(document: Document) -> str:
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="{web_color(index)}"/>\n'
        for index, name in enumerate(document.names)
    )
    return (
        '<View>\n  <KeyPointLabels name="keypoints" toName="image">\n'
        f'{labels}  </KeyPointLabels>\n  <Image name="image" value="$image"/>\n</View>\n'
    )
