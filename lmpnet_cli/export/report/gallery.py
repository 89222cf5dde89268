"""Prepare keypoints for the gallery of a report, in which they can be corrected."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from lmpnet_cli import __version__
from lmpnet_cli.drawing.colors import web_color
from lmpnet_cli.export.formats.document import Document, mean_score
from lmpnet_cli.keypoints import NO_OBJECT, Keypoints


def thumbnail_id(position: int) -> str:
    """Return the element id of the image at a position of the gallery."""
    return f"p{position}"


def gallery_data(document: Document, chosen: Sequence[int], classes: bool = True) -> dict[str, Any]:
    """Return what `gallery.js` draws.

    Args:
        chosen: indices of the results that are shown.
        classes: show predicted classes.
    """
    images = [
        _image_data(document.results[index], thumbnail_id(position), classes) for position, index in enumerate(chosen)
    ]
    return {
        "ranked": document.is_ranked,
        "names": list(document.names),
        "colors": [web_color(index) for index in range(len(document.names))],
        "category": document.category,
        "skeleton": document.skeleton,
        "images": images,
        "info": _corrections_info(document),
        "checksum": hashlib.sha256(json.dumps([document.names, images]).encode("ascii")).hexdigest(),
    }


def _corrections_info(document: Document) -> dict[str, Any]:
    """Return `info` of the corrections that are saved in the report; with `objects`, each `bbox` is a window."""
    has_windows = any(result.window for result in document.results)
    return {
        "description": f"corrections made in the report of lmpnet {__version__}",
        "lmpnet_version": __version__,
        "method": document.method,
        "objects": "all" if has_windows else "none",
    }


def _image_data(result: Keypoints, image_id: str, classes: bool) -> dict[str, Any]:
    points: list[list[float] | None] = []
    for (x, y), score in zip(result.xy.tolist(), result.scores.tolist(), strict=True):
        is_found = x == x
        points.append([round(x, 2), round(y, 2), round(score, 4)] if is_found else None)

    return {
        "id": image_id,
        "file": result.file_name,
        "width": result.width,
        "height": result.height,
        "label": result.class_name if classes else None,
        "probability": result.class_score if classes else None,
        "points": points,
        "window": _window(result),
        "empty": result.empty,
        "score": round(mean_score(result), 4) if result.found.any() else None,
    }


def _window(result: Keypoints) -> list[float] | None:
    """Return the window of the object; None where there is none."""
    if result.window in (None, NO_OBJECT):
        return None
    return [round(each, 2) for each in result.window or ()]


def gallery_facts(document: Document, skipped: int) -> list[str]:
    """Return the facts that stand below the title: the number of images, of keypoints and of skipped images."""
    images, objects = len(document.images), sum(not result.empty for result in document.results)
    found = sum(int(result.found.sum()) for result in document.results)
    each = "image" if objects == images else "object"
    facts = [f"{images} images", *([] if objects == images else [f"{objects} objects"])]
    facts.append(f"{found / max(1, objects):.2f} of {len(document.names)} keypoints per {each}")
    return [*facts, f"{skipped} skipped"] if skipped else facts
