"""`lmpnet convert`: write keypoints as files that other tools open."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmpnet_cli.config import ConvertConfig, takes_options
from lmpnet_cli.config.convert import OF_FILES, FormatName
from lmpnet_cli.data.listing import real
from lmpnet_cli.data.run_images import find_images, inputs_of
from lmpnet_cli.errors import DatasetError, InputError, OptionError
from lmpnet_cli.export.formats import FORMATS, Destination, Document, Format, read_document
from lmpnet_cli.export.formats.image_files import LIST
from lmpnet_cli.export.naming import with_names
from lmpnet_cli.export.truth_ids import with_ids_of
from lmpnet_cli.io.output_folder import LOCK, lock_output
from lmpnet_cli.progress import Progress

FILE_SUFFIXES = (".csv", ".h5", ".json", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".zip")


@dataclass(frozen=True)
class ConvertResult:
    """Describes what was written.

    Attributes:
        images: the number of images.
        names: names of the keypoints.
        files: files and folders of the format.
        next: what the user does with them.
    """

    images: int
    names: tuple[str, ...]
    files: list[Path]
    next: str


@takes_options(ConvertConfig)
def convert(
    keypoints: str | Path, *, to: FormatName, progress: Progress | None = None, **options: Any
) -> ConvertResult:
    """Write the keypoints of a `keypoints.json` in the format of another tool.

    Args:
        keypoints: the file, or the folder that contains it.
        to: coco-results, csv, dlc, label-studio, cvat, fiftyone or yolo-pose.
        progress: receives the number of images that are copied, and a warning where the tool expects parts and the
            keypoints are ranks.
        **options: listed below.

    Raises:
        LmpnetError: when the file is another kind of file, an image is missing that the format needs, or the output
            exists already.
    """
    config = ConvertConfig(keypoints=Path(keypoints), to=to, **options)
    progress = progress or Progress()
    document = with_names(read_document(config.keypoints), config, progress)
    if config.category is not None:
        document = replace(document, category=config.category.strip())
    if config.ids_of is not None:
        document = with_ids_of(config.ids_of, document, progress)
    format = _format(to, config.labels)
    _check_frames(document, to, format)
    images = _find_images(document, config) if format.needs_images else {}

    path = _output_path(to, format, config.out or Path("results") / "convert" / to)
    _check_inputs_stay(config, format, path)
    destination = Destination(
        path,
        images,
        inputs=config.images or inputs_of(config.keypoints.parent),
        image_prefix=config.image_prefix,
        link_images=config.link_images,
        scorer=config.labels,
        excel=config.excel,
        progress=progress,
    )
    folder, existing = _existing_results(format, document, destination)
    with lock_output(folder, existing, config.overwrite):
        return write_format(document, to, destination)


def write_format(document: Document, to: str, destination: Destination) -> ConvertResult:
    """Write one format; the caller checks before that it can describe the images, and that nothing is overwritten.

    Args:
        destination: its path is a folder, or a file where the format has only one and the path ends in its suffix.

    Raises:
        DatasetError: when the tool could not tell two images apart.
        OutputError: when the output cannot be written.
    """
    format = _format(to, destination.scorer)
    format.check([objects[0].file_name for objects in document.images])
    if format.fixed_parts and document.is_ranked:
        destination.progress.warn(
            f"{to} expects keypoint i to be the same part in every image, but --method {document.method} ranks the "
            "keypoints of each image. Run discover with --method parts to get parts."
        )

    path = _output_path(to, format, destination.path)
    files = format.write(document, replace(destination, path=path))
    return ConvertResult(len(document.images), document.names, files, format.next_step.format(out=path))


def _format(to: str, scorer: str | None) -> Format:
    """Return the format of this name; the one for labels where there is a scorer."""
    format = FORMATS[to]
    return format if scorer is None or format.labels is None else format.labels


def _find_images(document: Document, config: ConvertConfig) -> dict[str, Path]:
    names = [objects[0].file_name for objects in document.images]
    images = find_images(names, config.keypoints.parent, config.images, config.follow_links)
    if missing := [name for name in names if name not in images]:
        raise InputError(
            f"Images missing: {len(missing)} of {len(names)}, for example {missing[0]}. {config.to} needs all of them: "
            "pass the folder that contains them with --images FOLDER."
        )
    return images


def _check_frames(document: Document, to: str, format: Format) -> None:
    if (format.needs_images or to in OF_FILES) and any(result.frame is not None for result in document.results):
        raise DatasetError(
            f"{to} refers to image files, and frames of a video are not files. Extract them (ffmpeg -i VIDEO "
            "frames/%06d.jpg), and run discover on that folder."
        )


def _output_path(to: str, format: Format, out: Path) -> Path:
    """Return the file or folder to write: `out`, or the format's file in the folder `out`.

    Raises:
        OptionError: when `out` has the suffix of a file that the format does not write.
    """
    file_name = format.file_name
    suffix = "" if file_name is None else Path(file_name).suffix
    if not out.is_dir() and out.suffix in FILE_SUFFIXES and out.suffix != suffix:
        raise OptionError(
            f"--out {out} does not fit --to {to}. Pass {f'a {suffix} file or ' if suffix else ''}a folder."
        )

    if file_name is None or (out.suffix == suffix and not out.is_dir()):
        return out
    return out / file_name


def _check_inputs_stay(config: ConvertConfig, format: Format, path: Path) -> None:
    """Raise `OptionError` where the output would replace a file that is read, also with --overwrite."""
    written = {real(path), *(real(path / name) for name in format.json_files)}
    for given in (config.keypoints, config.ids_of):
        if given is not None and real(given) in written:
            raise OptionError(f"{given} is read, and the output in {path} would replace it. Choose another --out.")


def _existing_results(format: Format, document: Document, destination: Destination) -> tuple[Path, list[str]]:
    """Return the folder that holds the output, and the names of what would be replaced in it."""
    path = destination.path
    if format.replaces is not None:
        return path, format.replaces(document, destination)
    if format.file_name is None:
        entries = [entry.name for entry in path.iterdir()] if path.is_dir() else []
        return path, sorted(name for name in entries if name not in (LOCK, LIST))
    return path.parent, [path.with_suffix(suffix).name for suffix in (path.suffix, *format.companions)]
