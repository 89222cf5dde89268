"""Fine scale: guided backpropagation from a class to the pixels (poster, "guided backpropagation").

At every ReLU a gradient passes only where the forward input was positive and the incoming gradient is positive,
R_l = (f_l > 0) (R_{l+1} > 0) R_{l+1}. The rule is applied to the function calls of one forward pass, not to modules:
this covers ReLUs that are reused, work in place or are plain function calls, and leaves nothing to restore.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lmpnet_cli.errors import OptionError
from lmpnet_cli.saliency.occlusion import Classify, log_odds

_RELUS: set[Any] = {functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
_IN_PLACE: set[Any] = {functional.relu_, torch.relu_, Tensor.relu_}
_CLIPPED: set[Any] = {functional.hardtanh, functional.hardtanh_, functional.relu6}
_CLAMPS: set[Any] = {torch.clamp, torch.clamp_, torch.clip, torch.clip_, torch.clamp_min, torch.clamp_min_} | {
    Tensor.clamp, Tensor.clamp_, Tensor.clip, Tensor.clip_, Tensor.clamp_min, Tensor.clamp_min_
}  # fmt: skip
_SIGMOIDS: set[Any] = {torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, Tensor.sigmoid_, functional.sigmoid}
_PRODUCTS: set[Any] = {torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__}
_OTHERS: dict[Any, str] = {
    getattr(functional, name): name
    for name in ("gelu", "silu", "hardswish", "mish", "elu", "celu", "selu", "leaky_relu", "prelu", "rrelu", "softplus")
} | {getattr(torch, name): name for name in ("selu", "celu", "rrelu", "prelu")}


class _GuidedReLU(torch.autograd.Function):
    """Compute min(max(x, 0), top); the backward pass follows the guided rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, top: float) -> Tensor:
        ctx.save_for_backward((x > 0) & (x < top))
        return x.clamp(0, top)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        (open_,) = ctx.saved_tensors
        return gradient.clamp(min=0) * open_, None


class GuidedReLUs(TorchFunctionMode):
    """Make every ReLU (and ReLU6) follow the guided rule while this mode is active.

    Attributes:
        relu_calls: number of ReLUs called so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.relu_calls = 0
        self._last_sigmoid: tuple[Any, Any] = (None, None)  # its input and output

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _OTHERS:
            raise _not_guided(f"calls {_OTHERS[func]}")

        if func in _RELUS:
            in_place = func in _IN_PLACE or kwargs.get("inplace", False)
            return self._guided(args[0] if args else kwargs["input"], float("inf"), in_place)
        if func in _CLIPPED:
            return self._clipped(func, *args, **kwargs)
        if func in _CLAMPS:
            return self._clamped(func, *args, **kwargs)

        # SiLU written out, x * sigmoid(x), is recognised by its two factors
        if func in _PRODUCTS and {id(factor) for factor in args} == {id(tensor) for tensor in self._last_sigmoid}:
            raise _not_guided("multiplies x by sigmoid(x)")

        result = func(*args, **kwargs)
        if func in _SIGMOIDS:
            self._last_sigmoid = (args[0] if args else kwargs["input"], result)
        return result

    def _clamped(self, func: Callable[..., Any], input: Tensor, min: Any = None, max: Any = None, **kwargs: Any) -> Any:
        """Treat a clamp with the lower bound 0 as a ReLU; leave any other clamp as it is."""
        names = ("min",) if "clamp_min" in func.__name__ else ("min", "max")
        if isinstance(min, Tensor) or isinstance(max, Tensor) or min != 0 or kwargs:
            return func(input, **dict(zip(names, (min, max), strict=False)), **kwargs)
        return self._guided(input, float("inf") if max is None else float(max), func.__name__.endswith("_"))

    def _clipped(
        self,
        func: Callable[..., Any],
        input: Tensor,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
    ) -> Tensor:
        """Treat hardtanh with the lower bound 0, such as ReLU6, as a ReLU; refuse any other."""
        if func is functional.relu6:
            min_val, max_val = 0.0, 6.0
        if min_val != 0:
            raise _not_guided(f"clips at {min_val:g}")
        return self._guided(input, max_val, inplace or func is functional.hardtanh_)

    def _guided(self, x: Tensor, top: float, in_place: bool) -> Tensor:
        self.relu_calls += 1
        result: Tensor = _GuidedReLU.apply(x, top)
        # code that reads the input again after an in-place ReLU must see the rectified values
        return x.copy_(result) if in_place else result


def _not_guided(reason: str) -> OptionError:
    return OptionError(
        f"Guided backpropagation needs a network with ReLUs, but this network {reason}. Choose a classifier with "
        "ReLUs, such as a ResNet, a VGG or MobileNetV2."
    )


def guided_gradients(classify: Classify, images: Tensor, target: Tensor) -> Tensor:
    """Return the guided gradient of the target's log-odds, clipped at 0, as the maximum over the colour channels.

    The map of the probability, or of its logarithm, differs by a positive factor only, but that factor underflows when
    the classifier is certain (docs/papers.md P5; P6 for the colour channels).

    Args:
        images: (B, 3, S, T) RGB bytes.
        target: (B,) class to start from, normally the predicted one.

    Returns:
        (B, S, T), never negative.

    Raises:
        OptionError: if the network has no ReLUs, or has other activations (docs/papers.md P13).
    """
    with torch.inference_mode(False), torch.enable_grad():
        pixels = images.detach().clone().float().requires_grad_()
        with GuidedReLUs() as relus:
            logits = classify(pixels)
        if not relus.relu_calls:
            raise _not_guided("calls none")

        (gradient,) = torch.autograd.grad(log_odds(logits, target.clone()).sum(), pixels)
    return gradient.clamp(min=0).amax(1)
