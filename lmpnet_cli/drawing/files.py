"""Images as files, written whole or not at all."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from lmpnet_cli.data.images import Rgb
from lmpnet_cli.io.files import write_atomically


def save_jpeg(path: Path, rgb: Rgb) -> None:
    """Writes a JPEG file aside and renames it."""
    _save(path, rgb, format="JPEG", quality=88)


def save_png(path: Path, rgb: Rgb) -> None:
    """Writes a PNG file aside and renames it."""
    _save(path, rgb, format="PNG")


def _save(path: Path, rgb: Rgb, **options: Any) -> None:
    # through memory: Pillow does not notice a disk that is full in the middle of a file
    encoded = io.BytesIO()
    Image.fromarray(rgb).save(encoded, **options)
    write_atomically(path, lambda aside: aside.write_bytes(encoded.getbuffer()))
