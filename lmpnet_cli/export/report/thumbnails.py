"""Encode the images inside a report: small WebP files as base64 text."""

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from PIL import Image

from lmpnet_cli.data.images import read_image
from lmpnet_cli.data.listing import UnreadableImage

QUALITY = 78
READ_AHEAD = 64  # images that are prepared before they are asked for
SIDES = ((500, 560), (2500, 360), (10_000, 200))  # up to this number of images, the longer side in pixels


def thumbnail_side(count: int) -> int:
    """Return the longer side of each of `count` images that keeps a report below a hundred megabytes."""
    return next((side for most, side in SIDES if count <= most), SIDES[-1][1])


def encode_webp(image: Image.Image) -> str:
    """Return an image as WebP in base64."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=2)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def encode_thumbnail(image: Image.Image, side: int) -> str:
    """Return an image as WebP in base64, its longer side at most `side` pixels; the image itself is reduced."""
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return encode_webp(image)


def read_thumbnail(path: Path, side: int, max_pixels: int) -> str | None:
    """Read and encode one image, its longer side at most `side` pixels; None where it can no longer be read."""
    try:
        image = Image.fromarray(read_image(path, max_pixels, at_least=side).rgb)
    except (UnreadableImage, OSError):
        return None
    return encode_thumbnail(image, side)


def read_thumbnails(paths: Sequence[Path | None], side: int, max_pixels: int) -> Iterator[str | None]:
    """Read and encode many images in their order, `READ_AHEAD` of them in advance; None stays None."""
    remaining = iter(paths)
    with ThreadPoolExecutor(2) as pool:
        while batch := list(islice(remaining, READ_AHEAD)):
            yield from pool.map(lambda path: read_thumbnail(path, side, max_pixels) if path else None, batch)
