"""Windows that grow through convolutions and poolings, against the cells that really change."""

import itertools

import pytest
import torch

from lmpnet_cli.saliency.sparse.windows import Kernel, Span, covering, input_span, output_span, union

KERNELS = [
    Kernel(*values)
    for values in itertools.product((1, 2, 3, 5, 7), (1, 2, 3), (0, 1, 3), (1, 2))
    if values[2] <= values[0] // 2 + 1
]


def outputs_seeing(start, size, kernel, length):
    """The outputs of a convolution with ones that are not zero when only the cells of a window are one."""
    cells = torch.zeros(1, 1, length)
    cells[..., start : start + size] = 1
    found = torch.nn.functional.conv1d(
        cells, torch.ones(1, 1, kernel.size), stride=kernel.stride, padding=kernel.pad, dilation=kernel.dilation
    )[0, 0]
    return len(found), found.nonzero().flatten().tolist()


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_the_output_span_holds_every_output_that_sees_the_window_and_hardly_more(kernel):
    length = 23
    for size in (1, 4, 9):
        starts = range(length - size + 1)
        by_start = {start: outputs_seeing(start, size, kernel, length) for start in starts}
        outputs = by_start[0][0]
        span = output_span(Span(tuple(starts), size, length), kernel, outputs)
        assert span.length == outputs
        needed = max(1, *(seeing[-1] - seeing[0] + 1 for _, seeing in by_start.values() if seeing))
        assert span.size == needed or (kernel.dilation > 1 and needed < span.size)  # holes are not told apart
        for start, first in zip(starts, span.starts, strict=True):
            assert 0 <= first <= outputs - span.size
            assert set(by_start[start][1]) <= set(range(first, first + span.size))


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_the_input_span_is_what_the_outputs_are_computed_from(kernel):
    length = 23
    outputs = (length + 2 * kernel.pad - kernel.extent) // kernel.stride + 1
    span = Span((0, outputs - 2), 2, outputs)
    found = input_span(span, kernel)
    cells = torch.arange(1.0, length + 1)[None, None]
    whole = torch.nn.functional.conv1d(
        cells, torch.ones(1, 1, kernel.size), None, kernel.stride, kernel.pad, kernel.dilation
    )[0, 0]
    padded = torch.nn.functional.pad(cells, (kernel.pad, kernel.pad))
    for start, first in zip(span.starts, found.starts, strict=True):
        crop = padded[..., first : first + found.size]
        own = torch.nn.functional.conv1d(crop, torch.ones(1, 1, kernel.size), None, kernel.stride, 0, kernel.dilation)[
            0, 0
        ]
        assert own.tolist() == whole[start : start + span.size].tolist()
    assert found.length <= length + 2 * kernel.pad


def test_windows_of_one_size_stay_inside_the_map():
    span = covering([(-3, 1), (4, 4), (6, 12)], 9)
    assert (span.starts, span.size) == ((0, 4, 6), 3)
    assert span.cells().tolist() == [[0, 1, 2], [4, 5, 6], [6, 7, 8]]


def test_union_holds_both():
    first, second = Span((0, 5), 2, 9), Span((1, 2), 4, 9)
    both = union(first, second)
    for one in (first, second):
        for own, cells in zip(both.cells().tolist(), one.cells().tolist(), strict=True):
            assert set(cells) <= set(own)
    assert both.size == 5
