"""Pictures inside a page: small WebP files as text."""

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from PIL import Image

from lmpnet_cli.config import MAX_PIXELS
from lmpnet_cli.data.images import read_image
from lmpnet_cli.data.listing import UnreadableImage

QUALITY = 78
AT_ONCE = 64  # pictures that are prepared ahead
SIDES = ((500, 560), (2500, 360), (10_000, 200))  # up to so many pictures, the longer side in pixels


def side_for(count: int) -> int:
    """The longer side of each of so many pictures, so that the page stays below a hundred megabytes."""
    return next((side for most, side in SIDES if count <= most), SIDES[-1][1])


def encode(picture: Image.Image) -> str:
    """WebP as base64."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=2)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def opened(path: Path) -> Image.Image:
    """A picture among results, which may have come from somebody else.

    Raises:
        ValueError: when it cannot be read.
    """
    try:
        return Image.fromarray(read_image(path, MAX_PIXELS).rgb)
    except UnreadableImage as error:
        raise ValueError(str(error)) from error


def thumbnail(path: Path, side: int, max_pixels: int) -> str | None:
    """One picture, its longer side at most `side`; None where it cannot be read any more."""
    try:
        picture = Image.fromarray(read_image(path, max_pixels, at_least=side).rgb)
    except (UnreadableImage, OSError):
        return None
    return small(picture, side)


def small(picture: Image.Image, side: int) -> str:
    """A picture, its longer side at most `side`, as base64."""
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return encode(picture)


def thumbnails(paths: Sequence[Path | None], side: int, max_pixels: int) -> Iterator[str | None]:
    """Many pictures, in order, a few ahead of what is asked for."""
    rest = iter(paths)
    with ThreadPoolExecutor(2) as pool:
        while batch := list(islice(rest, AT_ONCE)):
            yield from pool.map(lambda path: thumbnail(path, side, max_pixels) if path else None, batch)
