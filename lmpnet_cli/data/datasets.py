"""Read data sets as lists of samples: CUB-200-2011 folders and class folders; split them with a seed.

`read_classes` recognises the layout. `annotations.py` reads annotations, which training never sees.
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
    """One labelled image.

    Attributes:
        source: the name of the image within the data set, independent of where the folder is located.
        refused: the reason why the image must not be read; empty where it may be.
    """

    path: Path
    class_name: str
    split: Split
    source: str
    refused: str = ""

    @property
    def listed(self) -> ListedImage:
        """Return the image without its label."""
        return ListedImage(self.path, self.source, self.refused)


@dataclass(frozen=True)
class ClassData:
    """Samples and the sorted names of their classes; `official` is True where the data set has its own split."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    official: bool

    def fingerprint(self) -> str:
        """Return a checksum of the images, classes and splits in order, wherever the folders are located."""
        text = repr([(sample.source, sample.class_name, sample.split) for sample in self.samples])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def of(self, *splits: Split) -> list[Sample]:
        """Return the samples of these splits."""
        return [sample for sample in self.samples if sample.split in splits]


def cub_root(folder: Path) -> Path | None:
    """Return the folder that contains `images.txt`: `folder` or its `CUB_200_2011/`; None for another layout."""
    return next((root for root in (folder, folder / "CUB_200_2011") if (root / "images.txt").is_file()), None)


def read_classes(folders: Iterable[Path], follow_links: bool = False) -> ClassData:
    """Read one or several data sets and merge them by class name.

    Args:
        follow_links: follow symbolic links that point outside the folders.

    Raises:
        DatasetError, InputError: when a folder is missing, has no class folders, or a class file does not fit.
    """
    data_sets = [_read_one(folder, follow_links) for folder in folders]
    samples = tuple(sample for data_set in data_sets for sample in data_set.samples)
    classes = tuple(sorted({sample.class_name for sample in samples}))
    if len(classes) < 2:
        raise DatasetError(
            f"A classifier needs at least two classes, but there is only {', '.join(classes)}. Put the images "
            "of each class into a sub-folder of its own: DATA/heron/*.jpg, DATA/egret/*.jpg."
        )
    return ClassData(samples, classes, any(data_set.official for data_set in data_sets))


def _read_one(folder: Path, follow_links: bool) -> ClassData:
    if not folder.is_dir():
        raise InputError(
            f"Folder {folder} not found. DATA is a folder with one sub-folder for each class, or a CUB folder."
        )
    root = cub_root(folder)
    return read_cub(root, bounds(folder, follow_links)) if root else _read_folders(folder, follow_links)


def read_table(path: Path, columns: int, inside: Inside | None = None) -> list[list[str]]:
    """Return the rows of a CUB text file, split into `columns` columns.

    Args:
        inside: where the file must be located, all links resolved; None follows all links.

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
    """Return the path of an image that a CUB file names; the name must not point outside the folder."""
    if not stays_inside(name):
        raise DatasetError(f"{root / 'images.txt'} names {name!r:.200}, which is located outside the data set.")
    return root / "images" / PurePosixPath(name)


def read_cub(root: Path, inside: Inside | None = None) -> ClassData:
    """Return the samples of a CUB folder, with its official split.

    Args:
        inside: where files must be located, all links resolved, to be read; None follows all links.

    Raises:
        DatasetError: when a text file is missing or does not fit the others.
    """
    images = read_table(root / "images.txt", 2, inside)
    labels = dict(read_table(root / "image_class_labels.txt", 2, inside))
    names = dict(read_table(root / "classes.txt", 2, inside))
    training = dict(read_table(root / "train_test_split.txt", 2, inside))
    for column in ([image_id for image_id, _ in images], [name for _, name in images]):
        repeated = [entry for entry, count in Counter(column).items() if count > 1]
        if repeated:
            raise DatasetError(
                f"{root / 'images.txt'} lists {repeated[0]} twice. Each image needs its own line and id."
            )

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
        raise DatasetError(f"{folder} contains {', '.join(entry.name for entry in splits)}, but no train folder.")
    splits = splits or {folder: "train"}

    samples: list[Sample] = []
    for base, split in splits.items():
        for entry in sorted(base.iterdir()):
            if entry.is_dir() and not entry.name.startswith("."):
                samples += _class_samples(entry, folder, split, follow_links)
    if not samples:
        raise DatasetError(
            f"{folder} has no class folders with images. Put the images of each class into a sub-folder of its own: "
            f"{folder.name}/heron/*.jpg, {folder.name}/egret/*.jpg."
        )
    classes = tuple(sorted({sample.class_name for sample in samples}))
    return ClassData(tuple(samples), classes, official=len(splits) > 1)


def _class_samples(entry: Path, folder: Path, split: Split, follow_links: bool) -> list[Sample]:
    try:
        listed = list_images([entry], follow_links, within=folder)
    except InputError:
        return []  # an empty folder is not a class
    return [
        Sample(image.path, entry.name, split, image.path.relative_to(folder).as_posix(), image.refused)
        for image in listed
    ]


def training_images(folders: Iterable[Path], follow_links: bool = False) -> list[ListedImage]:
    """Return the images of folders; of data sets with splits, only the training images. No classes are needed.

    Raises:
        DatasetError, InputError: when a folder is missing or has no images.
    """
    found: list[ListedImage] = []
    for folder in folders:
        root = cub_root(folder) if folder.is_dir() else None
        if root:
            samples = ClassData(read_cub(root, bounds(folder, follow_links)).samples, (), True).of("train")
            if not samples:
                raise DatasetError(f"{root} has no training images. Pass its folder of images to use all of them.")
            found += [sample.listed for sample in samples]
            continue

        inner = [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
        training = [entry for entry in inner if _SPLIT_FOLDERS.get(entry.name.lower()) == "train"]
        found += list_images(training or [folder], follow_links, within=folder if training else None)
    return found


def hold_out(data: ClassData, fraction: float, seed: int) -> ClassData:
    """Move a share of the training samples to `val`, class by class, unless the data set has its own `val`.

    Images with the same file name stay together, so that a photograph that occurs in two data sets (as a crop and
    whole) is in one split. Every class keeps at least one training image.
    """
    if fraction == 0 or data.of("val"):
        return data

    names_of: dict[str, set[str]] = {class_name: set() for class_name in data.classes}
    for sample in data.of("train"):
        names_of[sample.class_name].add(sample.path.name)

    generator = np.random.default_rng(seed)
    held_out: set[tuple[str, str]] = set()  # class and file name
    for class_name in data.classes:
        names = sorted(names_of[class_name])
        count = min(round(len(names) * fraction), len(names) - 1)
        if count > 0:
            held_out |= {(class_name, names[index]) for index in generator.permutation(len(names))[:count]}

    samples = tuple(
        replace(sample, split="val")
        if sample.split == "train" and (sample.class_name, sample.path.name) in held_out
        else sample
        for sample in data.samples
    )
    return ClassData(samples, data.classes, data.official)
