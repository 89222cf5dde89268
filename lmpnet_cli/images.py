"""From names to pixels: list images in a fixed order, decode them safely, turn them into network input.

Nothing here raises on one bad picture: `read_image` says what is wrong in one `UnreadableImage`, and callers skip and
name it.
"""

import os
import stat
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lmpnet_cli.errors import InputError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_SWAPPED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF values that turn the picture by 90 degrees
_ORIENTATION_TAG = 0x0112

Image.MAX_IMAGE_PIXELS = None  # read_image has its own limit, which can be set and gives a reason


class UnreadableImage(Exception):  # noqa: N818 (a reason to skip one picture, no error of the run)
    """A picture that cannot be decoded; the message is the reason, without the file name."""


@dataclass(frozen=True)
class ListedImage:
    """A file and the POSIX name under which results list it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Picture:
    """A decoded picture, EXIF orientation applied.

    Attributes:
        rgb: (h, w, 3) pixels, perhaps at a reduced scale.
        width, height: the size at full scale, in pixels.
    """

    rgb: NDArray[np.uint8]
    width: int
    height: int


def list_images(inputs: Iterable[str | Path]) -> list[ListedImage]:
    """All images of folders (searched in depth) and single files, sorted by their POSIX relative path.

    Names are relative to the folder; with several inputs, to the folder that holds them all, so that no two are equal.
    Hidden files and folders are left out; a file named by itself is taken whatever its extension.

    Raises:
        InputError: when an input does not exist or nothing was found.
    """
    paths = [Path(entry) for entry in inputs]
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            files.update(dict.fromkeys(_walk(path)))
        elif path.exists():
            files[path] = None
        else:
            raise InputError(f"There is no image or folder {path}. Check the spelling and the current folder.")
    if not files:
        looked = ", ".join(map(str, paths))
        raise InputError(
            f"No images in {looked} (looked for {', '.join(EXTENSIONS)}, sub-folders included). Name another folder."
        )
    root = os.path.commonpath([_absolute(path) if path.is_dir() else _absolute(path).parent for path in paths])
    listed = {_absolute(path).relative_to(root).as_posix(): path for path in files}
    return [ListedImage(listed[name], name) for name in sorted(listed)]


def evenly(count: int, wanted: int) -> list[int]:
    """So many indices out of `count`, evenly spaced, first and last included.

    >>> evenly(10, 4)
    [0, 3, 6, 9]
    """
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, wanted)).tolist()})


def _absolute(path: Path) -> Path:
    """Without `..`, which would lead a result out of its folder; links stay as they are named."""
    return Path(os.path.normpath(path.absolute()))


def _walk(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, n) for n in names if n.lower().endswith(EXTENSIONS) and not n.startswith(".")]
    return found


def read_image(path: Path, max_pixels: int = 500_000_000, at_least: int | None = None) -> Picture:
    """Decodes one picture to RGB as a viewer shows it.

    Transparent pixels lie on white, 16-bit grey is scaled to 8 bit, an animation gives its first frame.

    Args:
        max_pixels: larger pictures are refused, before they are decoded.
        at_least: where given, the result may be smaller than the file as long as its shorter side has this many
            pixels; JPEG files are then decoded at a fraction of the cost.

    Raises:
        UnreadableImage: with the reason.
    """
    with _opened(path) as image:
        return _decode(image, max_pixels, at_least)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height as a viewer shows the picture, from its header (a TIFF file is decoded).

    Raises:
        UnreadableImage: with the reason.
    """
    with _opened(path) as image:
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
def _opened(path: Path) -> Iterator[Image.Image]:
    """The opened file; whatever goes wrong with it until the end is `UnreadableImage`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImage("not a regular file")
        with _NO_WARNINGS, Image.open(path) as image:
            yield image
    except UnreadableImage:
        raise
    except MemoryError as error:
        raise UnreadableImage("too large for the memory of this machine") from error
    except Exception as error:  # decoders raise whatever they like on damaged files
        reason = (isinstance(error, OSError) and error.strerror) or str(error).replace(f" {str(path)!r}", "")
        raise UnreadableImage(reason or type(error).__name__) from error


def _upright_size(image: Image.Image) -> tuple[int, int]:
    if image.format == "TIFF":
        image.load()  # Pillow turns TIFF files itself as it loads them, and then forgets the orientation
    turned = image.getexif().get(_ORIENTATION_TAG) in _SWAPPED_ORIENTATIONS
    return (image.height, image.width) if turned else (image.width, image.height)


def _decode(image: Image.Image, max_pixels: int, at_least: int | None) -> Picture:
    if image.width * image.height > max_pixels:
        raise UnreadableImage(f"{image.width} x {image.height} pixels, more than --max-pixels {max_pixels}")
    width, height = _upright_size(image)
    picture = image
    if at_least:
        image.draft("RGB", (at_least, at_least))
        if image.mode in ("1", "P"):
            picture = image.convert("RGBA" if image.has_transparency_data else "RGB")
        factor = min(image.size) // at_least
        if factor > 1 and picture.mode in ("RGB", "RGBA", "LA", "L", "CMYK", "I", "F"):
            picture = picture.reduce(factor)
    return Picture(np.ascontiguousarray(_to_rgb(ImageOps.exif_transpose(picture))), width, height)


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float32)
        top = 65535.0 if image.mode != "F" else float(np.nanmax(values, initial=0.0))
        grey = np.nan_to_num(np.clip(values / (top or 1.0), 0, 1)) * 255
        return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image.convert("RGB"))


def to_input(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The whole picture warped to (size, size, 3), antialiased: no crop, so every pixel keeps its place in the map."""
    resized = Image.fromarray(rgb).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized)
