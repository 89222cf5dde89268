"""Options of the second paper's method: `--method saliency`."""

from dataclasses import dataclass
from pathlib import Path

from lmpnet_cli.config.options import Options, documented, of_saliency
from lmpnet_cli.errors import OptionError


@documented
@dataclass(frozen=True, kw_only=True)
class SaliencyConfig(Options):
    """Options of `--method saliency`; None where another method was chosen."""

    classifier: str | None = of_saliency(
        None, "Name of the timm classifier to explain.", default_text="the network of the checkpoint"
    )
    # the results record the checksum of the weights, which may be stored elsewhere on another machine
    classifier_weights: Path | None = of_saliency(
        None, "Weights of --classifier, a safetensors file.", default_text="those of timm", decides=False
    )
    target_class: str | None = of_saliency(None, "Name of the class to explain.", default_text="the predicted class")
    patch: int | None = of_saliency(16, "Side of the occluding patch, in input pixels.", low=1, high=2048)
    coarse_stride: int | None = of_saliency(
        8,
        "Stride of the occluding patch, in input pixels, at most --patch; a larger one takes less time.",
        low=1,
        high=2048,
    )
    draws: int | None = of_saliency(
        1, "Number of random colours for each patch, which are averaged; the time grows with it.", low=1, high=100
    )
    coarse_weight: float | None = of_saliency(
        0.5, "Weight of the occlusion map in the combination; the guided gradients get the rest.", low=0, high=1
    )
    nms_radius: float | None = of_saliency(
        8.0, "Remove points that are nearer than this to a stronger one, in input pixels.", low=0, high=256
    )
    keep: float | None = of_saliency(0.4, "Share of the points to keep, those of highest confidence.", above=0, high=1)
    panels: bool | None = of_saliency(
        False, "Draw both relevance maps and the points side by side, into panels/.", decides=False
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
