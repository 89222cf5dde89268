"""Read JPEG files whose data run out, as an interrupted copy leaves them, where nearly all rows are there.

libjpeg fills missing rows with grey, and reports nothing where an end marker follows the data. Which rows these are
shows when the file is decoded again with other bytes behind its data: all rows that depend on those bytes differ.

Baseline and progressive files with and without restart markers are supported. All rows from the first missing one on
count as missing, also where a restart marker follows; a progressive file whose last scan alone is cut before an end
marker lacks only the finest detail and is read without a note.
"""

import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from lmpnet_cli.data.listing import UnreadableImage

LEAST = 0.9  # share of the rows that must be there
NOTE = "the file ends early; its last rows may be wrong"
ZEROS = bytes(512)  # a sector of a disk; in the data of an image only areas of one colour are stored as so many zeros
_START, _END = b"\xff\xda", b"\xff\xd9"  # markers before each scan and at the end of a JPEG file
_MARKER = re.compile(rb"\xff[^\0]")
_SCAN = re.compile(_START + rb"..(?P<count>[\x01-\x04])", re.DOTALL)  # its components follow, with two bytes for each
_OTHER = bytes(range(1, 255)) * 16  # contains no marker, and does not decode to the same as nothing
_LAST = 16  # bytes, more than those of the last block of an area of one colour
_COEFFICIENTS = 64  # of a block


def is_jpeg(image: Image.Image) -> bool:
    """Return whether an image was opened from a JPEG file."""
    return image.format in ("JPEG", "MPO")


def ends_early(error: OSError) -> bool:
    """Return whether an error of the decoder means that a JPEG file is truncated."""
    return "truncated" in str(error)


def ends_grey(image: Image.Image) -> bool:
    """Return whether the last pixel of a decoded JPEG file is the grey that libjpeg fills missing rows with."""
    last = image.crop((image.width - 1, image.height - 1, image.width, image.height))
    return set(np.asarray(last).ravel().tolist()) in ({127}, {128})  # 127 in CMYK


def remaining(data: bytes, at_least: int | None, runs_out: bool) -> tuple[Image.Image, float]:
    """Return the image of a JPEG file up to where its data run out, not decoded yet, and its share of the rows.

    Args:
        data: the file.
        at_least: as for `read_image`.
        runs_out: whether the decoded image shows signs of missing data.

    Raises:
        UnreadableImage: where fewer than `LEAST` of its rows are there.
    """
    with JpegImageFile(io.BytesIO(data)) as image:
        start = image.fp.tell() if image.fp else 0
        coarse = bool(image.info.get("progressive"))
        wanted = _COEFFICIENTS * image.layers
    end = data.find(_END, start)
    body = data[:end] if end >= 0 else data
    zeros = body.find(ZEROS, start)
    lost = zeros >= 0 and not (end >= 0 and _are_pixels(body, zeros, at_least))
    if lost:
        body = body[:zeros]
    if lost or end < 0:
        body = body.rstrip(b"\xff")  # half a marker would join the bytes behind it
    share = 1.0
    if lost or runs_out or (coarse and _exact_coefficients(body, start) < wanted):
        share = _same_rows(_pixels(body, at_least), _pixels(body + _OTHER, at_least))
    if share < LEAST:
        what = "contains zeros in place of data" if lost else "ends early"
        raise UnreadableImage(f"the file {what}: only {share:.0%} of its rows are there")
    return JpegImageFile(io.BytesIO(body + _END)), share


def _are_pixels(body: bytes, zeros: int, at_least: int | None) -> bool:
    """Return whether zeros in the data of a JPEG file belong there.

    They do where they are padding, or where the decoder needs exactly the bytes up to the next marker: blocks decoded
    from zeros that replaced other data are practically never as many as the data stood for.
    """
    found = _MARKER.search(body, zeros)
    marker = found.start() if found else len(body)
    before, behind = body[:marker], body[marker:]
    pixels = _pixels(body, at_least)
    if np.array_equal(pixels, _pixels(body[:zeros], at_least)):
        return True
    all_read = not np.array_equal(pixels, _pixels(before[:-_LAST] + _OTHER[:_LAST] + behind, at_least))
    return all_read and np.array_equal(pixels, _pixels(before + _OTHER + behind, at_least))


def _exact_coefficients(body: bytes, start: int) -> int:
    """Return how many coefficients of the components the scans of a progressive file give to the last bit."""
    exact = 0
    for scan in _SCAN.finditer(body, body.rfind(_START, 0, start)):
        components = scan["count"][0]
        header = scan.end() + 2 * components
        first, last, bits = body[header : header + 3].ljust(3, b"\xff")
        if not bits & 15:  # bits that are left to later scans
            exact += components * (last - first + 1)
    return exact


def _same_rows(pixels: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    """Return the share of the rows above the first one that differs."""
    same = (pixels == others).reshape(len(pixels), -1).all(axis=1)
    return 1.0 if same.all() else float(np.argmin(same)) / len(same)


def _pixels(body: bytes, at_least: int | None) -> NDArray[np.uint8]:
    """Return the pixels of a JPEG file without its end marker, as they are stored."""
    with JpegImageFile(io.BytesIO(body + _END)) as image:
        if at_least:
            image.draft("RGB", (at_least, at_least))
        return np.asarray(image)
