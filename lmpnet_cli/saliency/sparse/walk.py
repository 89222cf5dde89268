"""The picture without patches, on its way through a network: what the ways with patches need of it."""

from collections.abc import Callable

import torch
from torch import Tensor


class Walk:
    """One way through the network after another, with the maps of the picture without patches.

    They are computed on the first way and read again on the others, which call the same functions in the same order.
    A batch norm of what the convolution before it gave is folded into that convolution on the others.

    Attributes:
        maps: without patches, of every function called.
        at: how many functions were called on this way.
        folded: weight and bias of convolutions that do the work of the norm after them, by the number of the call.
    """

    def __init__(self) -> None:
        self.maps: list[Tensor] = []
        self.at = 0
        self.recorded = False
        self.folded: dict[int, tuple[Tensor, Tensor]] = {}
        self._convolution: tuple[tuple[int, Tensor], Tensor, Tensor | None] | None = None

    def __enter__(self) -> "Walk":
        self.at = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.recorded = True

    def unpatched(self, function: Callable[[], Tensor]) -> Tensor:
        """What the next function makes of the picture without patches."""
        if not self.recorded:
            self.maps.append(function())
        self.at += 1
        return self.maps[self.at - 1]

    def convolved(self, base: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias for the convolution that was just called, and made the map `base`."""
        if not self.recorded:
            self._convolution = ((self.at, base), weight, bias)
        return self.folded.get(self.at, (weight, bias))

    def normed(
        self, base: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, epsilon: float
    ) -> bool:
        """Whether the next function, a batch norm of the map `base`, has been done by the convolution before it."""
        if self._convolution and not self.recorded:
            (at, made), filters, offset = self._convolution
            if (at, id(made)) != (self.at, id(base)):
                return False
            scale = (variance + epsilon).rsqrt() * (1 if weight is None else weight)
            shift = scale * ((0 if offset is None else offset) - mean) + (0 if bias is None else bias)
            scaled = (filters * scale[:, None, None, None]).to(filters, memory_format=torch.channels_last)
            self.folded[self.at] = (scaled, shift.to(filters))
        return self.recorded and self.at in self.folded
