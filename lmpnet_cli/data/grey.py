"""Pixels of more than 8 bits: which value is white, and the pixels as bytes.

Cameras store 10, 12 or 14 bits in files of 16, and programs store bytes in files of 32. Where the file does not say
which value is white, it is guessed: the smallest of the usual ones that hardly any pixel exceeds, neither of this image
nor of the images beside it, which are likely to come from the same camera. So a dark image among brighter ones stays
dark. The brightest 0.01 % of the pixels do not count, since sensors have defective pixels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # of 8, 10, 12, 14 and 16 bits
IGNORED = 1e-4  # share of the pixels
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE = 258, 262, 281  # tags of TIFF files
_SAMPLE = 2**22  # values, about
_ROWS = 256  # that are converted at a time, so that memory stays small

Values = NDArray[Any]  # (h, w) or (h, w, 3)


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has pixels of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def values_of(image: Image.Image) -> Values | None:
    """Return the values of a deep image; None for another image."""
    if not is_deep(image):
        return None
    image.load()
    values: Values | None = getattr(image, "values", None)
    return np.asarray(image) if values is None else values


def sample(values: Values) -> Values:
    """Return rows of an image that tell how bright it is, evenly spaced."""
    return values[:: max(1, values.size // _SAMPLE)]


def brightest(values: Values) -> float:
    """Return the largest finite value but for `IGNORED` pixels; 0 where there is none above it."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    if not finite.size:
        return 0.0
    rank = finite.size - 1 - int(IGNORED * finite.size)
    return float(max(0, np.partition(finite, rank)[rank]))


def darkest(values: Values) -> float:
    """Return the smallest value but for `IGNORED` pixels of signed whole numbers, else 0; 0 where none is below it."""
    if values.dtype.kind != "i" or not values.size:
        return 0.0
    rank = int(IGNORED * values.size)
    return float(min(0, np.partition(values.ravel(), rank)[rank]))


def range_of(values: Values, stated: float | None, brightest_beside: Callable[[], float]) -> tuple[float, float, str]:
    """Return which values of an image are black and white, with a note for the user where they are a guess.

    Args:
        stated: the value of white that the file states.
        brightest_beside: returns the largest value in the images beside it.
    """
    whites = _whites(values.dtype)
    if stated and stated <= whites[-1]:
        return 0, stated, ""

    colour = "grey" if values.ndim == 2 else "colour"
    black, largest = darkest(values), brightest(values)
    if black < 0:
        return black, largest, f"{colour} with negative values, read from its darkest to its brightest pixels"
    if values.dtype.kind == "f" and (largest <= 1 or not _whole(values)):  # shares of white, or a measured quantity
        white = max(1.0, largest, brightest_beside() if largest > 1 else 0)
        return 0, white, "" if white == 1 else f"floating-point {colour}, read relative to its brightest pixels"

    if whites[-1] >= largest > max(whites[:-1], default=0):
        return 0, whites[-1], ""
    largest = max(largest, brightest_beside())
    white = next((white for white in whites if white >= largest), largest)
    if white > whites[-1]:
        return 0, white, f"{colour} of more than 16 bits, read relative to its brightest pixels"
    note = f"{colour} whose values are far below {whites[-1]:.0f}, read with {white:.0f} as white"
    return 0, white, "" if white == whites[-1] else note


def _whites(dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return the usual values of white that numbers of a type can have, up to those of 16 bits."""
    most = min(WHITES[-1], float(np.iinfo(dtype).max)) if dtype.kind in "iu" else WHITES[-1]
    return (*(white for white in WHITES if 2 * white < most), most)


def stated_white(tags: Mapping[int, Any]) -> float | None:
    """Return the value of white that the tags of a TIFF file state; None where it is that of its type of numbers."""
    for tag, value_of in ((_MAX_SAMPLE_VALUE, float), (_BITS_PER_SAMPLE, lambda bits: float(2**bits - 1))):
        stated = tags.get(tag)
        first = stated[0] if isinstance(stated, tuple) and stated else stated
        if isinstance(first, int) and 0 < first < (2**16 if tag == _MAX_SAMPLE_VALUE else 16):
            return value_of(first)
    return None


def zero_is_white(tags: Mapping[int, Any]) -> bool:
    """Return whether the tags of a TIFF file state that 0 is white."""
    return tags.get(_PHOTOMETRIC) == 0


def _whole(values: Values) -> bool:
    finite = values[np.isfinite(values)]
    return bool((finite == np.round(finite)).all())


def to_bytes(values: Values, black: float, white: float) -> NDArray[np.uint8]:
    """Return values as bytes, black as 0 and white as 255; NaN is black, and values beyond are clipped."""
    pixels = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _ROWS):
        rows = values[top : top + _ROWS].astype(np.float32)
        with np.errstate(all="ignore"):  # infinite and tiny values, which clip handles
            rows = (rows - np.float32(black)) / np.float32(white - black or 1)
        pixels[top : top + _ROWS] = np.rint(np.nan_to_num(rows.clip(0, 1)) * 255)
    return pixels
