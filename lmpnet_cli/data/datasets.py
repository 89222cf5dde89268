"""Data sets as lists of samples: CUB-200-2011 folders, class folders, and the seeded split.

`read_classes` recognises the layout. Annotations are read by `annotations.py` and never reach the training.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from lmpnet_cli.data.listing import LEADS_OUT, Inside, ListedImage, bounds, list_images, stays_inside
from lmpnet_cli.errors import DatasetError, InputError
from lmpnet_cli.io.json_input import read_text

Split = Literal["train", "val", "test"]
_SPLIT_FOLDERS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "test": "test"}


@dataclass(frozen=True)
class Sample:
    """One labelled picture. `source` is its identity within the data set, the same wherever the folder lies.

    `refused` says why the picture may not be read, where it may not.
    """

    path: Path
    class_name: str
    split: Split
    source: str
    refused: str = ""

    @property
    def listed(self) -> ListedImage:
        """The picture alone."""
        return ListedImage(self.path, self.source, self.refused)


@dataclass(frozen=True)
class ClassData:
    """Samples and the sorted names of their classes; `official` where the data set brings its own split."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    official: bool

    def fingerprint(self) -> str:
        """The same for the same pictures, classes and splits in the same order, wherever the folders lie."""
        text = repr([(sample.source, sample.class_name, sample.split) for sample in self.samples])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def of(self, *splits: Split) -> list[Sample]:
        """The samples of these splits."""
        return [sample for sample in self.samples if sample.split in splits]


def cub_root(folder: Path) -> Path | None:
    """The folder that holds `images.txt`: itself or its `CUB_200_2011/`; None for another layout."""
    return next((root for root in (folder, folder / "CUB_200_2011") if (root / "images.txt").is_file()), None)


def read_classes(folders: Iterable[Path], follow_links: bool = False) -> ClassData:
    """Reads one or several data sets and merges them by class name.

    Args:
        follow_links: read pictures that links lead to, outside the folders too.

    Raises:
        DatasetError, InputError: when a folder is missing, has no class folders, or a class file does not fit.
    """
    parts = [_read_one(folder, follow_links) for folder in folders]
    samples = tuple(sample for part in parts for sample in part.samples)
    classes = tuple(sorted({sample.class_name for sample in samples}))
    if len(classes) < 2:
        raise DatasetError(
            f"A classifier needs two classes or more, and there is only {', '.join(classes)} here. Put the pictures "
            "of each class into a sub-folder of its own: DATA/heron/*.jpg, DATA/egret/*.jpg."
        )
    return ClassData(samples, classes, any(part.official for part in parts))


def _read_one(folder: Path, follow_links: bool) -> ClassData:
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder}. DATA is a folder with one sub-folder for each class, or a CUB folder."
        )
    root = cub_root(folder)
    return read_cub(root, bounds(folder, follow_links)) if root else _read_folders(folder, follow_links)


def read_table(path: Path, columns: int, inside: Inside | None = None) -> list[list[str]]:
    """The rows of a CUB text file, cut into so many columns.

    Args:
        inside: where the file must lie, all links resolved; None takes it wherever a link leads.

    Raises:
        DatasetError: when the file is missing or a row is short; names the line.
    """
    if inside is not None and path not in inside:
        raise DatasetError(f"{path} is {LEADS_OUT}.")
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"Cannot read {path}: {error}. A CUB folder needs it.") from error
    rows = [line.strip().split(maxsplit=columns - 1) for line in lines]
    for number, row in enumerate(rows, start=1):
        if row and len(row) != columns:
            raise DatasetError(f"{path}, line {number}: expected {columns} columns, found {len(row)}.")
    return [row for row in rows if row]


def cub_image_path(root: Path, name: str) -> Path:
    """The path of an image that a CUB file names; names may not leave the folder."""
    if not stays_inside(name):
        raise DatasetError(f"{root / 'images.txt'} names {name!r:.200}, which lies outside the data set.")
    return root / "images" / PurePosixPath(name)


def read_cub(root: Path, inside: Inside | None = None) -> ClassData:
    """The samples of a CUB folder, with its official split.

    Args:
        inside: where files must lie, all links resolved, to be read; None follows all links.
    """
    images = read_table(root / "images.txt", 2, inside)
    labels = dict(read_table(root / "image_class_labels.txt", 2, inside))
    names = dict(read_table(root / "classes.txt", 2, inside))
    training = dict(read_table(root / "train_test_split.txt", 2, inside))
    twice = [entry for column in zip(*images, strict=True) for entry, count in Counter(column).items() if count > 1]
    if twice:
        raise DatasetError(f"{root / 'images.txt'} lists {twice[0]} twice. Give each image its own line and id.")
    samples = []
    for image_id, name in images:
        if image_id not in labels or labels[image_id] not in names or image_id not in training:
            raise DatasetError(
                f"{root}: image {image_id} ({name}) has no class or no split. The text files do not fit together."
            )
        split: Split = "train" if training[image_id] == "1" else "test"
        path = cub_image_path(root, name)
        refused = "" if inside is None or path in inside else LEADS_OUT
        samples.append(Sample(path, names[labels[image_id]], split, name, refused))
    return ClassData(tuple(samples), tuple(sorted(set(names.values()))), official=True)


def _read_folders(folder: Path, follow_links: bool) -> ClassData:
    inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    splits = {entry: _SPLIT_FOLDERS[entry.name.lower()] for entry in inner if entry.name.lower() in _SPLIT_FOLDERS}
    if splits and "train" not in splits.values():
        raise DatasetError(f"{folder} holds {', '.join(entry.name for entry in splits)}, but no train folder beside.")
    splits = splits or {folder: "train"}
    samples = []
    for base, split in splits.items():
        for entry in sorted(base.iterdir()):
            if entry.is_dir() and not entry.name.startswith("."):
                samples += _class_samples(entry, folder, split, follow_links)
    if not samples:
        raise DatasetError(
            f"{folder} has no class folders with images. Put the pictures of each class into a sub-folder of its own: "
            f"{folder.name}/heron/*.jpg, {folder.name}/egret/*.jpg."
        )
    classes = tuple(sorted({sample.class_name for sample in samples}))
    return ClassData(tuple(samples), classes, official=len(splits) > 1)


def _class_samples(entry: Path, folder: Path, split: Split, follow_links: bool) -> list[Sample]:
    try:
        listed = list_images([entry], follow_links, within=folder)
    except InputError:
        return []  # an empty folder is no class
    return [
        Sample(image.path, entry.name, split, image.path.relative_to(folder).as_posix(), image.refused)
        for image in listed
    ]


def training_images(folders: Iterable[Path], follow_links: bool = False) -> list[ListedImage]:
    """All pictures of folders, of data sets with splits the training part; no classes are needed.

    Raises:
        DatasetError, InputError: when a folder is missing or has no pictures.
    """
    found: list[ListedImage] = []
    for folder in folders:
        root = cub_root(folder) if folder.is_dir() else None
        if root:
            samples = ClassData(read_cub(root, bounds(folder, follow_links)).samples, (), True).of("train")
            found += [sample.listed for sample in samples]
            continue
        inner = [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
        training = [entry for entry in inner if _SPLIT_FOLDERS.get(entry.name.lower()) == "train"]
        found += list_images(training or [folder], follow_links, within=folder if training else None)
    return found


def hold_out(data: ClassData, fraction: float, seed: int) -> ClassData:
    """Moves a part of the training samples to `val`, class by class, unless the data set brings a `val`.

    Pictures of one file name go together, so that a photograph that is in two data sets (as a crop and whole) is on one
    side. Every class keeps at least one training picture.
    """
    if fraction == 0 or data.of("val"):
        return data
    counts = Counter(sample.class_name for sample in data.of("train"))
    generator = np.random.default_rng(seed)
    held: set[tuple[str, str]] = set()
    for class_name in data.classes:
        names = sorted({s.path.name for s in data.of("train") if s.class_name == class_name})
        take = min(round(len(names) * fraction), len(names) - 1)
        if counts[class_name] and take > 0:
            held |= {(class_name, names[i]) for i in generator.permutation(len(names))[:take]}
    moved = tuple(
        replace(sample, split="val")
        if sample.split == "train" and (sample.class_name, sample.path.name) in held
        else sample
        for sample in data.samples
    )
    return ClassData(moved, data.classes, data.official)
