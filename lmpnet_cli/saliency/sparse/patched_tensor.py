"""Send many occluded copies of one image through a network at the cost of their patches.

A patch changes a window of each map; outside the window the map equals that of the unoccluded image, which goes through
the network once. `PatchedTensor` stands for the maps of all copies but holds their windows only. Convolutions, poolings
and pointwise functions map windows to windows; any other function receives whole maps. The numbers are the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lmpnet_cli.saliency.sparse.recording import Recording
from lmpnet_cli.saliency.sparse.windows import Cells, Kernel, Span, input_span, output_span, union

aten: Any = torch.ops.aten
_ALSO_POINTWISE = {aten._to_copy, aten.detach, aten.hardswish_, aten.hardswish}


class PatchedTensor(Tensor):
    """(N, C, H, W) maps of N occluded copies, stored as windows over the map of the unoccluded image.

    Attributes:
        recording: the source of the maps of the unoccluded image.
        base: (1, C, H, W) map of the unoccluded image.
        windows: (N, C, h, w).
        rows, columns: the positions of the windows.
    """

    recording: Recording
    base: Tensor
    windows: Tensor
    rows: Span
    columns: Span

    @staticmethod
    def __new__(cls, recording: Recording, base: Tensor, windows: Tensor, rows: Span, columns: Span) -> "PatchedTensor":
        """Create a tensor with the shape, type and device of all copies."""
        count, (channels, height, width) = len(windows), base.shape[1:]
        strides = (channels * height * width, 1, channels * width, channels)  # channels last, as returned by `whole`
        made: PatchedTensor = Tensor._make_wrapper_subclass(
            cls, (count, channels, height, width), strides=strides, dtype=base.dtype, device=base.device
        )
        made.recording = recording
        made.replace(base, windows, rows, columns)
        return made

    def replace(self, base: Tensor, windows: Tensor, rows: Span, columns: Span) -> None:
        """Replace the content, as an in-place function does."""
        self.base, self.windows, self.rows, self.columns = base, windows, rows, columns

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def whole(self) -> Tensor:
        """Return the maps as an ordinary tensor, (N, C, H, W)."""
        return self.crop(*self.full_spans())

    def full_spans(self) -> tuple[Span, Span]:
        """Return the rows and columns of windows as large as the map."""
        starts = (0,) * len(self.windows)
        height, width = self.rows.length, self.columns.length
        return Span(starts, height, height), Span(starts, width, width)

    def crop(self, rows: Span, columns: Span, padded: Tensor | None = None, pad: tuple[int, int] = (0, 0)) -> Tensor:
        """Return other windows of all copies, (N, C, h, w).

        Args:
            rows, columns: positions of these windows, counted from the first padded cell.
            padded: (1, C, H', W') the map of the unoccluded image, padded.
            pad: number of rows and columns before the map.
        """
        if padded is None and (rows, columns) == (self.rows, self.columns):
            return self.windows

        # fill the new windows from the unoccluded image
        source = self.base if padded is None else padded
        made = _flat_cells(source).index_select(0, _cell_numbers(rows.cells(), columns.cells(), source.shape[3]))

        # copy the stored windows over them, as far as they overlap
        row = self.rows.cells() + pad[0] - np.array(rows.starts)[:, None]  # (N, h) in the new windows
        column = self.columns.cells() + pad[1] - np.array(columns.starts)[:, None]  # (N, w) in the new windows
        target = _cell_numbers(np.arange(len(self))[:, None] * rows.size + row, column, columns.size)
        row_inside = (row >= 0) & (row < rows.size)
        column_inside = (column >= 0) & (column < columns.size)
        windows = _flat_cells(self.windows)
        if row_inside.all() and column_inside.all():
            made.index_copy_(0, target, windows)
        else:
            kept = torch.from_numpy((row_inside[:, :, None] & column_inside[:, None]).ravel())
            made[target[kept]] = windows[kept]
        return made.view(len(self), rows.size, columns.size, -1).permute(0, 3, 1, 2)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Handle any function that is called with patched tensors."""
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet is aten.convolution and not args[6] and isinstance(args[0], PatchedTensor):
            return _convolve(func, args)
        if packet is aten.max_pool2d_with_indices:
            size, stride, pad, dilation, _ = _with_defaults(args[1:], [None, [], 0, 1, False])
            kernels = _kernels(size, stride or size, pad, dilation)
            return _slide(func, args, lambda crop, _: func(crop, size, stride, 0, dilation), kernels, -torch.inf)
        if packet is aten.avg_pool2d:
            size, stride, pad, ceil, include, divisor = _with_defaults(args[1:], [None, [], 0, False, True, None])
            kernels = _kernels(size, stride or size, pad, 1)
            if _divides_alike(args[0], kernels, ceil, include):
                return _slide(
                    func, args, lambda crop, _: func(crop, size, stride, 0, False, True, divisor), kernels, 0.0
                )
        if packet is aten.native_batch_norm and not args[5]:
            return _batch_norm(func, *args)

        pointwise = torch.Tag.pointwise in func.tags or packet in _ALSO_POINTWISE
        pointwise &= kwargs.get("memory_format") != torch.contiguous_format  # which windows do not have
        if pointwise and isinstance(args[0], PatchedTensor) and all(map(_is_uniform, args)):
            return _pointwise(func, args, kwargs)
        return _on_whole_maps(func, args, kwargs)


def _convolve(func: Any, args: tuple[Any, ...]) -> Any:
    """Convolve the windows; a batch norm after the convolution may be folded into its weights."""
    given, weight, bias, stride, pad, dilation, *more = args
    kernels = _kernels(weight.shape[2:], stride, pad, dilation)

    def convolve(crop: Tensor, base: Tensor) -> Tensor:
        weights = given.recording.convolution_weights(base, weight, bias)
        made: Tensor = func(crop, *weights, stride, [0, 0], dilation, *more)
        return made

    return _slide(func, args, convolve, kernels, 0.0)


def _slide(
    func: Any,
    args: tuple[Any, ...],
    without_pad: Callable[[Tensor, Tensor], Any],
    kernels: tuple[Kernel, Kernel],
    fill: float,
) -> Any:
    """Convolve or pool windows that are large enough for all that the patches change.

    Args:
        without_pad: the function for (a crop of the padded maps, the resulting map of the unoccluded image).
        kernels: along rows and along columns.
        fill: the value of padded cells.
    """
    given: PatchedTensor = args[0]
    recording = given.recording
    base = recording.unoccluded(lambda: _first(func(given.base, *args[1:])))

    # which outputs change, and which inputs those are computed from
    rows = output_span(given.rows, kernels[0], base.shape[2])
    columns = output_span(given.columns, kernels[1], base.shape[3])
    wanted = input_span(rows, kernels[0]), input_span(columns, kernels[1])

    pad = kernels[0].pad, kernels[1].pad
    below = max(0, wanted[0].length - pad[0] - given.shape[2])
    right = max(0, wanted[1].length - pad[1] - given.shape[3])
    padded = None
    if any((*pad, below, right)):
        around = (pad[1], right, pad[0], below)
        padded = recording.unoccluded(lambda: functional.pad(given.base, around, value=fill))

    result = without_pad(given.crop(*wanted, padded, pad), base)
    made = PatchedTensor(recording, base, _first(result), rows, columns)
    return (made, base.new_empty(0)) if isinstance(result, tuple) else made  # the positions of maxima are not kept


def _batch_norm(func: Any, given: PatchedTensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Apply a batch norm with fixed statistics."""
    weight, bias, mean, variance, _, _, epsilon = others
    recording = given.recording
    done = recording.fold_batch_norm(given.base, weight, bias, mean, variance, epsilon)

    base = recording.unoccluded(lambda: _first(func(given.base, *others)))
    windows = given.windows if done else _first(func(given.windows, *others))
    nothing = base.new_empty(0)  # in place of the statistics of a batch
    return PatchedTensor(recording, base, windows, given.rows, given.columns), nothing, nothing


def _pointwise(func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Apply a function that sees one cell at a time to the windows."""
    patched = [argument for argument in args if isinstance(argument, PatchedTensor)]
    in_place = func._schema.is_mutable

    first = patched[0]
    rows, columns = first.rows, first.columns
    for other in patched[1:]:
        rows, columns = union(rows, other.rows), union(columns, other.columns)

    def unoccluded() -> Tensor:
        bases = _replace_patched(args, lambda tensor: tensor.base)
        if in_place:
            bases[0] = bases[0].clone()  # later passes still read what the function overwrites
        made: Tensor = func(*bases, **kwargs)
        return made

    base = first.recording.unoccluded(unoccluded)
    result = func(*_replace_patched(args, lambda tensor: tensor.crop(rows, columns)), **kwargs)
    if in_place:
        first.replace(base, result, rows, columns)
        return first
    return PatchedTensor(first.recording, base, result, rows, columns)


def _on_whole_maps(func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Apply any other function to the whole maps of all copies."""

    def whole(tensor: PatchedTensor) -> Tensor:
        # writes through a view of the windows would be lost where they are a part of the map
        return tensor.whole().clone() if func.is_view else tensor.whole()

    result = func(*_replace_patched(args, whole), **kwargs)
    if func._schema.is_mutable and isinstance(args[0], PatchedTensor):
        args[0].replace(args[0].base, result, *args[0].full_spans())
        return args[0]
    return result


def _with_defaults(given: Sequence[Any], defaults: Sequence[Any]) -> list[Any]:
    """Return the given arguments, completed by the defaults of those that were omitted."""
    return [*given, *defaults[len(given) :]]


def _flat_cells(maps: Tensor) -> Tensor:
    """Reshape (N, C, H, W) to (NHW, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _cell_numbers(rows: Cells, columns: Cells, width: int) -> Tensor:
    """Return the numbers of the cells at (N, h) rows and (N, w) columns of a map of that width, (Nhw,)."""
    return torch.from_numpy((rows[:, :, None] * width + columns[:, None]).ravel())


def _replace_patched(args: Sequence[Any], change: Callable[[PatchedTensor], Any]) -> list[Any]:
    """Return the arguments with every patched tensor replaced, also inside lists."""

    def changed(argument: Any) -> Any:
        if isinstance(argument, PatchedTensor):
            return change(argument)
        return [changed(item) for item in argument] if isinstance(argument, (list, tuple)) else argument

    return [changed(argument) for argument in args]


def _is_uniform(value: Any) -> bool:
    """Return whether a value is patched, or the same in all copies and at all positions."""
    if isinstance(value, PatchedTensor) or not isinstance(value, Tensor):
        return True
    return value.ndim == 0 or (value.ndim in (3, 4) and value.shape[-2:] == (1, 1) and value.shape[:-3] in ((), (1,)))


def _kernels(
    size: Sequence[int], stride: int | Sequence[int], pad: int | Sequence[int], dilation: int | Sequence[int]
) -> tuple[Kernel, Kernel]:
    """Return the kernel along rows and along columns; a single number applies to both."""
    values = [[value] if isinstance(value, int) else list(value) for value in (size, stride, pad, dilation)]
    return Kernel(*(value[0] for value in values)), Kernel(*(value[-1] for value in values))


def _divides_alike(given: PatchedTensor, kernels: tuple[Kernel, Kernel], ceil: bool, with_pad: bool) -> bool:
    """Return whether average pooling divides by the size of the kernel at the border as well."""
    pads = any(kernel.pad for kernel in kernels)
    fits = all(
        (length + 2 * kernel.pad - kernel.size) % kernel.stride == 0
        for length, kernel in zip(given.shape[2:], kernels, strict=True)
    )
    return (with_pad or not pads) and (fits or not ceil)


def _first(result: Any) -> Tensor:
    """Return the tensor itself, or the first one of a tuple."""
    found: Tensor = result[0] if isinstance(result, tuple) else result
    return found
