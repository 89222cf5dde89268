"""Read JPEG files that end early, as an interrupted copy leaves them, where nearly all rows are there.

libjpeg fills the rows that are missing. Which ones these are shows when the file is decoded again with other bytes
behind its end: all rows that depend on those bytes differ.
"""

import io

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from lmpnet_cli.data.listing import UnreadableImage

LEAST = 0.9  # share of the rows that must be there
NOTE = "the file ends early; its last rows may be wrong"
_END = b"\xff\xd9"  # the marker at the end of a JPEG file
_OTHER = b"\x55" * 4096  # contains no marker, and does not decode to the same as nothing


def ends_early(image: Image.Image, error: Exception) -> bool:
    """Return whether an error of the decoder means that a JPEG file is truncated."""
    return image.format in ("JPEG", "MPO") and isinstance(error, OSError) and "truncated" in str(error)


def complete(data: bytes, at_least: int | None) -> Image.Image:
    """Return the image of a JPEG file that ends early, not decoded yet.

    Args:
        data: the file.
        at_least: as for `read_image`.

    Raises:
        UnreadableImage: where fewer than `LEAST` of its rows are there.
    """
    data = data.rstrip(b"\xff")  # half a marker would join the bytes behind it
    rows = [_rows(data + tail, at_least) for tail in (_END, _OTHER + _END)]
    same = (rows[0] == rows[1]).all(axis=1)
    share = float(same.mean()) if same.all() else float(np.argmin(same)) / len(same)
    if share < LEAST:
        raise UnreadableImage(f"the file ends early: only {share:.0%} of its rows are there")
    return JpegImageFile(io.BytesIO(data + _END))


def _rows(data: bytes, at_least: int | None) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return the (h, w) grey pixels as they are stored."""
    with JpegImageFile(io.BytesIO(data)) as image:
        if at_least:
            image.draft("RGB", (at_least, at_least))
        return np.asarray(image.convert("L"))
