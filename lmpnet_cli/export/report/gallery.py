"""Keypoints of many pictures, as the gallery of a page takes them."""

from collections.abc import Sequence
from typing import Any

from lmpnet_cli.drawing.colors import web_color
from lmpnet_cli.export.formats.document import Document, mean_score
from lmpnet_cli.keypoints import Keypoints


def gallery_data(document: Document, chosen: Sequence[int]) -> dict[str, Any]:
    """What the scripts draw.

    Args:
        chosen: which results are shown; the picture of the first is `p0`.
    """
    return {
        "names": list(document.names),
        "colors": [web_color(index) for index in range(len(document.names))],
        "images": [_image(document.results[index], f"p{place}") for place, index in enumerate(chosen)],
    }


def _image(result: Keypoints, picture: str) -> dict[str, Any]:
    points = [
        [round(x, 2), round(y, 2), round(score, 4)] if x == x else None
        for (x, y), score in zip(result.xy.tolist(), result.scores.tolist(), strict=True)
    ]
    return {
        "picture": picture,
        "file": result.file_name,
        "width": result.width,
        "height": result.height,
        "label": result.class_name,
        "certainty": result.class_score,
        "points": points,
        "found": int(result.found.sum()),
        "score": round(mean_score(result), 4) if result.found.any() else None,
    }


def gallery_facts(document: Document, skipped: int) -> list[str]:
    """The first lines of the page."""
    count = len(document.results)
    found = sum(int(result.found.sum()) for result in document.results)
    facts = [f"{count} images", f"{found / max(1, count):.2f} of {len(document.names)} keypoints an image"]
    return [*facts, f"{skipped} skipped"] if skipped else facts
