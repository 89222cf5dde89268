"""`lmpnet discover` and `lmpnet eval`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lmpnet_cli.config.base import ModelConfig
from lmpnet_cli.config.checks import at_least, between, check_threshold, one_of, paths
from lmpnet_cli.errors import OptionError

MAX_KEYPOINTS = 100


@dataclass(frozen=True, kw_only=True)
class KeypointConfig(ModelConfig):
    """The keypoint branch.

    Attributes:
        k: keypoints to look for on each image.
        replica: False leaves the replica out: half the time, and no second look; not in the paper.
        filters: strongest filters kept of each network, on each image; more than there are keeps all.
        margin: outermost rows and columns of map cells without a vote, where padding answers; not in the paper.
        iterations: inner iterations of Algorithm 1; they change its maps, never positions or scores.
        method: lmpnet.
    """

    k: int = 5
    replica: bool = True
    filters: int = 512
    margin: int = 0
    iterations: int = 5
    method: Literal["lmpnet"] = "lmpnet"

    def __post_init__(self) -> None:
        super().__post_init__()
        between("--k", self.k, 1, MAX_KEYPOINTS)
        at_least("--iterations", self.iterations, 1)
        at_least("--filters", self.filters, 1)
        between("--margin", self.margin, 0, 64)
        one_of("--method", self.method, ("lmpnet",))


@dataclass(frozen=True, kw_only=True)
class DiscoverConfig(KeypointConfig):
    """`lmpnet discover`.

    Attributes:
        images: folders, searched in depth, and single files.
        thr: erasing distance in cells of a 14 x 14 grid over the image.
        overlays: draw the pictures with their keypoints.
    """

    images: tuple[Path, ...]
    thr: float = 3.0
    overlays: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "images", paths(self.images))
        object.__setattr__(self, "thr", float(self.thr))
        check_threshold(self.thr)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(KeypointConfig):
    """`lmpnet eval`.

    Attributes:
        data: CUB folder or COCO keypoint file; None takes the bundled example pictures.
        thr: one or several erasing distances; one row of results for each, without repetitions.
        alpha: tolerance as a share of the shorter image side (or longer box side).
        split: which part of a data set with an official split is scored.
        predictions: a COCO file of keypoints, of any tool, to score in place of a model's; k and thr are the file's.
    """

    data: Path | None = None
    predictions: Path | None = None
    thr: tuple[float, ...] = (3.0,)
    alpha: float = 0.1
    split: Literal["test", "train", "all"] = "test"

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.thr
        given = given if isinstance(given, Sequence) else (given,)
        object.__setattr__(self, "thr", tuple(dict.fromkeys(map(float, given))))
        if not self.thr:
            raise OptionError("--thr needs a value: name one erasing distance or several.")
        for threshold in self.thr:
            check_threshold(threshold)
        if not 0 < self.alpha <= 1:
            raise OptionError(
                f"--alpha {self.alpha} is out of range: it is a share of the image side, above 0, at most 1."
            )
        one_of("--split", self.split, ("test", "train", "all"))
