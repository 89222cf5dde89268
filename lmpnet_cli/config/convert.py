"""`lmpnet convert`, `lmpnet report` and `lmpnet merge`: commands that read results."""

from pathlib import Path
from typing import Literal, get_args

from lmpnet_cli.config.names import SkeletonOption
from lmpnet_cli.config.options import INPUT, OUTPUT, REQUIRED, Options, argument, option, same_as
from lmpnet_cli.config.run import LinksOption, OutputConfig
from lmpnet_cli.errors import InputError, OptionError

FormatName = Literal["coco-results", "csv", "dlc", "label-studio", "cvat", "fiftyone", "yolo-pose"]
FORMATS: tuple[str, ...] = get_args(FormatName)
OF_FILES = ("label-studio", "fiftyone", "yolo-pose")  # formats that refer to image files
WITH_IMAGES = ("fiftyone", "yolo-pose")  # formats that contain the images
WITH_SKELETON = ("cvat", "fiftyone")  # formats that contain which keypoints are joined
WITH_CATEGORY = (*WITH_SKELETON, "yolo-pose")  # formats that contain what the object is called
ONE_OBJECT = ("dlc",)  # formats that have room for one object per image


class ResultsConfig(LinksOption, OutputConfig):
    """Options of the commands that show results together with their images."""

    images: tuple[Path, ...] = option(
        (), "Folder of the images, or one image; can be repeated.", INPUT, shown="as recorded in run.json"
    )


class ExportedImagesOption(Options):
    """The option of the commands that export images together with their keypoints."""

    link_images: bool = option(
        False,
        "Export symbolic links to the images in place of copies; a tool that writes into them changes the originals.",
        OUTPUT,
    )


class ConvertConfig(SkeletonOption, ExportedImagesOption, ResultsConfig):
    """Options of `lmpnet convert`."""

    keypoints: Path = argument(REQUIRED, "keypoints.json, or the folder that contains it.", file="keypoints.json")
    to: FormatName = option(REQUIRED, "Format to write.", OUTPUT)
    out: Path | None = same_as(OutputConfig, "out", help="File or folder to write.", shown="results/convert/FORMAT")
    category: str | None = option(None, "Name of the object, such as bird.", OUTPUT, shown="as in the results")
    image_prefix: str | None = option(None, "URL prefix of the images in Label Studio.", OUTPUT, shown="local files")

    ids_of: Path | None = option(
        None,
        "COCO annotation file that coco-results are scored against: take the ids of images, by name, and of the "
        "category from it.",
        OUTPUT,
        shown="ids of keypoints.json",
    )
    labels: str | None = option(
        None,
        "Write dlc labels of this scorer, with the images, to correct and train on them in a DeepLabCut project.",
        OUTPUT,
        shown="predictions",
    )
    excel: bool = option(
        False,
        "Write csv for Excel where the decimal sign is a comma: byte-order mark, semicolons between cells, decimal "
        "commas.",
        OUTPUT,
    )

    def _check(self) -> None:
        super()._check()
        if self.to != "label-studio":
            self._refuse(f"--to {self.to}", "image_prefix")
        if self.to == "coco-results":
            self._refuse("--to coco-results, which has no names", "names")
        else:
            self._refuse(f"--to {self.to}", "ids_of")
        if self.to not in WITH_SKELETON:
            self._refuse(f"--to {self.to}", "skeleton")
        if self.to not in WITH_CATEGORY:
            self._refuse(f"--to {self.to}", "category")
        if self.to != "csv":
            self._refuse(f"--to {self.to}", "excel")
        if self.to != "dlc":
            self._refuse(f"--to {self.to}", "labels")
        if self.to not in WITH_IMAGES and self.labels is None:
            self._refuse(f"--to {self.to}" + " without --labels" * (self.to == "dlc"), "link_images")
        if self.category is not None and not self.category.strip():
            raise OptionError("--category needs a name, such as bird.")
        if self.labels is not None and not _is_plain(self.labels):
            raise OptionError(
                f"--labels {self.labels} cannot be part of a file name: pass the scorer of your DeepLabCut project, "
                "without slashes, control characters and a leading dot."
            )


def _is_plain(name: str) -> bool:
    """Return whether a name can be part of a file name on every system."""
    return bool(name.strip()) and name.isprintable() and name[0] != "." and not set("/\\").intersection(name)


class ReportConfig(SkeletonOption, ResultsConfig):
    """Options of `lmpnet report`."""

    result: Path = argument(REQUIRED, "Folder with results of discover, viz-filters, eval or merge.")
    out: Path | None = same_as(OutputConfig, "out", help="HTML file to write.", shown="RESULT/report.html")
    limit: int = option(
        10_000, "Largest number of images, evenly spaced over the results.", OUTPUT, low=1, high=100_000
    )
    side: int | None = option(
        None,
        "Longer side of the images in the page, in pixels.",
        OUTPUT,
        shown="depends on the number of images",
        low=32,
        high=4096,
    )

    classes: bool = option(
        False, "Show the classes that the bundled model predicts; it knows only those of its training.", OUTPUT
    )

    def _check(self) -> None:
        super()._check()
        if self.result.name == "keypoints.json":
            self._set("result", self.result.parent)

    @property
    def target(self) -> Path:
        """Return the path of the report."""
        return self.out or self.result / "report.html"


class MergeConfig(OutputConfig):
    """Options of `lmpnet merge`."""

    results: tuple[Path, ...] = argument(REQUIRED, "Folders of `lmpnet discover`, searched recursively.")

    def _check(self) -> None:
        super()._check()
        if not self.results:
            raise InputError("No results given: pass the folders that `lmpnet discover --shard` wrote.")
