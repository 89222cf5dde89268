"""Grey of more than 8 bits: which value is white, and the pixels as bytes.

Cameras store 10, 12 or 14 bits in files of 16, and programs store bytes in files of 32. Where the file does not say
which value is white, it is guessed: the smallest of the usual ones that no pixel exceeds, neither of this image nor of
the images beside it, which are likely to come from the same camera. So a dark image among brighter ones stays dark.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # of 8, 10, 12, 14 and 16 bits
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE = 258, 262, 281  # tags of TIFF files


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has one channel of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def brightest(image: Image.Image) -> float:
    """Return the largest finite value of a deep image; 0 where there is none above it."""
    values = np.asarray(image)
    if image.mode != "F":
        return float(max(0, values.max(initial=0)))
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))


def white_of(image: Image.Image, brightest_beside: Callable[[], float]) -> tuple[float, str]:
    """Return the value of white in a deep image, with a note for the user where it is a guess.

    Args:
        brightest_beside: returns the largest value in the images beside it.
    """
    stated = _stated_white(image)
    if stated:
        return stated, ""

    largest = brightest(image)
    if image.mode == "F" and (largest <= 1 or not _whole(image)):  # shares of white, or a measured quantity
        white = max(1.0, largest, brightest_beside() if largest > 1 else 0)
        return white, "" if white == 1 else "floating-point grey, read relative to its brightest pixel"

    if WHITES[-2] < largest <= WHITES[-1]:
        return WHITES[-1], ""
    largest = max(largest, brightest_beside())
    white = next((white for white in WHITES if white >= largest), largest)
    if white > WHITES[-1]:
        return white, "grey of more than 16 bits, read relative to its brightest pixel"
    note = f"grey whose values are far below {WHITES[-1]:.0f}, read with {white:.0f} as white"
    return white, "" if white == WHITES[-1] else note


def _stated_white(image: Image.Image) -> float | None:
    """Return the value of white that a TIFF file states; None where it states no more than its type of numbers."""
    tags = getattr(image, "tag_v2", {})
    for tag, value_of in ((_MAX_SAMPLE_VALUE, float), (_BITS_PER_SAMPLE, lambda bits: float(2**bits - 1))):
        stated = tags.get(tag)
        first = stated[0] if isinstance(stated, tuple) and stated else stated
        if isinstance(first, int) and 0 < first < (2**16 if tag == _MAX_SAMPLE_VALUE else 16):
            return value_of(first)
    return None


def zero_is_white(image: Image.Image) -> bool:
    """Return whether a TIFF file states that 0 is white."""
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def _whole(image: Image.Image) -> bool:
    values = np.asarray(image)
    finite = values[np.isfinite(values)]
    return bool((finite == np.round(finite)).all())


def grey_to_rgb(image: Image.Image, white: float, inverted: bool = False) -> NDArray[np.uint8]:
    """Return the (h, w, 3) bytes of a deep image; NaN and negative values are black.

    Args:
        inverted: 0 is white and `white` is black, as a TIFF file may state.
    """
    values = np.array(image, dtype=np.float32)
    with np.errstate(all="ignore"):  # infinite and tiny values, which clip handles
        values /= white or 1.0
    grey = (np.nan_to_num(values.clip(0, 1, out=values), copy=False) * 255).round().astype(np.uint8)
    return np.repeat((255 - grey if inverted else grey)[..., None], 3, axis=2)
