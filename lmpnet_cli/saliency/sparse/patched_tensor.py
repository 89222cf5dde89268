"""Many copies of one picture, each with another patch, through a network at the cost of the patches.

A patch changes a window of each map; the rest is as in the picture without patches, which goes through the network
once. `PatchedTensor` stands for the maps of all copies but holds their windows only. Convolutions, poolings and
pointwise functions take windows to windows; any other function is given whole maps. The numbers are the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lmpnet_cli.saliency.sparse.walk import Walk
from lmpnet_cli.saliency.sparse.windows import Cells, Kernel, Span, reached, seen, union

aten: Any = torch.ops.aten
_ALSO_POINTWISE = {aten._to_copy, aten.detach, aten.hardswish_, aten.hardswish}


class PatchedTensor(Tensor):
    """(N, C, H, W) maps of N copies, as windows over the maps of the picture without patches.

    Attributes:
        walk: where the maps without patches come from.
        base: (1, C, H, W) map without patches.
        windows: (N, C, h, w).
        rows, columns: where they lie.
    """

    walk: Walk
    base: Tensor
    windows: Tensor
    rows: Span
    columns: Span

    @staticmethod
    def __new__(cls, walk: Walk, base: Tensor, windows: Tensor, rows: Span, columns: Span) -> "PatchedTensor":
        """A stand-in of the shape, type and device of all copies."""
        count, (channels, height, width) = len(windows), base.shape[1:]
        strides = (channels * height * width, 1, channels * width, channels)  # channels last, as `whole` gives them
        made: PatchedTensor = Tensor._make_wrapper_subclass(
            cls, (count, channels, height, width), strides=strides, dtype=base.dtype, device=base.device
        )
        made.walk = walk
        made._put(base, windows, rows, columns)
        return made

    def _put(self, base: Tensor, windows: Tensor, rows: Span, columns: Span) -> None:
        self.base, self.windows, self.rows, self.columns = base, windows, rows, columns

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def whole(self) -> Tensor:
        """(N, C, H, W) as an ordinary tensor."""
        return self.cut(*self.everywhere())

    def everywhere(self) -> tuple[Span, Span]:
        """Windows as large as the map."""
        starts = (0,) * len(self.windows)
        height, width = self.rows.length, self.columns.length
        return Span(starts, height, height), Span(starts, width, width)

    def cut(self, rows: Span, columns: Span, padded: Tensor | None = None, pad: tuple[int, int] = (0, 0)) -> Tensor:
        """(N, C, h, w) other windows of all copies.

        Args:
            rows, columns: where, counted from the first padded cell.
            padded: (1, C, H', W') the map without patches, padded.
            pad: rows and columns before the map.
        """
        if padded is None and (rows, columns) == (self.rows, self.columns):
            return self.windows
        ground = self.base if padded is None else padded
        made = _listed(ground).index_select(0, _numbers(rows.cells(), columns.cells(), ground.shape[3]))
        down, right = (  # of the own windows in the new ones, (N, h) and (N, w)
            own.cells() + before - np.array(new.starts)[:, None]
            for own, new, before in ((self.rows, rows, pad[0]), (self.columns, columns, pad[1]))
        )
        target = _numbers(np.arange(len(self))[:, None] * rows.size + down, right, columns.size)
        below, beside = (down >= 0) & (down < rows.size), (right >= 0) & (right < columns.size)
        windows = _listed(self.windows)
        if below.all() and beside.all():
            made.index_copy_(0, target, windows)
        else:
            kept = torch.from_numpy((below[:, :, None] & beside[:, None]).ravel())
            made[target[kept]] = windows[kept]
        return made.view(len(self), rows.size, columns.size, -1).permute(0, 3, 1, 2)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Any function that is called with patched tensors."""
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet is aten.convolution and not args[6] and isinstance(args[0], PatchedTensor):
            weight, bias, stride, pad, dilation, *more = args[1:]
            kernels = _kernels(weight.shape[2:], stride, pad, dilation)

            def convolve(crop: Tensor, base: Tensor) -> Tensor:
                own: Tensor = func(crop, *args[0].walk.convolved(base, weight, bias), stride, [0, 0], dilation, *more)
                return own

            return _slide(func, args, convolve, kernels, 0.0)
        if packet is aten.max_pool2d_with_indices:
            size, stride, pad, dilation, _ = _filled(args[1:], [None, [], 0, 1, False])
            kernels = _kernels(size, stride or size, pad, dilation)
            return _slide(func, args, lambda crop, _: func(crop, size, stride, 0, dilation), kernels, -torch.inf)
        if packet is aten.avg_pool2d:
            size, stride, pad, ceil, include, divisor = _filled(args[1:], [None, [], 0, False, True, None])
            kernels = _kernels(size, stride or size, pad, 1)
            if _full_everywhere(args[0], kernels, ceil, include):
                return _slide(
                    func, args, lambda crop, _: func(crop, size, stride, 0, False, True, divisor), kernels, 0.0
                )
        if packet is aten.native_batch_norm and not args[5]:
            return _norm(func, *args)
        pointwise = torch.Tag.pointwise in func.tags or packet in _ALSO_POINTWISE
        pointwise &= kwargs.get("memory_format") != torch.contiguous_format  # which windows do not have
        if pointwise and isinstance(args[0], PatchedTensor) and all(map(_constant, args)):
            return _pointwise(func, args, kwargs)
        # what is written through a view of the windows would be lost where they are a part of the map
        result = func(*_map(args, lambda each: each.whole().clone() if func.is_view else each.whole()), **kwargs)
        if func._schema.is_mutable and isinstance(args[0], PatchedTensor):
            rows, columns = args[0].everywhere()
            args[0]._put(args[0].base, result, rows, columns)
            return args[0]
        return result


def _filled(given: Sequence[Any], defaults: Sequence[Any]) -> list[Any]:
    return [*given, *defaults[len(given) :]]


def _listed(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (NHW, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _numbers(rows: Cells, columns: Cells, width: int) -> Tensor:
    """(N, h) rows and (N, w) columns of a map of that width -> (Nhw,) numbers of the cells."""
    return torch.from_numpy((rows[:, :, None] * width + columns[:, None]).ravel())


def _map(args: Sequence[Any], change: Callable[[PatchedTensor], Any]) -> list[Any]:
    def changed(each: Any) -> Any:
        if isinstance(each, PatchedTensor):
            return change(each)
        return [changed(item) for item in each] if isinstance(each, (list, tuple)) else each

    return [changed(each) for each in args]


def _constant(value: Any) -> bool:
    """Whether it is patched, or the same in all copies and at all places."""
    if isinstance(value, PatchedTensor) or not isinstance(value, Tensor):
        return True
    return value.ndim == 0 or (value.ndim in (3, 4) and value.shape[-2:] == (1, 1) and value.shape[:-3] in ((), (1,)))


def _kernels(
    size: Sequence[int], stride: int | Sequence[int], pad: int | Sequence[int], dilation: int | Sequence[int]
) -> tuple[Kernel, Kernel]:
    each = [[value] if isinstance(value, int) else list(value) for value in (size, stride, pad, dilation)]
    return Kernel(*(value[0] for value in each)), Kernel(*(value[-1] for value in each))


def _full_everywhere(given: PatchedTensor, kernels: tuple[Kernel, Kernel], ceil: bool, with_pad: bool) -> bool:
    """Whether a mean divides by the size of the kernel at the border too."""
    pads = any(each.pad for each in kernels)
    fits = all(
        (length + 2 * each.pad - each.size) % each.stride == 0
        for length, each in zip(given.shape[2:], kernels, strict=True)
    )
    return (with_pad or not pads) and (fits or not ceil)


def _slide(
    func: Any,
    args: tuple[Any, ...],
    without_pad: Callable[[Tensor, Tensor], Any],
    kernels: tuple[Kernel, Kernel],
    fill: float,
) -> Any:
    """A convolution or pooling of the windows, wide enough for all that it changes."""
    given: PatchedTensor = args[0]
    base = given.walk.unpatched(lambda: _first(func(given.base, *args[1:])))
    rows, columns = (
        reached(span, kernel, length)
        for span, kernel, length in zip((given.rows, given.columns), kernels, base.shape[2:], strict=True)
    )
    wanted, pad = (seen(rows, kernels[0]), seen(columns, kernels[1])), (kernels[0].pad, kernels[1].pad)
    after = [max(0, span.length - p - n) for span, p, n in zip(wanted, pad, given.shape[2:], strict=True)]
    padded = None
    if any((*pad, *after)):
        around = (pad[1], after[1], pad[0], after[0])
        padded = given.walk.unpatched(lambda: functional.pad(given.base, around, value=fill))
    result = without_pad(given.cut(*wanted, padded, pad), base)
    made = PatchedTensor(given.walk, base, _first(result), rows, columns)
    return (made, base.new_empty(0)) if isinstance(result, tuple) else made  # no places of maxima


def _norm(func: Any, given: PatchedTensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    """A batch norm with fixed statistics."""
    weight, bias, mean, variance, _, _, epsilon = others
    done = given.walk.normed(given.base, weight, bias, mean, variance, epsilon)
    base = given.walk.unpatched(lambda: _first(func(given.base, *others)))
    windows = given.windows if done else _first(func(given.windows, *others))
    nothing = base.new_empty(0)  # statistics of a batch
    return PatchedTensor(given.walk, base, windows, given.rows, given.columns), nothing, nothing


def _pointwise(func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """A function that sees one place at a time: the same function of the windows."""
    patched = [each for each in args if isinstance(each, PatchedTensor)]
    in_place = func._schema.is_mutable
    first = patched[0]
    rows, columns = first.rows, first.columns
    for other in patched[1:]:
        rows, columns = union(rows, other.rows), union(columns, other.columns)

    def unpatched() -> Tensor:
        bases = _map(args, lambda each: each.base)
        if in_place:
            bases[0] = bases[0].clone()  # what it overwrites is still read on the next way
        made: Tensor = func(*bases, **kwargs)
        return made

    base = first.walk.unpatched(unpatched)
    result = func(*_map(args, lambda each: each.cut(rows, columns)), **kwargs)
    if in_place:
        first._put(base, result, rows, columns)
        return first
    return PatchedTensor(first.walk, base, result, rows, columns)


def _first(result: Any) -> Tensor:
    found: Tensor = result[0] if isinstance(result, tuple) else result
    return found
