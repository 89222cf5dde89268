"""Fine scale: guided backpropagation from a class to the pixels (papers.md 2.2).

At every ReLU a gradient passes only where the forward input was positive and the incoming gradient is positive,
R_l = (f_l > 0) (R_{l+1} > 0) R_{l+1}. The rule is laid over the function calls of one forward pass, not over modules:
ReLUs that are reused, work in place or are plain function calls are all met, and there is nothing to restore.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lmpnet_cli.errors import OptionError
from lmpnet_cli.saliency.occlusion import Classify, margin

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
    """min(max(x, 0), top), with the guided rule backwards."""

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
    """While it is active, every ReLU (and ReLU6) that is called follows the guided rule.

    Attributes:
        met: how many ReLUs were called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met = 0
        self._sigmoid: tuple[Any, Any] = (None, None)  # input and output of the last one

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
        if func in _PRODUCTS and {id(each) for each in args} == {id(each) for each in self._sigmoid}:
            raise _not_guided("multiplies x by sigmoid(x)")
        result = func(*args, **kwargs)
        if func in _SIGMOIDS:
            self._sigmoid = (args[0] if args else kwargs["input"], result)
        return result

    def _clamped(self, func: Callable[..., Any], input: Tensor, min: Any = None, max: Any = None, **kwargs: Any) -> Any:
        """A clamp from 0 on is a ReLU, any other one is none of ours."""
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
        if func is functional.relu6:
            min_val, max_val = 0.0, 6.0
        if min_val != 0:
            raise _not_guided(f"clips at {min_val:g}")
        return self._guided(input, max_val, inplace or func is functional.hardtanh_)

    def _guided(self, x: Tensor, top: float, in_place: bool) -> Tensor:
        self.met += 1
        result: Tensor = _GuidedReLU.apply(x, top)
        # who looks at the input afterwards must see it rectified
        return x.copy_(result) if in_place else result


def _not_guided(reason: str) -> OptionError:
    return OptionError(
        f"Guided backpropagation is defined for ReLUs, and this network {reason}. Choose a classifier with ReLUs, "
        "such as a ResNet, a VGG or MobileNetV2."
    )


def guided_gradients(classify: Classify, images: Tensor, target: Tensor) -> Tensor:
    """Guided gradient of the target's log-odds, clipped at 0, its maximum over the colour channels.

    The map of the probability, or of its logarithm, is the same up to a positive factor, which gets lost in rounding
    where a classifier is sure.

    Args:
        images: (B, 3, S, T) RGB bytes.
        target: (B,) class to start from, as a rule the predicted one.

    Returns:
        (B, S, T), none negative.

    Raises:
        OptionError: for a network without ReLUs, or with other activations.
    """
    with torch.inference_mode(False), torch.enable_grad():
        pixels = images.detach().clone().float().requires_grad_()
        with GuidedReLUs() as relus:
            logits = classify(pixels)
        if not relus.met:
            raise _not_guided("calls none")
        (gradient,) = torch.autograd.grad(margin(logits, target.clone()).sum(), pixels)
    return gradient.clamp(min=0).amax(1)
