"""`lmpnet viz-filters`."""

from dataclasses import dataclass
from pathlib import Path

from lmpnet_cli.config.discover import DiscoverConfig
from lmpnet_cli.config.options import OUTPUT, argument, documented, option, same_as
from lmpnet_cli.config.run import ModelConfig


@documented
@dataclass(frozen=True, kw_only=True)
class VisualizeConfig(ModelConfig):
    """Options of `lmpnet viz-filters`."""

    images: tuple[Path, ...] | None = argument(
        None, "Folders and single files.", default_text="the bundled example images"
    )
    rows: int = option(6, "Number of images in a column, by rank.", low=1, high=100)
    columns: int = option(8, "Number of filters in a row, by rank.", low=1, high=100)
    tile: int = option(80, "Side of one image in the grid, in pixels.", panel=OUTPUT, low=16, high=512)
    replica: bool = option(False, "Show the filters of the replica network, on masked images.")
    layer: str | None = option(
        None, "Show the filters of an earlier layer, such as layer2.", default_text="the layer that makes keypoints"
    )
    compare: tuple[Path, ...] = option(
        (),
        "Another checkpoint, whose filters are shown below those of --checkpoint in comparison.png; may be given "
        "several times.",
    )
    report: bool = same_as(DiscoverConfig, "report")
