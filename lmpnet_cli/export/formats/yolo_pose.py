"""YOLO pose: a dataset as Ultralytics trains on, one text file for each image, and `data.yaml`.

A line is `class cx cy w h` and `x y v` for each keypoint, shares of the picture's width and height, 0 at its edge: the
centre of pixel x lies at (x + 0.5) / width. The box is the extent of the found keypoints and a tenth of its longer side
(at least a twentieth of the picture's) around it: they lie inside the thing, not on its outline. An image without a
keypoint has an empty file.
"""

import filecmp
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np

from lmpnet_cli.errors import OutputError
from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.io.files import write_text
from lmpnet_cli.keypoints import Keypoints

MARGIN, LEAST = 0.1, 0.05  # of the extent; of the longer side of the picture


def write(document: Document, out: Path, pictures: Mapping[str, Path]) -> list[Path]:
    """Writes `labels/`, `images/` (links to the pictures, copies where links are not to be had) and `data.yaml`.

    Args:
        pictures: where each image lies, by its name.
    """
    names = _names([result.file_name for result in document.results])
    _clear(out, set(names.values()))
    for result in document.results:
        write_text((out / "labels" / names[result.file_name]).with_suffix(".txt"), _line(result))
        _link(pictures[result.file_name], out / "images" / names[result.file_name])
    write_text(out / "data.yaml", _yaml(document, out))
    return [out / "data.yaml", out / "labels", out / "images"]


def _names(files: list[str]) -> dict[str, str]:
    """a.png beside a.jpg would share a.txt: it becomes a_png.png.

    Ultralytics finds a label by the last folder called images on the way, so there may be no other.
    """
    taken: set[str] = set()
    named = {}
    for file in files:
        path = PurePosixPath(*("images_" if part == "images" else part for part in PurePosixPath(file).parts))
        while str(path.with_suffix("")) in taken:
            path = path.with_name(f"{path.stem}_{path.suffix[1:] or 'x'}{path.suffix}")
        taken.add(str(path.with_suffix("")))
        named[file] = str(path)
    return named


def _clear(out: Path, names: set[str]) -> None:
    """Takes links and labels of an earlier conversion away, which a training would read as well."""
    for link in (out / "images").rglob("*"):
        if link.is_symlink() and link.relative_to(out / "images").as_posix() not in names:
            link.unlink()
    wanted = {PurePosixPath(name).with_suffix(".txt").as_posix() for name in names}
    for label in (out / "labels").rglob("*.txt"):
        if label.relative_to(out / "labels").as_posix() not in wanted:
            label.unlink()


def _line(result: Keypoints) -> str:
    if not result.found.any():
        return ""
    size = np.array([result.width, result.height], np.float64)
    points = (result.xy + 0.5) / size
    seen = result.xy[result.found] + 0.5
    low, high = seen.min(0), seen.max(0)
    around = max(MARGIN * float((high - low).max()), LEAST * float(size.max()))
    low, high = np.clip(low - around, 0, size) / size, np.clip(high + around, 0, size) / size
    cells = [*((low + high) / 2), *(high - low)]
    for point, found in zip(points, result.found, strict=True):
        cells += [*point, 2] if found else [0, 0, 0]
    return "0 " + " ".join(f"{cell:.6g}" for cell in cells) + "\n"


def _yaml(document: Document, out: Path) -> str:
    return (
        f"path: {json.dumps(str(out.absolute()))}\ntrain: images\nval: images\n"
        f"kpt_shape: [{len(document.names)}, 3]\nnames:\n  0: {json.dumps(document.category)}\n"
        f"kpt_names:\n  0: {json.dumps(list(document.names))}\n"
    )


def _link(picture: Path, place: Path) -> None:
    if place.exists() and not place.is_symlink():  # never in the place of somebody's picture
        if place.resolve() == picture.resolve() or filecmp.cmp(place, picture, shallow=False):
            return
        raise OutputError(f"{place} is there, and is another picture. Choose another --out.")
    with suppress(FileNotFoundError):
        place.unlink()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.symlink_to(picture.absolute())
        except (OSError, NotImplementedError):  # Windows without the right to
            shutil.copyfile(picture, place)
    except OSError as error:
        raise OutputError(f"Cannot write {place}: {error.strerror or error}. Choose another --out.") from error
