"""Write the tables of DeepLabCut: predictions, which are analysed, or labels, which are corrected and trained on.

Predictions are one table with x, y and likelihood of each keypoint. Labels have x and y alone and are where DeepLabCut
looks for them in a project: `labeled-data/SET/CollectedData_SCORER.csv`, beside the images of the set.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from lmpnet_cli.data.listing import absolute
from lmpnet_cli.export.formats.dlc_table import Table, check_one_animal
from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.export.formats.image_files import write_images
from lmpnet_cli.export.formats.spreadsheet import without_formula
from lmpnet_cli.keypoints import Keypoints

SCORER = "lmpnet"
COORDS, LABEL_COORDS = ("x", "y", "likelihood"), ("x", "y")
LABELS_FOLDER = "labeled-data"  # DeepLabCut also recognises rows of labels by this name
MAX_SET_BYTES = 200  # of the name of a set; most file systems allow 255


def write(document: Document, destination: Destination) -> list[Path]:
    """Write the CSV file and, where pandas and tables are installed, the same table as .h5 beside it."""
    check_one_animal(document)
    rows = [np.column_stack([each.xy.round(2), each.scores.round(4)]).reshape(-1) for each in document.results]
    values = np.array(rows, np.float64).reshape(len(rows), len(document.names) * len(COORDS))
    index = [(each.file_name,) for each in document.results]
    return Table(SCORER, document.names, COORDS, index, values).write(destination.path)


def write_labels(document: Document, destination: Destination) -> list[Path]:
    """Write a folder for each set, with its images and its tables; a set is a folder of images.

    Files of an earlier export that do not belong to this one stay, since their labels may have been corrected by hand.
    """
    check_one_animal(document)
    places = _places(document, destination)
    images = {place: destination.images[file_name] for file_name, place in places.items()}
    tables = label_files(document, destination)
    write_images(destination.path, images, destination.link_images, tables, destination.progress, remove=False)

    sets: dict[str, list[Keypoints]] = {}
    for result in document.results:
        sets.setdefault(PurePosixPath(places[result.file_name]).parent.as_posix(), []).append(result)
    for folder, results in sets.items():
        index = [PurePosixPath(places[each.file_name]).parts for each in results]
        values = np.array([each.xy.round(2).reshape(-1) for each in results], np.float64)
        table = Table(destination.scorer or SCORER, document.names, LABEL_COORDS, index, values)
        table.write(destination.path / folder / _table_name(destination))
    return [destination.path / LABELS_FOLDER]


def label_files(document: Document, destination: Destination) -> list[str]:
    """Return the tables of labels that would be written; those of an earlier export may have been corrected by hand."""
    folders = {PurePosixPath(place).parent for place in _places(document, destination).values()}
    tables = sorted((folder / _table_name(destination)).as_posix() for folder in folders)
    return [f"{table.removesuffix('.csv')}{suffix}" for table in tables for suffix in (".csv", ".h5")]


def _table_name(destination: Destination) -> str:
    return f"CollectedData_{destination.scorer}.csv"


def _places(document: Document, destination: Destination) -> dict[str, str]:
    """Map each image to its path in the export, `labeled-data/SET/NAME`.

    The set of the folder a/b is called a_b, and that of images that are in no sub-folder like the folder they are in.
    Names that these rules give twice get a number.
    """
    images_in: dict[tuple[str, ...], list[str]] = {}
    for objects in document.images:
        file_name = objects[0].file_name
        images_in.setdefault(PurePosixPath(file_name).parent.parts, []).append(file_name)

    places = {}
    used_sets: set[str] = set()
    # a folder that needs no new name keeps its own: in a project of DeepLabCut the images stay where they are
    for folders in sorted(images_in, key=lambda folders: (len(folders), folders)):
        names = images_in[folders]
        set_name = _unused(_set_name(folders or [_folder_of(names[0], destination)]), used_sets)
        used: set[str] = set()
        for name in sorted(names, key=lambda name: _plain(PurePosixPath(name).name) != PurePosixPath(name).name):
            places[name] = f"{LABELS_FOLDER}/{set_name}/{_unused(_plain(PurePosixPath(name).name), used)}"
    return places


def _folder_of(name: str, destination: Destination) -> str:
    return absolute(destination.images[name]).parent.name or "images"


def _set_name(folders: Iterable[str]) -> str:
    """Return the names of nested folders as one; where that is too long, the inner ones alone."""
    parts = list(folders)
    while len(parts) > 1 and len(os.fsencode("_".join(parts))) > MAX_SET_BYTES:
        parts.pop(0)
    return _plain("_".join(parts))


def _plain(name: str) -> str:
    """Return a file name that is the same in a table: one line of text, and no formula."""
    text = name.encode("utf-8", "replace").decode()
    return without_formula(re.sub(r"[\r\n]", "_", text), mark="_")


def _unused(name: str, used: set[str]) -> str:
    """Return the name, with a number before its suffix where it is in use, and add it to the names in use."""
    path, number, unused = PurePosixPath(name), 2, name
    while unused in used:
        unused = f"{path.stem}_{number}{path.suffix}"
        number += 1
    used.add(unused)
    return unused


LABELS = Format(
    write=write_labels,
    file_name=None,
    next_step="move what is in {out}/labeled-data into labeled-data of your DeepLabCut project, and add each folder to "
    "video_sets in its config.yaml, which must have the same scorer and bodyparts",
    needs_images=True,
    fixed_parts=True,
    replaces=label_files,
)

FORMAT = Format(
    write=write,
    file_name="keypoints.csv",
    companions=(".h5",),
    next_step='read it with pandas: pandas.read_csv("{out}", header=[0, 1, 2], index_col=0)',
    fixed_parts=True,
    labels=LABELS,
)
