"""`lmpnet convert` and `lmpnet report`: what is made of results."""

from dataclasses import dataclass
from pathlib import Path

from lmpnet_cli.config.checks import between, check_local, one_of, paths
from lmpnet_cli.errors import OptionError

FORMATS = ("coco-results", "csv", "dlc", "label-studio", "cvat", "fiftyone", "yolo-pose")
OF_FILES = ("label-studio", "fiftyone", "yolo-pose")  # formats that name or link picture files


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """`lmpnet convert`.

    Attributes:
        keypoints: `keypoints.json`, or the folder that holds it.
        to: one of `FORMATS`.
        out: the file, or a folder for it; None takes results/convert/FORMAT.
        images: where the pictures are; None takes what `run.json` beside the keypoints says.
        image_prefix: of label-studio: what stands before the name of an image in its address; None takes that of its
            local files, in the folder of the pictures.
        overwrite: replace files that are there.
        follow_links: read pictures that links in folders lead to; True where `run.json` says that `discover` did.
    """

    keypoints: Path
    to: str
    out: Path | None = None
    images: tuple[Path, ...] = ()
    image_prefix: str | None = None
    overwrite: bool = False
    follow_links: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "keypoints", Path(self.keypoints))
        object.__setattr__(self, "images", paths(self.images))
        if self.out is not None:
            object.__setattr__(self, "out", Path(self.out))
        one_of("--to", self.to, FORMATS)
        check_local(self.out)
        if self.image_prefix is not None and self.to != "label-studio":
            raise OptionError("--image-prefix belongs to --to label-studio: leave it out.")

    @property
    def document(self) -> Path:
        """The file, where `keypoints` names its folder."""
        return self.keypoints / "keypoints.json" if self.keypoints.is_dir() else self.keypoints


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """`lmpnet report`.

    Attributes:
        result: folder that discover, viz-filters, eval or merge wrote.
        out: the page; None takes report.html in that folder.
        images: where the pictures are; None takes what `run.json` says.
        limit: pictures in the page; of more, as many are chosen evenly.
        side: longer side of the pictures in the page, in pixels; None decides by their number.
        overwrite: replace the page where it is there.
        follow_links: as for `convert`.
    """

    result: Path
    out: Path | None = None
    images: tuple[Path, ...] = ()
    limit: int = 10_000
    side: int | None = None
    overwrite: bool = False
    follow_links: bool = False

    def __post_init__(self) -> None:
        result = Path(self.result)
        object.__setattr__(self, "result", result.parent if result.name == "keypoints.json" else result)
        object.__setattr__(self, "images", paths(self.images))
        if self.out is not None:
            object.__setattr__(self, "out", Path(self.out))
        check_local(self.out)
        between("--limit", self.limit, 1, 100_000)
        if self.side is not None:
            between("--side", self.side, 32, 4096)

    @property
    def target(self) -> Path:
        """The page."""
        return self.out or self.result / "report.html"
