"""The maps of the unoccluded image, which the passes with patches need."""

from collections.abc import Callable

import torch
from torch import Tensor


class Recording:
    """Maps of the unoccluded image, recorded in the first forward pass and replayed in all others.

    All passes must call the same functions in the same order. A batch norm directly after a convolution is folded into
    that convolution for all passes but the first.

    Attributes:
        maps: without patches, one for each function called.
        position: number of functions called in this pass.
        complete: whether the first pass is over.
        folded: weight and bias of convolutions that include the batch norm after them, by the number of the call.
    """

    def __init__(self) -> None:
        self.maps: list[Tensor] = []
        self.position = 0
        self.complete = False
        self.folded: dict[int, tuple[Tensor, Tensor]] = {}
        self._last_convolution: tuple[tuple[int, Tensor], Tensor, Tensor | None] | None = None

    def __enter__(self) -> "Recording":
        """Begin a pass."""
        self.position = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.complete = True

    def unoccluded(self, function: Callable[[], Tensor]) -> Tensor:
        """Return what the next function makes of the unoccluded image; call `function` in the first pass only."""
        if not self.complete:
            self.maps.append(function())
        self.position += 1
        return self.maps[self.position - 1]

    def convolution_weights(self, base: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias for the convolution that was just called and made the map `base`."""
        if not self.complete:
            self._last_convolution = ((self.position, base), weight, bias)
        return self.folded.get(self.position, (weight, bias))

    def fold_batch_norm(
        self, base: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, epsilon: float
    ) -> bool:
        """Fold a batch norm of the map `base` into the convolution before it, if there is one.

        Returns:
            Whether that convolution has already done the work of this batch norm in the current pass.
        """
        if self._last_convolution and not self.complete:
            (position, output), filters, offset = self._last_convolution
            if (position, id(output)) != (self.position, id(base)):
                return False

            scale = (variance + epsilon).rsqrt() * (1 if weight is None else weight)
            shift = scale * ((0 if offset is None else offset) - mean) + (0 if bias is None else bias)
            scaled = (filters * scale[:, None, None, None]).to(filters, memory_format=torch.channels_last)
            self.folded[self.position] = (scaled, shift.to(filters))
        return self.complete and self.position in self.folded
