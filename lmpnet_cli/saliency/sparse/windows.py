"""Where occluded copies differ from the image: a window in each copy, and how it grows from layer to layer.

All windows of a batch have the same size, so that they fit into one tensor; each has its own position.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """The rows, or the columns, of the windows of N copies.

    Attributes:
        starts: first row, or column, of each of the N windows.
        size: number of rows, or columns, of every window.
        length: number of rows, or columns, of the whole map.
    """

    starts: tuple[int, ...]
    size: int
    length: int

    def cells(self) -> Cells:
        """Return every row, or column, of every window, (N, size)."""
        return np.array(self.starts)[:, None] + np.arange(self.size)


@dataclass(frozen=True)
class Kernel:
    """A convolution or pooling along one side.

    Attributes:
        pad: number of cells added before the first one.
    """

    size: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """Return the number of cells from the first to the last that one output sees."""
        return self.dilation * (self.size - 1) + 1


def covering(parts: Iterable[tuple[int, int]], length: int) -> Span:
    """Return the smallest windows of one size that hold the cells from first to last of every copy, inside the map.

    >>> covering([(0, 1), (5, 7)], 8)
    Span(starts=(0, 5), size=3, length=8)
    """
    inside = [(max(first, 0), min(last, length - 1)) for first, last in parts]
    size = max(1, *(last - first + 1 for first, last in inside))
    return Span(tuple(min(first, length - size) for first, _ in inside), size, length)


@lru_cache(16384)
def union(first: Span, second: Span) -> Span:
    """Return windows that hold those of both."""
    pairs = zip(first.starts, second.starts, strict=True)
    return covering([(min(a, b), max(a + first.size, b + second.size) - 1) for a, b in pairs], first.length)


@lru_cache(16384)
def output_span(span: Span, kernel: Kernel, length: int) -> Span:
    """Return the outputs that see a cell of the windows.

    Output o sees the inputs from o * stride - pad on, as far as the kernel extends.

    Args:
        length: of the output.

    >>> output_span(Span((3,), 2, 10), Kernel(3, pad=1), 10)
    Span(starts=(2,), size=4, length=10)
    """
    before = kernel.extent - 1 - kernel.pad
    outputs = []
    for start in span.starts:
        first = -((before - start) // kernel.stride)
        last = (start + span.size - 1 + kernel.pad) // kernel.stride
        outputs.append((first, last))

    return covering(outputs, length)


@lru_cache(16384)
def input_span(span: Span, kernel: Kernel) -> Span:
    """Return the inputs that the outputs in the windows see, counted from the first padded cell.

    Its `length` is the number of inputs that all outputs together see.
    """
    starts = tuple(start * kernel.stride for start in span.starts)
    size = (span.size - 1) * kernel.stride + kernel.extent
    length = (span.length - 1) * kernel.stride + kernel.extent
    return Span(starts, size, length)
