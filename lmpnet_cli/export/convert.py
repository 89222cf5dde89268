"""`lmpnet convert`: keypoints as files that other tools open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lmpnet_cli.config import ConvertConfig
from lmpnet_cli.config.convert import OF_FILES, FormatName
from lmpnet_cli.data.run_images import find_images, inputs_of
from lmpnet_cli.errors import DatasetError, InputError, OptionError
from lmpnet_cli.export.formats import FORMATS, Document, Format, read_document
from lmpnet_cli.export.formats.label_studio import LOCAL_FILES
from lmpnet_cli.io.output_folder import LOCK, lock_output

FILES = (".csv", ".h5", ".json", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".zip")


@dataclass(frozen=True)
class ConvertResult:
    """What was written.

    Attributes:
        images: how many there were.
        names: of the keypoints.
        files: files and folders of the format.
        next: what to do with them.
    """

    images: int
    names: tuple[str, ...]
    files: list[Path]
    next: str


def convert(keypoints: str | Path, *, to: FormatName, **options: Any) -> ConvertResult:
    """Writes the keypoints of a `keypoints.json` in another format.

    Args:
        keypoints: the file, or the folder that holds it.
        to: coco-results, csv, dlc, label-studio, cvat, fiftyone or yolo-pose.
        **options: the fields of `ConvertConfig`.

    Raises:
        LmpnetError: when the file is another kind of file, a picture is missing that the format needs, or a file is
            there already.
    """
    config = ConvertConfig(keypoints=Path(keypoints), to=to, **options)
    document = read_document(config.document)
    out = config.out or Path("results") / "convert" / config.to
    pictures: Mapping[str, Path] = {}
    _check_frames(document, config.to)
    if FORMATS[config.to].needs_images:
        names = [each.file_name for each in document.results]
        pictures = find_images(names, config.document.parent, config.images, config.follow_links)
        if missing := [name for name in names if name not in pictures]:
            raise InputError(
                f"{len(missing)} of {len(names)} pictures are missing, which {config.to} needs; the first: "
                f"{missing[0]}. Name the place where they are: --images FOLDER."
            )
    inputs = config.images or inputs_of(config.document.parent)
    out, folder, names = _place(config.to, out)
    with lock_output(folder, names, config.overwrite):
        return write_format(document, config.to, out, pictures, config.image_prefix, inputs)


def write_format(
    document: Document,
    to: str,
    out: Path,
    pictures: Mapping[str, Path],
    image_prefix: str | None = None,
    inputs: Sequence[Path] = (),
) -> ConvertResult:
    """Writes one format; that it can tell of frames of a video, and that nothing is lost, was checked before.

    Args:
        out: a folder, or the file where the format has one and `out` ends as its name does.
        pictures: where each picture lies, by its name; needed where `Format.needs_pictures`.
        image_prefix: of `Format.has_prefix`; None takes that of Label Studio's local files.
        inputs: where the pictures were searched, for that prefix.

    Raises:
        DatasetError: when the tool could not tell two pictures apart.
        OutputError: when something is there already, or cannot be written.
    """
    format = FORMATS[to]
    format.check([result.file_name for result in document.results])
    if image_prefix is None:
        folder = inputs[0].absolute().name if len(inputs) == 1 and inputs[0].is_dir() else ""
        image_prefix = LOCAL_FILES + (f"{quote(folder, errors='surrogateescape')}/" if folder else "")
    elif not image_prefix.endswith(("/", "=")):
        image_prefix += "/"
    write = partial(format.write, prefix=image_prefix) if format.has_prefix else format.write
    out, _, _ = _place(to, out)
    files = write(document, out, pictures)
    return ConvertResult(len(document.results), document.names, files, format.next.format(out=out))


def _place(to: str, out: Path) -> tuple[Path, Path, list[str]]:
    """The file or folder of a format, the folder that holds what is written, and what would be replaced in it."""
    format = FORMATS[to]
    _check_out(to, format, out)
    if format.file is None:
        present = [entry.name for entry in out.iterdir()] if out.is_dir() else []
        return out, out, sorted(name for name in present if name != LOCK)
    if out.suffix != Path(format.file).suffix or out.is_dir():
        out = out / format.file
    return out, out.parent, [out.with_suffix(suffix).name for suffix in (out.suffix, *format.beside)]


def _check_frames(document: Document, to: str) -> None:
    if to in OF_FILES and any(result.frame is not None for result in document.results):
        raise DatasetError(
            f"{to} names picture files, which frames of a video are not. Extract them (ffmpeg -i VIDEO "
            "frames/%06d.jpg), and run discover on that folder."
        )


def _check_out(to: str, format: Format, out: Path) -> None:
    """A name that looks like a file is one."""
    wanted = "" if format.file is None else Path(format.file).suffix
    if not out.is_dir() and out.suffix in FILES and out.suffix != wanted:
        kind = f"a {wanted} file, or a folder for it" if wanted else "a folder"
        raise OptionError(f"--out {out} does not fit: {to} writes {kind}.")
