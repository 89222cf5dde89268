"""Save one image as a file, which is written completely or not at all."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from lmpnet_cli.data.images import Rgb
from lmpnet_cli.io.files import write_atomically


def save_jpeg(path: Path, rgb: Rgb) -> None:
    """Write an (h, w, 3) image as a JPEG file, which replaces an existing one.

    Raises:
        OutputError: when the file cannot be written.
    """
    _save(path, rgb, format="JPEG", quality=88)


def save_png(path: Path, rgb: Rgb) -> None:
    """Write an (h, w, 3) image as a PNG file, which replaces an existing one.

    Raises:
        OutputError: when the file cannot be written.
    """
    _save(path, rgb, format="PNG")


def _save(path: Path, rgb: Rgb, **options: Any) -> None:
    # Encode in memory first: Pillow does not report a disk that becomes full in the middle of a file.
    encoded = io.BytesIO()
    Image.fromarray(rgb).save(encoded, **options)
    write_atomically(path, lambda temporary: temporary.write_bytes(encoded.getbuffer()))
