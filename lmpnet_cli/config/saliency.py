"""Options of the second paper's method: `--method saliency`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmpnet_cli.config.options import SALIENCY, Options, documented, option
from lmpnet_cli.errors import OptionError

_OF_SALIENCY: dict[str, Any] = {"methods": ("saliency",), "panel": SALIENCY}


@documented
@dataclass(frozen=True, kw_only=True)
class SaliencyConfig(Options):
    """Options of `--method saliency`; None where another method was chosen."""

    classifier: str | None = option(
        None,
        "Name of the timm classifier to explain.",
        default_text="the network of the checkpoint",
        decides=True,
        **_OF_SALIENCY,
    )
    # not `decides`: the results record the checksum of the weights, which may be stored elsewhere on another machine
    classifier_weights: Path | None = option(
        None, "Weights of --classifier, a safetensors file.", default_text="those of timm", **_OF_SALIENCY
    )
    target_class: str | None = option(
        None, "Name of the class to explain.", default_text="the predicted class", decides=True, **_OF_SALIENCY
    )
    patch: int | None = option(
        16, "Side of the occluding patch, in input pixels.", low=1, high=2048, decides=True, **_OF_SALIENCY
    )
    coarse_stride: int | None = option(
        8,
        "Stride of the occluding patch, in input pixels, at most --patch; a larger one takes less time.",
        low=1,
        high=2048,
        decides=True,
        **_OF_SALIENCY,
    )
    draws: int | None = option(
        1,
        "Number of random colours for each patch, which are averaged; the time grows with it.",
        low=1,
        high=100,
        decides=True,
        **_OF_SALIENCY,
    )
    coarse_weight: float | None = option(
        0.5,
        "Weight of the occlusion map in the combination; the guided gradients get the rest.",
        low=0,
        high=1,
        decides=True,
        **_OF_SALIENCY,
    )
    nms_radius: float | None = option(
        8.0,
        "Remove points that are nearer than this to a stronger one, in input pixels.",
        low=0,
        high=256,
        decides=True,
        **_OF_SALIENCY,
    )
    keep: float | None = option(
        0.4, "Share of the points to keep, those of highest confidence.", above=0, high=1, decides=True, **_OF_SALIENCY
    )
    panels: bool | None = option(
        False, "Draw both relevance maps and the points side by side, into panels/.", **_OF_SALIENCY
    )

    def _check(self) -> None:
        super()._check()
        if self.patch is not None and self.coarse_stride is not None and self.coarse_stride > self.patch:
            raise OptionError(
                f"--coarse-stride {self.coarse_stride} is out of range; allowed: 1 to {self.patch} (--patch), so that "
                "every pixel is covered."
            )
        if self.classifier_weights is not None and self.classifier is None:
            raise OptionError("--classifier-weights needs --classifier: name the network that the weights belong to.")
