"""`lmpnet viz-filters`."""

from pathlib import Path
from typing import Literal

from lmpnet_cli.config.options import OUTPUT, argument, option
from lmpnet_cli.config.run import CHECKPOINT, ModelConfig, ReportOption


class VisualizeConfig(ReportOption, ModelConfig):
    """Options of `lmpnet viz-filters`."""

    images: tuple[Path, ...] | None = argument(None, "Folders and single files.", shown="the bundled example images")
    rows: int = option(6, "Number of tiles (2 x 2 images each) per filter, from strong to weak.", low=1, high=100)
    columns: int = option(8, "Number of filters, from strong to weak.", low=1, high=100)
    tile: int = option(80, "Side of each image in the grid, in pixels.", OUTPUT, low=16, high=512)
    replica: bool = option(False, "Show the replica's filters instead of the network's, on masked images.")
    objects: Literal["none", "one"] = option(
        "none", "Show whole images (none), or the window around the most prominent object of each, as discover does."
    )
    layer: str | None = option(None, "Show an earlier layer, such as layer2.", shown="the one keypoints come from")
    compare: tuple[Path, ...] = option((), "Another checkpoint, for comparison.png; can be repeated.", file=CHECKPOINT)
