"""Decode image files safely, whoever made them, and turn them into network input.

Whatever is wrong with an image, `read_image` raises one `UnreadableImage` with the reason, and callers skip the image
with a warning. The number of pixels bounds the cost of an image: at most `BYTES_PER_PIXEL` of memory for each.
"""

import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from lmpnet_cli.config import MAX_PIXELS
from lmpnet_cli.data.listing import UnreadableImage

Rgb = NDArray[np.uint8]  # (h, w, 3) pixels

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # no others: some decoders run programs
MAX_SCANS = 200  # of a JPEG file; usual files have up to ten, and each scan is a pass over the whole image
BYTES_PER_PIXEL = 17  # of memory, at most: WebP keeps four copies of the image; docs/results/trust.md lists the others
_BASE_BYTES = 64 * 2**20  # size that a file may have whatever its number of pixels
_BLOCK_BYTES = 2**20
_MAX_ASPECT = 16  # longer images, such as panoramas, are reduced to this many times the required shorter side
_UPRIGHT = 1  # EXIF orientation of an image that is stored upright; 2 to 8 are rotated or mirrored
_SWAPPED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image, EXIF orientation applied.

    Attributes:
        rgb: (h, w, 3) pixels, possibly at a reduced scale.
        width, height: the size at full scale, in pixels.
    """

    rgb: Rgb
    width: int
    height: int


def evenly(count: int, wanted: int) -> list[int]:
    """Return at most `wanted` indices below `count`, evenly spaced, first and last included.

    >>> evenly(10, 4)
    [0, 3, 6, 9]
    """
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, wanted)).tolist()})


def read_image(path: Path, max_pixels: int = MAX_PIXELS, at_least: int | None = None) -> DecodedImage:
    """Decode an image file to RGB as a viewer shows it.

    Transparent pixels become white, 16-bit grey is scaled to 8 bit, an animation gives its first frame.

    Args:
        max_pixels: larger images are refused before they are decoded.
        at_least: where given, the result may be smaller than the file as long as its shorter side has this many
            pixels; JPEG files are then decoded at a fraction of the cost.

    Raises:
        UnreadableImage: with the reason.
    """
    with _open(path, max_pixels) as image:
        return _decode(image, at_least)


def decode_image(image: Image.Image, max_pixels: int = MAX_PIXELS, at_least: int | None = None) -> DecodedImage:
    """Return an image that Pillow has opened or made, as `read_image` does.

    Raises:
        UnreadableImage: with the reason.
    """
    try:
        if image.width * image.height > max_pixels:
            raise UnreadableImage(f"{image.width} x {image.height} pixels, more than --max-pixels {max_pixels}")
        return _decode(image, at_least)
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise any kind of exception on damaged files
        raise UnreadableImage(str(error) or type(error).__name__) from error


def image_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return width and height as a viewer shows the image, from its header (TIFF and PNG files are decoded).

    Raises:
        UnreadableImage: with the reason.
    """
    with _open(path, max_pixels) as image:
        return _upright_size(image)


@contextmanager
def _open(path: Path, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """Open an image file; every error until the end of the context becomes `UnreadableImage`."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImage("not a regular file")
        if status.st_size > _BASE_BYTES + BYTES_PER_PIXEL * max_pixels:  # some decoders read the whole file first
            raise UnreadableImage(
                f"the file has {status.st_size} bytes, more than any image of {max_pixels} pixels (--max-pixels) needs"
            )

        with path.open("rb") as file:
            image = _identify(file, path)
            if image.width * image.height > max_pixels:
                raise UnreadableImage(f"{image.width} x {image.height} pixels, more than --max-pixels {max_pixels}")
            if image.format in ("JPEG", "MPO"):
                _check_scans(file)
            yield image
    except UnreadableImage:
        raise
    except MemoryError as error:
        raise UnreadableImage("too large for the memory of this machine") from error
    except Image.DecompressionBombError as error:  # from decoders that check Pillow's limit themselves
        raise UnreadableImage("more pixels than Pillow reads") from error
    except Exception as error:  # decoders raise any kind of exception on damaged files
        reason = (isinstance(error, OSError) and error.strerror) or str(error).replace(f" {str(path)!r}", "")
        raise UnreadableImage(reason or type(error).__name__) from error


def _identify(file: IO[bytes], path: Path) -> ImageFile.ImageFile:
    """Open a file with the decoder that accepts its first bytes.

    This is `Image.open` without its limit of pixels, `Image.MAX_IMAGE_PIXELS`: that limit belongs to the whole process,
    and `max_pixels` takes its place here. (A WebP file of more than twice Pillow's limit is refused all the same.)
    """
    Image.init()
    prefix = file.read(16)
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        accepted = accept is None or accept(prefix)
        if not accepted or isinstance(accepted, str):  # a string says why this Pillow lacks the decoder
            continue
        try:
            file.seek(0)
            return factory(file, str(path))
        except (SyntaxError, IndexError, TypeError, struct.error):  # another format, as in `Image.open`
            continue
    raise UnreadableImage("not a JPEG, PNG, WebP, BMP, GIF or TIFF file that can be read")


def _check_scans(file: IO[bytes]) -> None:
    """Refuse a JPEG file of very many scans."""
    position = file.tell()
    file.seek(0)
    scans, last = 0, b""
    while block := file.read(_BLOCK_BYTES):
        scans += (last + block).count(b"\xff\xda")  # does not occur in the data of a scan
        last = block[-1:]
    file.seek(position)

    if scans > MAX_SCANS:
        raise UnreadableImage(f"a JPEG file of {scans} scans, which would take very long")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, _UPRIGHT))
    except Exception:  # the EXIF data can be damaged while the image is not
        return _UPRIGHT


def _upright_size(image: Image.Image) -> tuple[int, int]:
    if image.format in ("TIFF", "PNG"):
        # Pillow rotates TIFF files as it loads them and then forgets the orientation; EXIF data of PNG files can be
        # located behind the pixels
        image.load()
    swapped = _orientation(image) in _SWAPPED_ORIENTATIONS
    return (image.height, image.width) if swapped else (image.width, image.height)


def _decode(image: Image.Image, at_least: int | None) -> DecodedImage:
    width, height = _upright_size(image)
    rotated = _orientation(image) in range(2, 9)

    pixels = image
    if at_least:
        image.draft("RGB", (at_least, at_least))
        pixels = _reduced(image, at_least)
    if rotated:
        pixels = ImageOps.exif_transpose(pixels)
    return DecodedImage(np.ascontiguousarray(_to_rgb(pixels)), width, height)


def _reduced(image: Image.Image, at_least: int) -> Image.Image:
    """Divide both sides by the whole number that leaves the shorter one `at_least` pixels.

    `ImageOps.contain` and `Image.thumbnail` cannot do this: they need the final size, cannot reduce 16-bit and paletted
    images, and do not limit the longer side.
    """
    factor = max(1, min(image.size) // at_least)
    longest = max(factor, max(image.size) // (_MAX_ASPECT * at_least))
    factors = (longest, factor) if image.width > image.height else (factor, longest)
    if factors == (1, 1):
        return image

    if image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode.startswith("I;16"):
        image = image.convert("I")
    return image.reduce(factors)


def _to_rgb(image: Image.Image) -> Rgb:
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_rgb(image)

    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image.convert("RGB"))


def _grey_to_rgb(image: Image.Image) -> Rgb:
    """Scale 16-bit grey by its full range, and floating-point grey by its largest finite value."""
    values = np.array(image, dtype=np.float32)
    top = 65535.0 if image.mode != "F" else float(np.max(values, initial=0.0, where=np.isfinite(values)))
    with np.errstate(all="ignore"):  # infinite and tiny values, which clip handles
        values /= top or 1.0
    grey = (np.nan_to_num(values.clip(0, 1, out=values), copy=False) * 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def to_input(rgb: Rgb, size: int) -> Rgb:
    """Resize the whole image to (size, size, 3), antialiased; nothing is cropped, so maps cover the whole image."""
    resized = Image.fromarray(rgb).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized)
