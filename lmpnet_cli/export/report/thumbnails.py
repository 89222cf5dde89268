"""Encode the images inside a report: small WebP files as base64 text."""

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from PIL import Image

from lmpnet_cli.data.images import Rgb, read_image
from lmpnet_cli.data.listing import UnreadableImage
from lmpnet_cli.drawing.overlays import scaled

QUALITY = 70
READ_AHEAD = 64  # images that are prepared before they are asked for
LARGE = 560  # longer side in pixels of images that are looked at closely
SIDES = ((500, LARGE), (2500, 360), (10_000, 160))  # up to this number of images, the longer side in pixels


def thumbnail_side(count: int) -> int:
    """Return the longer side of each of `count` images that keeps a report below fifty megabytes."""
    return next((side for most, side in SIDES if count <= most), SIDES[-1][1])


def encode_webp(image: Image.Image) -> str:
    """Return an image as WebP in base64."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=2)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def encode_thumbnail(rgb: Rgb, side: int) -> str:
    """Return an (h, w, 3) image as WebP in base64, its longer side at most `side` pixels."""
    scale = side / max(rgb.shape[:2])
    return encode_webp(Image.fromarray(scaled(rgb, scale) if scale < 1 else rgb))


def read_thumbnail(path: Path, side: int, max_pixels: int) -> str | None:
    """Read and encode one image, its longer side at most `side` pixels; None where it can no longer be read."""
    try:
        return encode_thumbnail(read_image(path, max_pixels, at_least=side).rgb, side)
    except (UnreadableImage, OSError):
        return None


def read_thumbnails(paths: Sequence[Path | None], sides: Sequence[int], max_pixels: int) -> Iterator[str | None]:
    """Read and encode many images in their order, `READ_AHEAD` of them in advance; None stays None.

    Args:
        sides: the longest side of each.
    """
    remaining = iter(zip(paths, sides, strict=True))
    with ThreadPoolExecutor(2) as pool:
        while batch := list(islice(remaining, READ_AHEAD)):
            yield from pool.map(lambda each: read_thumbnail(each[0], each[1], max_pixels) if each[0] else None, batch)
