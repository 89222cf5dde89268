"""`lmpnet viz-filters`."""

from dataclasses import dataclass
from pathlib import Path

from lmpnet_cli.config.checks import between, paths
from lmpnet_cli.config.run import ModelConfig


@dataclass(frozen=True, kw_only=True)
class VisualizeConfig(ModelConfig):
    """`lmpnet viz-filters`.

    Attributes:
        images: folders and files; None takes the bundled example pictures.
        rows, columns: tiles down (images by rank) and across (filters by rank).
        tile: side of one image in the grid, in pixels.
        replica: show the replica's filters instead of the network's.
        layer: a layer of the network before its last; None takes the maps that make the keypoints.
        compare: further checkpoints, whose filters are shown below those of the first in `comparison.png`.
        report: make one page of the results, too.
    """

    images: tuple[Path, ...] | None = None
    rows: int = 6
    columns: int = 8
    tile: int = 80
    replica: bool = False
    layer: str | None = None
    compare: tuple[Path, ...] = ()
    report: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images is not None:
            object.__setattr__(self, "images", paths(self.images))
        object.__setattr__(self, "compare", paths(self.compare))
        for flag, value, top in (
            ("--rows", self.rows, 100),
            ("--columns", self.columns, 100),
            ("--tile", self.tile, 512),
        ):
            between(flag, value, 16 if flag == "--tile" else 1, top)
