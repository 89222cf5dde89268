"""Write a YOLO pose dataset as Ultralytics trains on it: one text file per image, and `data.yaml`.

There is a line for each object: `class cx cy w h`, followed by `x y v` for each keypoint. Values are fractions of the
width and the height of the image, and 0 is its edge: the centre of pixel x is at (x + 0.5) / width. The box is the
window of the object. Where objects were not looked for, it is the extent of the found keypoints with a margin, since
keypoints are inside the object and not on its outline. An image without a keypoint has an empty file.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.data.left_right import flip_indices, sides_without_partner
from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.export.formats.image_files import write_images
from lmpnet_cli.io.files import write_text
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.progress import Progress

Corner = NDArray[np.float64]

MARGIN = 0.1  # of the longer side of the extent of the keypoints, on each side
MIN_MARGIN = 0.05  # of the longer side of the image


def write(document: Document, destination: Destination) -> list[Path]:
    """Write `images/` (copies, or links where they are wanted), `labels/` and `data.yaml`."""
    out = destination.path
    names = _dataset_names([objects[0].file_name for objects in document.images])
    images = {f"images/{name}": destination.images[file_name] for file_name, name in names.items()}
    labels = {file_name: f"labels/{_label_name(PurePosixPath(name))}" for file_name, name in names.items()}

    # a training reads every image and label in the folders, so those of an earlier export must go
    write_images(out, images, destination.link_images, ["data.yaml", *labels.values()], destination.progress)
    for objects in document.images:
        write_text(out / labels[objects[0].file_name], "".join(map(_label_line, objects)))
    write_text(out / "data.yaml", _data_yaml(document, _flip_idx(document, destination.progress)))
    return [out / "data.yaml", out / "labels", out / "images"]


def _dataset_names(files: Sequence[str]) -> dict[str, str]:
    """Map each image to its path in the dataset.

    Images that differ in their suffix only would share a text file, so a.png beside a.jpg becomes a_png.png. The same
    happens where the text file would have the name of a folder. A folder called images becomes images_, since
    Ultralytics finds the labels by the last folder of that name in a path.
    """
    paths = {
        file: PurePosixPath(*("images_" if folder == "images" else folder for folder in PurePosixPath(file).parts))
        for file in files
    }
    used = {str(folder) for path in paths.values() for folder in path.parents}

    names = {}
    for file, path in paths.items():
        while used.intersection((str(path), _label_name(path))):
            path = path.with_name(f"{path.stem}_{path.suffix[1:] or 'x'}{path.suffix}")
        used |= {str(path), _label_name(path)}
        names[file] = str(path)
    return names


def _label_name(path: PurePosixPath) -> str:
    return str(path.with_suffix(".txt"))


def _label_line(result: Keypoints) -> str:
    if not result.found.any():
        return ""

    size = np.array([result.width, result.height], np.float64)
    low, high = (np.clip(corner, 0, size) / size for corner in _box(result, size))

    cells = [*((low + high) / 2), *(high - low)]
    for point, is_found in zip((result.xy + 0.5) / size, result.found, strict=True):
        cells += [*point, 2] if is_found else [0, 0, 0]
    return "0 " + " ".join(f"{cell:.6g}" for cell in cells) + "\n"


def _box(result: Keypoints, size: Corner) -> tuple[Corner, Corner]:
    """Return the left upper and the right lower corner, in pixels from the edge of the image."""
    if result.window is not None:
        x, y, width, height = result.window
        return np.array([x, y]), np.array([x + width, y + height])

    found = result.xy[result.found] + 0.5
    low, high = found.min(0), found.max(0)
    margin = max(MARGIN * float((high - low).max()), MIN_MARGIN * float(size.max()))
    return low - margin, high + margin


def _flip_idx(document: Document, progress: Progress) -> list[int]:
    """Return the `flip_idx` of the keypoints, and warn of names that have a side without a partner."""
    if document.is_ranked:  # a rank has no side, whatever it is called
        return list(range(len(document.names)))

    flipped = flip_indices(document.names)
    if alone := sides_without_partner(document.names, flipped):
        progress.warn(
            f"flip_idx: {len(alone)} of {len(flipped)} keypoints have a left or right side but no partner, for example "
            f"{alone[0]!r:.60}. They keep their places when a training mirrors images."
        )
    return flipped


def _data_yaml(document: Document, flipped: Sequence[int]) -> str:
    """Return the content of `data.yaml`. Without `flip_idx` Ultralytics would not mirror any image in a training."""
    names = ", ".join(map(_yaml_text, document.names))
    return (
        'path: ""  # empty: the folder of this file, wherever it is moved (a dot would be the current folder)\n'
        "train: images\nval: images\n"
        f"kpt_shape: [{len(document.names)}, 3]\n"
        f"flip_idx: {list(flipped)}\n"
        f"names:\n  0: {_yaml_text(document.category)}\n"
        f"kpt_names:\n  0: [{names}]\n"
    )


def _yaml_text(text: str) -> str:
    """Return a text as YAML writes it in quotes. JSON's escapes do not fit: YAML has no pairs of \\u for one character.

    >>> print(_yaml_text('süß "x"\\n'))
    "süß \\"x\\"\\U0000000A"
    """
    text = text.encode("utf-8", "backslashreplace").decode()  # half a pair cannot be written at all
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08X}" for each in text) + '"'


FORMAT = Format(
    write=write,
    file_name=None,
    next_step="yolo pose train data={out}/data.yaml model=yolo11n-pose.pt",
    needs_images=True,
    fixed_parts=True,
)
