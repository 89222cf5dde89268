"""One reading of the paper: what it leaves open on the way from maps to keypoints (docs/papers.md, L3 to L17)."""

from dataclasses import dataclass
from typing import Literal, get_args

Distance = Literal["squared", "euclidean"]
Fusion = Literal["proposals", "predictions"]
Position = Literal["cell", "centroid"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How keypoints are read from the maps of both networks; the defaults are those that measure best.

    Attributes:
        filters: strongest filters kept of each network, on each image; None keeps all (L8).
        margin: outermost rows and columns of map cells without a vote; not in the paper.
        mask_radius: of the attention mask-out, in cells of a 14 x 14 grid over the image (L15).
        distance: what thr is compared with, in line 5 of Algorithm 1 and in erasing (L3).
        fusion: whether the proposals of both networks are clustered together, or each network's keypoints are found
            first and merged by votes (L17).
        position: the centroid of the activation around the cell with most votes, or that cell, as in the paper (L12).
        iterations: inner iterations of Algorithm 1; neither positions nor scores depend on them (L2).
    """

    filters: int | None = 512
    margin: int = 0
    mask_radius: float = 1.0
    distance: Distance = "squared"
    fusion: Fusion = "proposals"
    position: Position = "centroid"
    iterations: int = 5

    def __post_init__(self) -> None:
        for name, choices in (("distance", Distance), ("fusion", Fusion), ("position", Position)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"expected {name} out of {get_args(choices)}, received {getattr(self, name)!r}")


DEFAULT_READING = Reading()
