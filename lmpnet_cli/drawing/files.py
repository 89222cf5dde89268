"""Save one image as a file, which is written completely or not at all."""

import io
from pathlib import Path

import cv2
from PIL import Image

from lmpnet_cli.data.images import Rgb
from lmpnet_cli.io.files import write_atomically


def save_jpeg(path: Path, rgb: Rgb) -> None:
    """Write an (h, w, 3) image as a JPEG file, which replaces an existing one.

    Raises:
        OutputError: when the file cannot be written.
    """
    # by OpenCV, which encodes in several threads at once; Pillow's encoder keeps the others waiting
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 88))
    write_atomically(path, lambda temporary: temporary.write_bytes(encoded.data))


def save_png(path: Path, rgb: Rgb) -> None:
    """Write an (h, w, 3) image as a PNG file, which replaces an existing one.

    Raises:
        OutputError: when the file cannot be written.
    """
    # Encode in memory first: Pillow does not report a disk that becomes full in the middle of a file.
    encoded = io.BytesIO()
    Image.fromarray(rgb).save(encoded, format="PNG")
    write_atomically(path, lambda temporary: temporary.write_bytes(encoded.getbuffer()))
