"""Define the record that describes an export format."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.progress import Progress


@dataclass(frozen=True)
class Destination:
    """What a format needs to know apart from the keypoints.

    Attributes:
        path: the file or folder to write; for `write_format` also the folder for the one file of a format.
        images: the path of each image by its name; empty where the format does not need the images.
        inputs: the files and folders that were searched for images, where they are known.
        image_prefix: what the user wants before the name of an image in its address; None takes the tool's default.
        link_images: link the images of the export in place of copying them.
        scorer: who sets the keypoints, where they are labels; None for predictions.
        excel: write CSV as Excel reads it where the decimal sign is a comma.
        progress: receives the number of images that are copied.
    """

    path: Path
    images: Mapping[str, Path] = field(default_factory=dict)
    inputs: Sequence[Path] = ()
    image_prefix: str | None = None
    link_images: bool = False
    scorer: str | None = None
    excel: bool = False
    progress: Progress = field(default_factory=Progress)


def accept_all(names: Sequence[str]) -> None:
    """Accept all image names."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """Describes an export format.

    Attributes:
        write: writes the document to the destination and returns the files and folders that it wrote.
        file_name: name of the one file of the format; None for a format that is a folder.
        json_files: names of the JSON files in the folder, for a format that is a folder.
        companions: suffixes of further files that are written beside the one file.
        next_step: what the user does with the result; "{out}" stands for its path.
        needs_images: whether the format contains the images.
        fixed_parts: whether readers take the keypoint at index i for the same part in every image. They get a warning
            when the keypoints are ranks.
        check: raises `DatasetError` for image names that the tool cannot tell apart.
        replaces: for a folder that may hold other files: returns what would be replaced, relative to the folder. None
            for a folder of which everything counts as an earlier result.
        labels: the format for labels, where the tool has another one for them than for predictions.
    """

    write: Callable[[Document, Destination], list[Path]]
    file_name: str | None
    next_step: str
    json_files: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    needs_images: bool = False
    fixed_parts: bool = False
    check: Callable[[Sequence[str]], None] = accept_all
    replaces: Callable[[Document, Destination], list[str]] | None = None
    labels: "Format | None" = None
