"""Decode image files safely, whoever made them, and turn them into network input.

Whatever is wrong with an image, `read_image` raises one `UnreadableImage` with the reason, and callers skip the image
with a warning. The number of pixels bounds the cost of an image: at most `BYTES_PER_PIXEL` of memory for each (TIFF
files that OpenCV reads may take more for each, but not for the whole image).
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from lmpnet_cli.config import MAX_PIXELS
from lmpnet_cli.data.grey import (
    IGNORED,
    Values,
    brightest,
    range_of,
    sample,
    stated_white,
    to_bytes,
    values_of,
    zero_is_white,
)
from lmpnet_cli.data.incomplete import NOTE, ZEROS, ends_early, ends_grey, is_jpeg, remaining
from lmpnet_cli.data.kinds import HEIC, RAW, START, TIFF, Kind, kind_called, kind_of
from lmpnet_cli.data.listing import UnreadableImage
from lmpnet_cli.data.tiff import Tiff, decode

Rgb = NDArray[np.uint8]  # (h, w, 3) pixels

MAX_SCANS = 200  # of a JPEG file; usual files have up to ten, and each scan is a pass over the whole image
BYTES_PER_PIXEL = 26  # of memory, at most: JPEG 2000 with transparency; docs/results/trust.md lists the others
_BASE_BYTES = 64 * 2**20  # size that a file may have whatever its number of pixels
_BLOCK_BYTES = 2**20
_MAX_ASPECT = 16  # longer images, such as panoramas, are reduced to this many times the required shorter side
_BESIDE = 8  # images beside one whose range of grey is unknown that are read to guess it
_DIM = 64  # of 255; 16-bit colour below it is likely to have fewer bits, of which Pillow has dropped the lowest
_DIM_NOTE = "16-bit colour of which only small values are used, so the image is dark; save it with 8 bits"
_MAX_PAGES = 1000  # pages that are counted, at most
_DNG_VERSION, _SUBFILE_TYPE = 50706, 254  # tags of TIFF files
_COPY_OR_MASK = 5  # bits of the latter
_UPRIGHT = 1  # EXIF orientation of an image that is stored upright; 2 to 8 are rotated or mirrored
_SWAPPED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image, EXIF orientation applied.

    Attributes:
        rgb: (h, w, 3) pixels, possibly at a reduced scale.
        width, height: the size at full scale, in pixels.
        notes: what the user should know of the file; the same words for every file of which it is true.
    """

    rgb: Rgb
    width: int
    height: int
    notes: tuple[str, ...] = ()


def evenly(count: int, wanted: int) -> list[int]:
    """Return at most `wanted` indices below `count`, evenly spaced, first and last included.

    >>> evenly(10, 4)
    [0, 3, 6, 9]
    """
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, wanted)).tolist()})


def read_image(path: Path, max_pixels: int = MAX_PIXELS, at_least: int | None = None) -> DecodedImage:
    """Decode an image file to RGB as a viewer shows it.

    Transparent pixels become white, grey of more than 8 bits is scaled by its white (`grey.py`), an animation or a file
    of several pages gives the first one. A JPEG file that ends early is read where nearly all rows are there.

    Args:
        max_pixels: larger images are refused before they are decoded.
        at_least: where given, the result may be smaller than the file as long as its shorter side has this many
            pixels; JPEG files are then decoded at a fraction of the cost.

    Raises:
        UnreadableImage: with the reason.
    """
    with _open(path, max_pixels) as image:
        if not is_jpeg(image):
            return _decode(image, at_least, path)

        zeros = _check_scans(image)
        try:
            decoded = _decode(image, at_least)
            runs_out = ends_grey(image)
        except OSError as error:
            if not ends_early(error):
                raise
            decoded, runs_out = None, True
        if decoded and not (zeros or runs_out or "progressive" in image.info):
            return decoded

        rest, share = remaining(path.read_bytes(), at_least, runs_out)
        if decoded and share == 1:
            return decoded
        decoded = _decode(rest, at_least)
        return replace(decoded, notes=(*decoded.notes, NOTE))


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
            if isinstance(image, Tiff) and image.memory > BYTES_PER_PIXEL * max_pixels:
                raise UnreadableImage(
                    f"{image.width} x {image.height} pixels of {image.layout.bits * image.layout.samples} bits, which "
                    f"take more memory than --max-pixels {max_pixels} allows"
                )
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
    """Open a file with the decoder of its kind, which its first bytes show.

    This is `Image.open` without its limit of pixels, `Image.MAX_IMAGE_PIXELS`: that limit belongs to the whole process,
    and `max_pixels` takes its place here. (A WebP file of more than twice Pillow's limit is refused all the same.)
    """
    named, kind = kind_called(path.name), kind_of(file.read(START))
    file.seek(0)
    if named == RAW and kind in (TIFF, None):
        kind = RAW
    if kind is None:
        kind = named if named and not named.decoder else None
    if kind is None:
        raise UnreadableImage("not an image that can be read")
    if not kind.decoder:
        raise UnreadableImage(f"a file of the kind {kind.name}, which lmpnet does not read: {kind.advice}")

    if kind != TIFF:
        return _decoder(kind)(file, str(path))
    image = Tiff(file, str(path))
    if _DNG_VERSION in image.tag_v2:
        raise UnreadableImage(f"a file of the kind {RAW.name}, which lmpnet does not read: {RAW.advice}")
    image.check()
    return image


def _decoder(kind: Kind) -> Callable[[IO[bytes], str], ImageFile.ImageFile]:
    """Return what opens files of a kind.

    Raises:
        UnreadableImage: where the package for it is not installed.
    """
    if kind == HEIC:
        return _open_heif
    missing = UnreadableImage(f"a file of the kind {kind.name}: {kind.advice}")
    Image.init()
    factory, accept = Image.OPEN.get(kind.decoder, (None, None))
    if factory is None or (accept is not None and isinstance(accept(b"\0" * 32), str)):  # a string says what is missing
        raise missing
    return factory


def _open_heif(file: IO[bytes], _: str) -> ImageFile.ImageFile:
    """Open a HEIC file. Its decoder is not registered with Pillow, which belongs to the whole process."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UnreadableImage(f"a file of the kind {HEIC.name}: {HEIC.advice}") from error
    try:
        opened: ImageFile.ImageFile = HeifImageFile(file)  # type: ignore[no-untyped-call]
    except Exception as error:  # of the decoder, on a damaged file
        raise UnreadableImage(f"a file of the kind {HEIC.name} that pillow-heif cannot read: {error}") from error
    return opened


def _check_scans(image: ImageFile.ImageFile) -> bool:
    """Refuse a JPEG file of very many scans, and return whether there are many zeros among its pixels."""
    file = cast(IO[bytes], image.fp)
    position = file.tell()  # behind the header, which may contain thumbnails and zeros
    scans, zeros, last = 1, False, b""
    while block := file.read(_BLOCK_BYTES):
        scans += (last[-1:] + block).count(b"\xff\xda")  # does not occur in the data of a scan
        zeros = zeros or ZEROS in last + block
        last = block[1 - len(ZEROS) :]
    file.seek(position)

    if scans > MAX_SCANS:
        raise UnreadableImage(f"a JPEG file of {scans} scans, which would take very long")
    return zeros


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


def _decode(image: Image.Image, at_least: int | None, path: Path | None = None) -> DecodedImage:
    """Decode an opened image; `path` is its file, where it has one."""
    deep_colour = _is_deep_colour(image)
    width, height = _upright_size(image)
    rotated = _orientation(image) in range(2, 9)

    pixels, note = image, ""
    values = values_of(image)
    if deep_colour and _upper_bits(image) < _DIM:
        values, note = _deep_colour(image, path), _DIM_NOTE
    if values is not None:
        pixels, note = _with_8_bits(image, values, path)
        if rotated:
            pixels.info["exif"] = image.getexif().tobytes()

    if at_least:
        image.draft("RGB", (at_least, at_least))
        pixels = _reduced(pixels, at_least)
    if rotated:
        pixels = ImageOps.exif_transpose(pixels)
    rgb = np.ascontiguousarray(_to_rgb(pixels))
    return DecodedImage(rgb, width, height, tuple(filter(None, (note, _pages_note(image)))))


def _with_8_bits(image: Image.Image, values: Values, path: Path | None) -> tuple[Image.Image, str]:
    """Return an image whose values have more than 8 bits as one of 8, with a note where its range is a guess."""
    tags = getattr(image, "tag_v2", {})
    beside = partial(_brightest_beside, path, _type_of(values))
    black, white, note = range_of(sample(values), stated_white(tags), beside)
    pixels = to_bytes(values, black, white)
    return Image.fromarray(255 - pixels if zero_is_white(tags) else pixels), note


def _is_deep_colour(image: Image.Image) -> bool:
    """Return whether Pillow will read only the upper 8 of 16 bits of an image that is not decoded yet."""
    return image.mode.startswith("RGB") and any(";16" in str(tile) for tile in getattr(image, "tile", ()))


def _upper_bits(image: Image.Image) -> int:
    """Return the largest value of a colour image of 8 bits but for `IGNORED` pixels."""
    counts = np.reshape(image.histogram(), (-1, 256))[:3].sum(axis=0)
    as_bright = counts[::-1].cumsum()[::-1]
    return int(np.flatnonzero(as_bright > IGNORED * as_bright[0])[-1])


def _deep_colour(image: Image.Image, path: Path | None) -> Values | None:
    """Return all bits of an image of 16-bit colour; None where OpenCV does not give the same pixels as Pillow."""
    in_planes = isinstance(image, Tiff) and image.layout.in_planes
    if path is None or in_planes or image.has_transparency_data:
        return None
    values = decode(path.read_bytes())
    return values if values is not None and values.shape == (image.height, image.width, 3) else None


def _type_of(values: Values) -> str:
    return f"{values.dtype.name} {values.ndim}"


def _brightest_beside(path: Path | None, kind: str) -> float:
    """Return the largest value in some images of the same folder, suffix and type of pixels."""
    return 0.0 if path is None else _brightest_in(path.parent, path.suffix, kind)


@lru_cache(maxsize=256)
def _brightest_in(folder: Path, suffix: str, kind: str) -> float:
    with os.scandir(folder) as entries:
        names = sorted(each.name for each in entries if Path(each.name).suffix == suffix and not each.is_symlink())
    largest = 0.0
    for index in evenly(len(names), _BESIDE) if names else ():
        try:
            with _open(folder / names[index], MAX_PIXELS) as image:
                other, bright = _brightness(image)
        except UnreadableImage:
            continue
        largest = max(largest, bright if other == kind else 0)
    return largest


def _brightness(image: Image.Image) -> tuple[str, float]:
    """Return the type of the pixels of an image of more than 8 bits and its largest value; of 8 bits, none and 0."""
    if _is_deep_colour(image):
        image.load()
        return "uint16 3", 256 * _upper_bits(image) + 255
    values = values_of(image)
    return ("", 0) if values is None else (_type_of(values), brightest(sample(values)))


def _pages_note(image: Image.Image) -> str:
    """Return a note on what a decoded file contains besides its first image."""
    if image.format == "TIFF" and (pages := _pages(image)) > 1:
        return f"a file of {pages} pages, of which only the first is read"
    animated = image.format in ("GIF", "PNG", "WEBP") and getattr(image, "is_animated", False)
    return "an animation, of which only the first frame is read" if animated else ""


def _pages(image: Image.Image) -> int:
    """Return the number of pages of a decoded TIFF file, without smaller copies and masks of other pages."""
    pages = 0
    try:
        for number in range(_MAX_PAGES):
            image.seek(number)
            tags: Any = getattr(image, "tag_v2", {})
            pages += not (int(tags.get(_SUBFILE_TYPE, 0)) & _COPY_OR_MASK)
    except Exception:  # the end of the file, or a damaged page that is not read
        return pages
    return pages


def _reduced(image: Image.Image, at_least: int) -> Image.Image:
    """Divide both sides by the whole number that leaves the shorter one `at_least` pixels.

    `ImageOps.contain` and `Image.thumbnail` cannot do this: they need the final size, cannot reduce paletted images,
    and do not limit the longer side.
    """
    factor = max(1, min(image.size) // at_least)
    longest = max(factor, max(image.size) // (_MAX_ASPECT * at_least))
    factors = (longest, factor) if image.width > image.height else (factor, longest)
    if factors == (1, 1):
        return image

    if image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.reduce(factors)


def _to_rgb(image: Image.Image) -> Rgb:
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image.convert("RGB"))


def to_input(rgb: Rgb, size: int) -> Rgb:
    """Resize the whole image to (size, size, 3), antialiased; nothing is cropped, so maps cover the whole image."""
    resized = Image.fromarray(rgb).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized)
