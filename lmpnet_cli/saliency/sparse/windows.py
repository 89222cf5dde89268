"""Where copies of one picture differ from it: a window in each copy, and how it grows from layer to layer.

All windows of a batch have the same size, so that they fit into one tensor; each has a place of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """One side of the windows of N copies.

    Attributes:
        starts: first row, or column, of each of the N windows.
        size: rows, or columns, of every window.
        length: rows, or columns, of the whole map.
    """

    starts: tuple[int, ...]
    size: int
    length: int

    def cells(self) -> Cells:
        """(N, size) every row, or column, of every window."""
        return np.array(self.starts)[:, None] + np.arange(self.size)


@dataclass(frozen=True)
class Kernel:
    """One side of a convolution or pooling; `pad` is what it adds before the first cell."""

    size: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Cells from the first to the last that one output sees."""
        return self.dilation * (self.size - 1) + 1


def covering(parts: Iterable[tuple[int, int]], length: int) -> Span:
    """The smallest windows of one size that hold the cells from first to last of every copy and lie inside the map.

    >>> covering([(0, 1), (5, 7)], 8)
    Span(starts=(0, 5), size=3, length=8)
    """
    inside = [(max(first, 0), min(last, length - 1)) for first, last in parts]
    size = max(1, *(last - first + 1 for first, last in inside))
    return Span(tuple(min(first, length - size) for first, _ in inside), size, length)


@lru_cache(16384)
def union(first: Span, second: Span) -> Span:
    """Windows that hold those of both."""
    pairs = zip(first.starts, second.starts, strict=True)
    return covering([(min(a, b), max(a + first.size, b + second.size) - 1) for a, b in pairs], first.length)


@lru_cache(16384)
def reached(span: Span, kernel: Kernel, length: int) -> Span:
    """Which outputs see a cell of the windows.

    Output o sees the inputs from o * stride - pad on, as far as the kernel reaches.

    Args:
        length: of the output.

    >>> reached(Span((3,), 2, 10), Kernel(3, pad=1), 10)
    Span(starts=(2,), size=4, length=10)
    """
    before = kernel.reach - 1 - kernel.pad
    return covering(
        [
            (-((before - start) // kernel.stride), (start + span.size - 1 + kernel.pad) // kernel.stride)
            for start in span.starts
        ],
        length,
    )


@lru_cache(16384)
def seen(span: Span, kernel: Kernel) -> Span:
    """Which inputs the outputs in the windows see, counted from the first padded cell; `length` is what they span."""
    starts = tuple(start * kernel.stride for start in span.starts)
    sizes = ((size - 1) * kernel.stride + kernel.reach for size in (span.size, span.length))
    return Span(starts, *sizes)
