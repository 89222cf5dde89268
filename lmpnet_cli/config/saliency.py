"""Options of the second paper's method: `--method saliency`."""

from pathlib import Path

from lmpnet_cli.config.options import Options, of_saliency
from lmpnet_cli.errors import OptionError


class SaliencyConfig(Options):
    """Options of `--method saliency`; None where another method was chosen."""

    classifier: str | None = of_saliency(None, "Name of the timm classifier to explain.", shown="the checkpoint's")
    # the results record the checksum of the weights, which may be stored elsewhere on another machine
    classifier_weights: Path | None = of_saliency(
        None, "Weights of --classifier, a safetensors file.", shown="those of timm", decides=False
    )
    target_class: str | None = of_saliency(None, "Class to explain on every image.", shown="the predicted class")
    patch: int | None = of_saliency(16, "Side of the occluding patch, in input pixels.", low=1, high=2048)
    coarse_stride: int | None = of_saliency(
        8, "Step of the patch, at most --patch, in input pixels; a larger one is faster.", low=1, high=2048
    )
    draws: int | None = of_saliency(1, "Number of random fills per patch; their results are averaged.", low=1, high=100)
    coarse_weight: float | None = of_saliency(
        0.5, "Weight of the occlusion map; the guided gradients get the rest.", low=0, high=1
    )
    nms_radius: float | None = of_saliency(
        8.0, "Smallest distance between candidates, in input pixels.", low=0, high=256
    )
    keep: float | None = of_saliency(0.4, "Fraction of the candidates to keep, by confidence.", above=0, high=1)
    panels: bool | None = of_saliency(
        False, "Draw occlusion map, guided gradients, combination and points into panels/.", decides=False
    )

    def _check(self) -> None:
        super()._check()
        if self.patch is not None and self.coarse_stride is not None and self.coarse_stride > self.patch:
            allowed = f"1 to {self.patch} (--patch), so that every pixel is covered"
            raise OptionError(f"--coarse-stride {self.coarse_stride} is out of range; allowed: {allowed}.")
        if self.classifier_weights is not None and self.classifier is None:
            raise OptionError("--classifier-weights needs --classifier: name the network that the weights belong to.")
