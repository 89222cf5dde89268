"""Pooling as a matrix-vector product (LMPNet, section 3.1, equations 1 to 3).

The maps X (B, C, H, W) are read as BC rows of HW cells; a pooling vector w turns each row x into w . x. The three kinds
differ in w alone: 1 / HW everywhere (average), or 1 at the first maximum and 0 (max) or -epsilon (leaky max) elsewhere.
Average rewards dense maps, max is indifferent, leaky max punishes them (figure 3):

>>> dense, sparse = torch.ones(1, 1, 2, 2), torch.tensor([[[[0., 0.], [0., 1.]]]])
>>> [round(float(pool(x)), 2) for pool in (average_pool, max_pool, leaky_max_pool) for x in (dense, sparse)]
[1.0, 0.25, 1.0, 1.0, 0.7, 1.0]
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

POOLINGS = ("leaky_max", "max", "average")


def average_pool(x: Tensor) -> Tensor:
    """Apply equation 1: take the mean of each map, (B, C, H, W) -> (B, C)."""
    _check(x)
    return x.mean((2, 3))


def max_pool(x: Tensor) -> Tensor:
    """Apply equation 2: take the maximum of each map, (B, C, H, W) -> (B, C); the gradient goes to the first one."""
    _check(x)
    return _maximum(x)


def leaky_max_pool(x: Tensor, epsilon: float = 0.1) -> Tensor:
    """Apply equation 3, in closed form: y = (1 + epsilon) max(x) - epsilon sum(x).

    Gradient (section 3.1): 1 for the first maximum, -epsilon for every other cell. Values are negative on dense maps.

    Args:
        x: (B, C, H, W) feature maps.
        epsilon: the leak, 0 or more; 0 is max pooling.

    Returns:
        (B, C) pooled values.

    >>> leaky_max_pool(torch.tensor([[[[1., 2.], [3., 4.]]]])).item()
    3.4000000953674316
    """
    _check(x)

    if x.requires_grad and torch.is_grad_enabled():
        pooled: Tensor = _LeakyMax.apply(x, epsilon)
        return pooled

    return (1 + epsilon) * x.amax((2, 3)) - epsilon * x.sum((2, 3))


class _LeakyMax(torch.autograd.Function):
    """Equation 3 with its gradient written out (section 3.1), which saves one pass over the maps in each direction."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float) -> Tensor:
        # among equal maxima the first in row-major order is taken
        peaks, cells = functional.adaptive_max_pool2d(x, 1, return_indices=True)
        ctx.save_for_backward(cells)
        ctx.epsilon, ctx.shape, ctx.layout = epsilon, x.shape, _layout(x)
        return (1 + epsilon) * peaks.flatten(1) - epsilon * x.sum((2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (cells,) = ctx.saved_tensors
        result = (-ctx.epsilon * gradient)[..., None, None].expand(ctx.shape).contiguous(memory_format=ctx.layout)
        if ctx.layout == torch.channels_last:
            result.permute(0, 2, 3, 1).flatten(1, 2).scatter_(1, cells.flatten(1)[:, None], gradient[:, None])
        else:
            result.flatten(2).scatter_(2, cells.flatten(2), gradient[..., None])
        return result, None


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


class LeakyMaxPool2d(nn.Module):
    """Leaky max pooling as a plug-in for any network with global pooling."""

    def __init__(self, epsilon: float = 0.1) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Pool (B, C, H, W) to (B, C)."""
        return leaky_max_pool(x, self.epsilon)

    def extra_repr(self) -> str:
        """Show epsilon in the printed network."""
        return f"epsilon={self.epsilon}"


def pooling(kind: str, epsilon: float = 0.1) -> Callable[[Tensor], Tensor]:
    """Return the pooling function of that name (one of `POOLINGS`)."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "average": average_pool,
        "max": max_pool,
        "leaky_max": partial(leaky_max_pool, epsilon=epsilon),
    }
    return functions[kind]


def _maximum(x: Tensor) -> Tensor:
    # max over one flat dimension has one argmax; amax, which is faster, shares the gradient among equal maxima
    return x.flatten(2).max(2).values if x.requires_grad else x.amax((2, 3))


def _check(x: Tensor) -> None:
    if x.ndim != 4 or x.shape[2] * x.shape[3] == 0:
        raise ValueError(f"expected maps (B, C, H, W) with at least one cell, received {tuple(x.shape)}")
