"""`lmpnet fit`."""

from pathlib import Path

from lmpnet_cli.config.options import INPUT, REQUIRED, argument, option, same_as
from lmpnet_cli.config.parts import PartsConfig
from lmpnet_cli.config.run import ModelConfig


class FitConfig(ModelConfig):
    """Options of `lmpnet fit`."""

    data: tuple[Path, ...] = argument(
        REQUIRED, "COCO keypoint files, or CUB folders (only their training split is used, where they have one)."
    )
    size: int | None = same_as(PartsConfig, "size")
    images: int = option(2000, "Largest number of annotated images to learn from, drawn at random.", INPUT, low=1)
    image_folder: Path | None = option(
        None, "Folder of the images.", INPUT, shown="beside the annotations, or where COCO, CVAT or FiftyOne have them"
    )
