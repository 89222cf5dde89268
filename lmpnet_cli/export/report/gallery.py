"""Prepare keypoints for the gallery of a report."""

from collections.abc import Sequence
from typing import Any

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
    return {
        "ranked": document.is_ranked,
        "names": list(document.names),
        "colors": [web_color(index) for index in range(len(document.names))],
        "skeleton": [[start - 1, end - 1] for start, end in document.skeleton],
        "images": [
            _image_data(document.results[index], thumbnail_id(position), classes)
            for position, index in enumerate(chosen)
        ],
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
        "found": int(result.found.sum()),
        "score": round(mean_score(result), 4) if result.found.any() else None,
    }


def _window(result: Keypoints) -> list[float] | None:
    """Return the window of the object; None where there is none, or it is the whole image."""
    if result.window in (None, NO_OBJECT, (0, 0, result.width, result.height)):
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
