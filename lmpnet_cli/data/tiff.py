"""TIFF files of pixels that Pillow reads wrongly or not at all: OpenCV reads them, or they are refused by name.

OpenCV reads signed, unsigned 32-bit and 64-bit numbers and floating-point colour. Refused are half-precision numbers,
grey of 16 bits with transparency and more than four channels.
"""

from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from lmpnet_cli.data.listing import UnreadableImage

_COPIES = 4  # of the numbers of a file, which are in memory at the same time while OpenCV decodes it
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _FORMAT = 258, 262, 277, 284, 339  # tags
_DTYPES: dict[tuple[int, int], np.dtype[Any]] = {
    (dtype.itemsize * 8, number): dtype
    for number, names in ((1, "u2 u4 u8"), (2, "i1 i2 i4 i8"), (3, "f4 f8"))
    for dtype in map(np.dtype, names.split())
}  # of what OpenCV reads, by the number of bits and the format
_FORMATS = {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
_COLOURS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}


@dataclass(frozen=True)
class Layout:
    """How a TIFF file stores a pixel."""

    bits: int
    format: int
    samples: int
    colour: str
    in_planes: bool

    @classmethod
    def of(cls, tags: ImageFileDirectory_v2) -> Self:
        """Return what the tags of a page state."""
        bits, number = (np.ravel(tags.get(tag, 1)).tolist() for tag in (_BITS, _FORMAT))
        colour = _COLOURS.get(tags.get(_PHOTOMETRIC, 0), "other")
        return cls(bits[0], number[0], tags.get(_SAMPLES, 1), colour, tags.get(_PLANES, 1) == 2)

    @property
    def misread(self) -> bool:
        """Return whether Pillow opens such a file and reads other numbers than it contains."""
        if self.samples == 1:
            return (self.bits, self.format) in ((8, 2), (16, 2), (32, 1))
        return self.samples == 2 and self.in_planes

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Return the type of the numbers where OpenCV reads them."""
        grey = self.samples == 1 and self.colour == "grey"
        rgb = self.samples == 3 and self.colour == "RGB" and not self.in_planes
        return _DTYPES.get((self.bits, self.format)) if grey or rgb else None

    @property
    def refusal(self) -> UnreadableImage:
        """Return the reason for which such a file is skipped."""
        numbers = f"{self.bits}-bit {_FORMATS.get(self.format, '')}{self.colour}"
        channels = "1 channel" if self.samples == 1 else f"{self.samples} channels"
        return UnreadableImage(
            f"a TIFF file of {numbers} in {channels}{' and separate planes' if self.in_planes else ''}, which lmpnet "
            "does not read: convert it to 8-bit PNG, e.g. with ImageMagick: magick in.tif -depth 8 out.png"
        )


class Tiff(TiffImageFile):
    """A TIFF file that Pillow reads, or else OpenCV, which then gives its first page as `values`.

    Attributes:
        layout: of the pixels of the page.
        by_opencv: whether Pillow does not read them.
        values: (h, w) or (h, w, 3) numbers, upright, of a file that OpenCV reads, once it is loaded.
    """

    layout: Layout
    by_opencv: bool
    values: NDArray[Any] | None = None

    def _setup(self) -> None:
        """Decide how a page is read, as Pillow does, which calls this for each one."""
        self.layout = Layout.of(self.tag_v2)
        self.by_opencv = self.layout.misread
        try:
            super()._setup()
        except SyntaxError:
            self.by_opencv = True
        if not self.by_opencv and self.layout.in_planes and self.layout.bits == 16 and not self.use_load_libtiff:
            self._read_planes_by_libtiff()
        if self.by_opencv:
            self._mode, self.tile = "F", []

    def _read_planes_by_libtiff(self) -> None:
        """Read planes of 16-bit colour with libtiff, since Pillow's own decoder takes them for planes of bytes."""
        if self.mode != "RGB":
            self.by_opencv = True
            return
        self.use_load_libtiff = True
        arguments = ("RGB;16N", False, self.tag_v2.offset)
        self.tile = [ImageFile._Tile("libtiff", (0, 0, *self._tile_size), 0, arguments)]

    @property
    def memory(self) -> int:
        """Return how many bytes of memory OpenCV takes to decode the page; 0 where Pillow decodes it."""
        bits = self.layout.bits * self.layout.samples if self.by_opencv else 0
        return _COPIES * self.width * self.height * bits // 8

    def check(self) -> None:
        """Raise `UnreadableImage` where no decoder reads the pixels."""
        if self.by_opencv and self.layout.dtype is None:
            raise self.layout.refusal

    def load(self) -> Any:
        """Decode the page."""
        if not self.by_opencv:
            return super().load()
        if self.values is None and self.fp:
            self.fp.seek(0)
            values = decode(self.fp.read())
            if values is None or values.dtype != self.layout.dtype:
                raise self.layout.refusal
            self.values = values
            self._size = values.shape[1], values.shape[0]
        return None

    def getexif(self) -> Image.Exif:
        """Return the EXIF data, without the orientation where OpenCV has applied it."""
        return Image.Exif() if self.by_opencv else super().getexif()


def decode(data: bytes) -> NDArray[Any] | None:
    """Return the (h, w) or (h, w, 3) numbers of a TIFF or PNG file as they are stored; None where OpenCV cannot."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return values[..., ::-1] if values is not None and values.ndim == 3 else values
