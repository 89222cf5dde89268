"""How keypoints are found, and `lmpnet eval` and `lmpnet salient`."""

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import get_annotations
from pathlib import Path
from typing import Any, Literal

from lmpnet_cli.config.checks import at_least, between, check_threshold, one_of
from lmpnet_cli.config.run import ModelConfig
from lmpnet_cli.errors import OptionError

MAX_KEYPOINTS, DEFAULT_KEYPOINTS = 100, 5


@dataclass(frozen=True, kw_only=True)
class SaliencyConfig(ModelConfig):
    """What the second method has of its own; the first one refuses it.

    Attributes:
        classifier: timm name of a classifier; None takes the network of the checkpoint.
        classifier_weights: its weights, a safetensors file; None fetches timm's.
        target_class: name of the class to explain; None explains the predicted one.
        patch: side of the occluder in pixels of the network input.
        coarse_stride: of the occluder, in pixels; larger takes less time.
        draws: of random colours for every patch, averaged; each takes as long as the first.
        coarse_weight: of the occlusion map in the combination; the guided gradients get the rest.
        nms_radius: points nearer than this to a stronger one are dropped, in pixels of the network input.
        keep: share of the points left that is kept, by confidence.
        panels: draw both relevance maps and the points, side by side.
    """

    classifier: str | None = None
    classifier_weights: Path | None = None
    target_class: str | None = None
    patch: int = 16
    coarse_stride: int = 8
    draws: int = 1
    coarse_weight: float = 0.5
    nms_radius: float = 8.0
    keep: float = 0.4
    panels: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _between_patches(self.patch, self.coarse_stride)
        between("--draws", self.draws, 1, 100)
        between("--coarse-weight", self.coarse_weight, 0, 1)
        between("--nms-radius", self.nms_radius, 0, 256)
        if not 0 < self.keep <= 1:
            raise OptionError(f"--keep {self.keep:g} is out of range: a share of the points, above 0, at most 1.")
        if self.classifier_weights is not None and self.classifier is None:
            raise OptionError("--classifier-weights needs the network that they belong to: name it with --classifier.")
        if self.classifier is not None and self.checkpoint is not None:
            raise OptionError("--classifier and --checkpoint both name a network: give one of them.")


@dataclass(frozen=True, kw_only=True)
class KeypointConfig(SaliencyConfig):
    """How keypoints are found.

    Attributes:
        k: keypoints to look for on each image; None: as many as the vocabulary has where it is used, else 5.
        replica: False leaves the replica out: half the time, and no second look; not in the paper.
        filters: strongest filters kept of each network, on each image; more than there are keeps all.
        margin: outermost rows and columns of map cells without a vote, where padding answers; not in the paper.
        iterations: inner iterations of Algorithm 1; they change its maps, never positions or scores.
        method: lmpnet, or saliency (occlusion and guided backpropagation).
    """

    k: int | None = None
    replica: bool = True
    filters: int = 512
    margin: int = 0
    iterations: int = 5
    method: Literal["lmpnet", "parts", "saliency"] = "lmpnet"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k is not None:
            between("--k", self.k, 1, MAX_KEYPOINTS)
        at_least("--iterations", self.iterations, 1)
        at_least("--filters", self.filters, 1)
        between("--margin", self.margin, 0, 64)
        one_of("--method", self.method, ("lmpnet", "parts", "saliency"))
        if self.method != "saliency":
            for name in get_annotations(SaliencyConfig):  # what it has of its own
                if getattr(self, name) != getattr(SaliencyConfig, name):
                    flag = f"--{name.replace('_', '-')}"
                    raise OptionError(f"{flag} belongs to --method saliency. Add that, or leave {flag} out.")

    def method_options(self) -> dict[str, Any]:
        if self.method == "saliency":
            names = ["k", *(n for n in get_annotations(SaliencyConfig))]
            return {n: getattr(self, n) for n in names} | {"k": self.k or 5}
        if self.method == "parts":
            return {"k": self.k}
        return {n: getattr(self, n) for n in ("thr", "filters", "margin", "iterations", "replica")} | {"k": self.k or 5}


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(KeypointConfig):
    """`lmpnet eval`.

    Attributes:
        data: CUB folder or COCO keypoint file; None takes the bundled example pictures.
        thr: one or several erasing distances; one row of results for each, without repetitions.
        alpha: tolerance as a share of the shorter image side (or longer box side).
        split: which part of a data set with an official split is scored.
        predictions: a COCO file of keypoints, of any tool, to score in place of a model's; k and thr are the file's.
        identity: also score the keypoints of the model's vocabulary; None where there is one.
        stability: also score whether they stay when the picture is mirrored or noisy, which takes two more passes.
        report: make one page of the results, too.
    """

    data: Path | None = None
    predictions: Path | None = None
    thr: tuple[float, ...] = (3.0,)
    alpha: float = 0.1
    split: Literal["test", "train", "all"] = "test"
    parts: bool = True
    stability: bool = False
    report: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.thr
        given = given if isinstance(given, Sequence) else (given,)
        object.__setattr__(self, "thr", tuple(dict.fromkeys(map(float, given))))
        if not self.thr:
            raise OptionError("--thr needs a value: name one erasing distance or several.")
        for threshold in self.thr:
            check_threshold(threshold)
        _check_scoring(self.alpha, self.split)
        if self.predictions is not None and self.method != "lmpnet":
            raise OptionError("--predictions scores the points of a file, so no --method runs: leave one of them out.")


@dataclass(frozen=True, kw_only=True)
class SaliencyHistogramConfig(KeypointConfig):
    """`lmpnet salient`.

    Attributes:
        data: CUB folder or COCO keypoint file; None takes the bundled example pictures.
        method: as for discover; the second paper's by default.
        thr: erasing distance of the first method.
        alpha: tolerance as a share of the shorter image side.
        split: which part of a data set with an official split is looked at.
    """

    data: Path | None = None
    method: Literal["lmpnet", "saliency"] = "saliency"
    thr: float = 3.0
    alpha: float = 0.1
    split: Literal["test", "train", "all"] = "test"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_threshold(self.thr)
        _check_scoring(self.alpha, self.split)


def _check_scoring(alpha: float, split: str) -> None:
    if not 0 < alpha <= 1:
        raise OptionError(f"--alpha {alpha} is out of range: it is a share of the image side, above 0, at most 1.")
    one_of("--split", split, ("test", "train", "all"))


def _between_patches(patch: int, stride: int) -> None:
    between("--patch", patch, 1, 2048)
    if not 1 <= stride <= patch:
        raise OptionError(
            f"--coarse-stride {stride} is out of range: between 1 and --patch {patch}, so that every pixel is covered."
        )
