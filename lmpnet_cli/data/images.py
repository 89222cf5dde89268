"""From files to pixels: decode pictures safely, whoever made them, and turn them into network input.

Whatever is wrong with a picture, `read_image` says so in one `UnreadableImage`, and callers skip and name it. What a
picture may cost is bounded by its number of pixels: at most `BYTES_A_PIXEL` of memory for each.
"""

import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lmpnet_cli.config import MAX_PIXELS
from lmpnet_cli.data.listing import UnreadableImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # no others: some decoders run programs
SCANS = 200  # of a JPEG file; usual ones have up to ten, and each is a pass over the whole picture
_BLOCK = 2**20
BYTES_A_PIXEL = 17  # of memory, at most: WebP takes four copies of the picture; docs/results/trust.md has the others
_ANY_FILE = 64 * 2**20  # bytes that a file of any number of pixels may have
_LONGEST = 16  # times the shorter side that is needed: longer pictures, such as panoramas, are reduced on that side
_TURNS = {  # EXIF orientation: what brings the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPED_ORIENTATIONS = (5, 6, 7, 8)  # those that turn it by 90 degrees
_ORIENTATION_TAG = 0x0112

Rgb = NDArray[np.uint8]
OVERLAY_SIDE = 1024  # longer side of an overlay; images are decoded with at least so many pixels

Image.MAX_IMAGE_PIXELS = None  # read_image has its own limit, which can be set and gives a reason


@dataclass(frozen=True)
class DecodedImage:
    """A decoded picture, EXIF orientation applied.

    Attributes:
        rgb: (h, w, 3) pixels, perhaps at a reduced scale.
        width, height: the size at full scale, in pixels.
    """

    rgb: NDArray[np.uint8]
    width: int
    height: int


def evenly(count: int, wanted: int) -> list[int]:
    """So many indices out of `count`, evenly spaced, first and last included.

    >>> evenly(10, 4)
    [0, 3, 6, 9]
    """
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, wanted)).tolist()})


def read_image(path: Path, max_pixels: int = MAX_PIXELS, at_least: int | None = None) -> DecodedImage:
    """Decodes one picture to RGB as a viewer shows it.

    Transparent pixels lie on white, 16-bit grey is scaled to 8 bit, an animation gives its first frame.

    Args:
        max_pixels: larger pictures are refused, before they are decoded.
        at_least: where given, the result may be smaller than the file as long as its shorter side has this many
            pixels; JPEG files are then decoded at a fraction of the cost.

    Raises:
        UnreadableImage: with the reason.
    """
    with _opened(path, max_pixels) as image:
        return _decode(image, at_least)


def decode_image(image: Image.Image, max_pixels: int = MAX_PIXELS, at_least: int | None = None) -> DecodedImage:
    """Return an image that Pillow has opened or made, as `read_image` does.

    Raises:
        UnreadableImage: with the reason.
    """
    try:
        with _NO_WARNINGS:
            if image.width * image.height > max_pixels:
                raise UnreadableImage(f"{image.width} x {image.height} pixels, more than --max-pixels {max_pixels}")
            return _decode(image, at_least)
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise UnreadableImage(str(error) or type(error).__name__) from error


def image_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height as a viewer shows the picture, from its header (a TIFF file is decoded).

    Raises:
        UnreadableImage: with the reason.
    """
    with _opened(path, max_pixels) as image:
        return _upright_size(image)


class _NoWarnings:
    """Ignores damaged EXIF and the like: the limits here decide, not warnings.

    Warnings belong to the whole process, so threads that decode side by side share one context.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._context = warnings.catch_warnings()
                self._context.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._context.__exit__(None, None, None)


_NO_WARNINGS = _NoWarnings()


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """The opened file; whatever goes wrong with it until the end is `UnreadableImage`."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImage("not a regular file")
        if status.st_size > _ANY_FILE + BYTES_A_PIXEL * max_pixels:  # some decoders read the whole file first
            raise UnreadableImage(f"a file of {status.st_size} bytes, too large for a picture of --max-pixels")
        with _NO_WARNINGS, Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise UnreadableImage(f"{image.width} x {image.height} pixels, more than --max-pixels {max_pixels}")
            _check_scans(path, image)
            yield image
    except UnreadableImage:
        raise
    except MemoryError as error:
        raise UnreadableImage("too large for the memory of this machine") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage("not a JPEG, PNG, WebP, BMP, GIF or TIFF file that can be read") from error
    except Exception as error:  # decoders raise whatever they like on damaged files
        reason = (isinstance(error, OSError) and error.strerror) or str(error).replace(f" {str(path)!r}", "")
        raise UnreadableImage(reason or type(error).__name__) from error


def _check_scans(path: Path, image: Image.Image) -> None:
    if image.format not in ("JPEG", "MPO"):
        return
    scans, last = 0, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            scans += (last + block).count(b"\xff\xda")  # the data within a scan hold none
            last = block[-1:]
    if scans > SCANS:
        raise UnreadableImage(f"a JPEG file of {scans} scans, which would take very long")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # EXIF data are often damaged, and the picture is not
        return 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    if image.format in ("TIFF", "PNG"):
        # Pillow turns TIFF files itself as it loads them, and then forgets the orientation; EXIF data of PNG files may
        # stand behind the pixels
        image.load()
    turned = _orientation(image) in _SWAPPED_ORIENTATIONS
    return (image.height, image.width) if turned else (image.width, image.height)


def _decode(image: Image.Image, at_least: int | None) -> DecodedImage:
    width, height = _upright_size(image)
    picture = image
    turn = _TURNS.get(_orientation(image))
    if at_least:
        image.draft("RGB", (at_least, at_least))
        picture = _reduced(image, at_least)
    if turn is not None:
        picture = picture.transpose(turn)
    return DecodedImage(np.ascontiguousarray(_to_rgb(picture)), width, height)


def _reduced(image: Image.Image, at_least: int) -> Image.Image:
    """Both sides divided by the whole number that leaves the shorter one `at_least` pixels, before anything else."""
    factor = max(1, min(image.size) // at_least)
    longest = max(factor, max(image.size) // (_LONGEST * at_least))
    factors = (longest, factor) if image.width > image.height else (factor, longest)
    if factors == (1, 1):
        return image
    if image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode.startswith("I;16"):
        image = image.convert("I")
    return image.reduce(factors)


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.array(image, dtype=np.float32)
        top = 65535.0 if image.mode != "F" else float(np.max(values, initial=0.0, where=np.isfinite(values)))
        values /= top or 1.0
        grey = (np.nan_to_num(values.clip(0, 1, out=values), copy=False) * 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image.convert("RGB"))


def to_input(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The whole picture warped to (size, size, 3), antialiased: no crop, so every pixel keeps its place in the map."""
    resized = Image.fromarray(rgb).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized)
