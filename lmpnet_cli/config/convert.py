"""`lmpnet convert`, `lmpnet report` and `lmpnet merge`: commands that read results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from lmpnet_cli.config.options import INPUT, OUTPUT, REQUIRED, argument, documented, option, same_as
from lmpnet_cli.config.run import OutputConfig, RunConfig
from lmpnet_cli.errors import InputError, OptionError

FormatName = Literal["coco-results", "csv", "dlc", "label-studio", "cvat", "fiftyone", "yolo-pose"]
FORMATS: tuple[str, ...] = get_args(FormatName)
OF_FILES = ("label-studio", "fiftyone", "yolo-pose")  # formats that name or link image files


@documented
@dataclass(frozen=True, kw_only=True)
class ConvertConfig(OutputConfig):
    """Options of `lmpnet convert`."""

    keypoints: Path = argument(REQUIRED, "keypoints.json, or the folder that contains it.")
    to: FormatName = option(REQUIRED, "FormatName to write.", panel=OUTPUT)
    out: Path | None = same_as(
        OutputConfig, "out", help="File or folder to write.", default_text="results/convert/FORMAT"
    )
    images: tuple[Path, ...] = option(
        (), "Folder or file with the images.", default_text="as recorded in run.json", panel=INPUT
    )
    image_prefix: str | None = option(
        None,
        "Text before each image name in its address (label-studio).",
        default_text="local files in the image folder",
        panel=OUTPUT,
    )
    follow_links: bool = same_as(RunConfig, "follow_links")

    def _check(self) -> None:
        super()._check()
        if self.image_prefix is not None and self.to != "label-studio":
            raise OptionError(f"--image-prefix cannot be combined with --to {self.to}; remove one of them.")

    @property
    def document(self) -> Path:
        """Return the path of keypoints.json, also where `keypoints` is its folder."""
        return self.keypoints / "keypoints.json" if self.keypoints.is_dir() else self.keypoints


@documented
@dataclass(frozen=True, kw_only=True)
class ReportConfig(OutputConfig):
    """Options of `lmpnet report`."""

    result: Path = argument(REQUIRED, "Folder with results of discover, viz-filters, eval or merge.")
    out: Path | None = same_as(
        OutputConfig, "out", help="HTML file to write.", default_text="report.html in that folder"
    )
    images: tuple[Path, ...] = same_as(ConvertConfig, "images")
    limit: int = option(
        10_000,
        "Largest number of images in the report; of more, evenly spaced ones are chosen.",
        panel=OUTPUT,
        low=1,
        high=100_000,
    )
    side: int | None = option(
        None,
        "Longer side of the images in the report, in pixels.",
        default_text="by the number of images",
        panel=OUTPUT,
        low=32,
        high=4096,
    )
    follow_links: bool = same_as(RunConfig, "follow_links")

    def _check(self) -> None:
        super()._check()
        if self.result.name == "keypoints.json":
            self._set("result", self.result.parent)

    @property
    def target(self) -> Path:
        """Return the path of the report."""
        return self.out or self.result / "report.html"


@documented
@dataclass(frozen=True, kw_only=True)
class MergeConfig(OutputConfig):
    """Options of `lmpnet merge`."""

    results: tuple[Path, ...] = argument(
        REQUIRED, "Folders of `lmpnet discover`, searched recursively for keypoints.json, and single such files."
    )

    def _check(self) -> None:
        super()._check()
        if not self.results:
            raise InputError("No results given: pass the folders that `lmpnet discover --shard` wrote.")
