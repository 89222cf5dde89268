"""Read data sets as lists of samples: CUB-200-2011 folders and class folders; split them with a seed.

`read_classes` recognises the layout. `annotations.py` reads annotations, which training never sees.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lmpnet_cli.data.layouts import image_files
from lmpnet_cli.data.listing import LEADS_OUT, Inside, ListedImage, bounds, folders_in, list_images
from lmpnet_cli.data.splits import Split, find_splits, folders_beside, looks_like_split
from lmpnet_cli.errors import DatasetError, InputError, some
from lmpnet_cli.io.coco_schema import same_id
from lmpnet_cli.io.json_input import read_text


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
    """Samples and the sorted names of their classes; `official` is True where the data set has its own split.

    Attributes:
        spellings: each class with the names of its folders, or with its name in a CUB folder.
        notes: what the user should know of the folders, in sentences.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    official: bool
    spellings: frozenset[tuple[str, str]] = frozenset()
    notes: tuple[str, ...] = ()

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


def read_classes(folders: Iterable[Path], follow_links: bool = False, junk: Counter[str] | None = None) -> ClassData:
    """Read one or several data sets and merge them by class name.

    Args:
        follow_links: follow symbolic links that point outside the folders.
        junk: as for `list_images`.

    Raises:
        DatasetError, InputError: when a folder is missing, has no class folders, or a class file does not fit.
    """
    junk = Counter() if junk is None else junk
    data_sets = [_read_one(folder, follow_links, junk) for folder in folders]
    spellings = frozenset().union(*(data_set.spellings for data_set in data_sets))
    names = _one_name_each({name for name, _ in spellings})
    spellings = frozenset((names[name], folder) for name, folder in spellings)
    samples = tuple(
        replace(sample, class_name=names[sample.class_name]) for data_set in data_sets for sample in data_set.samples
    )
    classes = tuple(sorted({sample.class_name for sample in samples}))
    if len(classes) < 2:
        raise DatasetError(
            f"A classifier needs at least two classes, but there is only {', '.join(classes)}. Put the images "
            "of each class into a sub-folder of its own: DATA/heron/*.jpg, DATA/egret/*.jpg."
        )
    official = any(data_set.official for data_set in data_sets)
    notes = [note for data_set in data_sets for note in data_set.notes]
    notes += [*_spelling_notes(spellings), *_coverage_notes(samples)]
    return ClassData(samples, classes, official, spellings, tuple(notes))


def _one_name_each(names: Iterable[str]) -> dict[str, str]:
    """Return the name of the class for each spelling: the shortest one, then the first one of the alphabet."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(_without_looks(name), []).append(name)
    return {name: min(group, key=lambda each: (len(each), each)) for group in alike.values() for name in group}


def _without_looks(name: str) -> str:
    """Return a class name without what nobody sees or means: invisible characters, case, a dot at its end."""
    visible = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return " ".join(visible.split()).rstrip(". ").casefold() or name


def _spelling_notes(spellings: Iterable[tuple[str, str]]) -> list[str]:
    """Return one sentence for each class that has folders of several names."""
    folders: dict[str, list[str]] = {}
    for name, folder in sorted(spellings):
        folders.setdefault(name, []).append(folder)
    return [
        f"{len(group)} folders are the one class {name!r}: {some(map(repr, group))} differ only in case, blanks, a "
        "final dot, invisible characters or the form of Unicode. Rename them if they are different classes."
        for name, group in folders.items()
        if len(group) > 1
    ]


def _coverage_notes(samples: Iterable[Sample]) -> list[str]:
    """Return which classes are missing in the training images, or in the validation images where there are any."""
    classes: dict[Split, set[str]] = {"train": set(), "val": set(), "test": set()}
    for sample in samples:
        classes[sample.split].add(sample.class_name)

    notes = []
    if untrained := (classes["val"] | classes["test"]) - classes["train"]:
        notes.append(f"No training images of {some(sorted(untrained))}: the validation and test images are not used.")
    if classes["val"] and (unchecked := classes["train"] - classes["val"]):
        notes.append(f"No validation images of {some(sorted(unchecked))}: the validation accuracy omits them.")
    return notes


def _read_one(folder: Path, follow_links: bool, junk: Counter[str]) -> ClassData:
    if not folder.is_dir():
        raise InputError(
            f"Folder {folder} not found. DATA is a folder with one sub-folder for each class, or a CUB folder."
        )
    root = cub_root(folder)
    return read_cub(root, bounds(folder, follow_links)) if root else _read_folders(folder, follow_links, junk)


def read_table(path: Path, columns: int, inside: Inside | None = None) -> list[list[str]]:
    """Return the rows of a CUB text file, split into `columns` columns; ids in the first one as `same_id`.

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
    return [[str(same_id(row[0])), *row[1:]] for row in rows if row]


def read_cub(root: Path, inside: Inside | None = None, given: Path | None = None) -> ClassData:
    """Return the samples of a CUB folder, with its official split.

    Args:
        inside: where files must be located, all links resolved, to be read; None follows all links.
        given: the folder of the images, in place of `images/`.

    Raises:
        DatasetError: when a text file is missing or does not fit the others.
    """
    images = read_table(root / "images.txt", 2, inside)
    labels = {image: str(same_id(label)) for image, label in read_table(root / "image_class_labels.txt", 2, inside)}
    names = {label: class_called(name) for label, name in read_table(root / "classes.txt", 2, inside)}
    training = {image: same_id(flag) == 1 for image, flag in read_table(root / "train_test_split.txt", 2, inside)}
    for column in ([image_id for image_id, _ in images], [name for _, name in images]):
        repeated = [entry for entry, count in Counter(column).items() if count > 1]
        if repeated:
            raise DatasetError(
                f"{root / 'images.txt'} lists {repeated[0]} twice. Each image needs its own line and id."
            )

    files = image_files(root / "images.txt", [name for _, name in images], given, usual="images")
    if given is not None and inside is not None:
        inside = Inside([root, given])
    samples = []
    for image_id, name in images:
        if image_id not in labels or labels[image_id] not in names or image_id not in training:
            raise DatasetError(
                f"{root}: image {image_id} ({name}) has no class or no split. The text files do not fit together."
            )
        split: Split = "train" if training[image_id] else "test"
        path, refused = files[name]
        if inside is not None and path not in inside:
            refused = LEADS_OUT
        samples.append(Sample(path, names[labels[image_id]], split, name, refused))

    classes = tuple(sorted(set(names.values())))
    spellings = frozenset((name, name) for name in classes)
    return ClassData(tuple(samples), classes, official=True, spellings=spellings)


def class_called(folder: str) -> str:
    """Return the name of the class in a folder: without blanks at its ends, and in one form of Unicode."""
    return unicodedata.normalize("NFC", folder).strip() or folder


def _read_folders(folder: Path, follow_links: bool, junk: Counter[str]) -> ClassData:
    splits, in_classes = find_splits(folder)
    beside = folders_beside(folder, splits, junk)
    if not splits:
        class_folders: list[tuple[Path, str, Split]] = [(entry, entry.name, "train") for entry in beside]
    elif in_classes:
        class_folders = [(entry, entry.parent.name, split) for entry, split in splits.items()]
    else:
        class_folders = [(entry, entry.name, split) for top, split in splits.items() for entry in folders_in(top, junk)]

    samples: list[Sample] = []
    spellings = set()
    for entry, name, split in class_folders:
        found = _class_samples(entry, name, folder, split, follow_links, junk)
        samples += found
        spellings |= {(sample.class_name, name) for sample in found[:1]}
    if not samples:
        raise DatasetError(
            f"{folder} has no class folders with images. Put the images of each class into a sub-folder of its own: "
            f"{folder.name}/heron/*.jpg, {folder.name}/egret/*.jpg."
        )
    classes = tuple(sorted({name for name, _ in spellings}))
    official = len(set(splits.values())) > 1
    return ClassData(tuple(samples), classes, official, frozenset(spellings), _split_notes(folder, splits, beside))


def _split_notes(folder: Path, splits: Iterable[Path], beside: Sequence[Path]) -> tuple[str, ...]:
    """Return what the user should know of the folders beside a split, or of classes that look like one."""
    split_names, others = (some(path.relative_to(folder).as_posix() for path in paths) for paths in (splits, beside))
    if split_names and others:
        return (
            f"{folder}: {others} is ignored beside {split_names}. The folders of a split are called train, val and "
            "test (or training, valid, validation, testing), with or without a year.",
        )

    likely = [entry.name for entry in beside if looks_like_split(entry.name)]
    if len(likely) > 1:
        return (
            f"{folder}: {', '.join(likely)} are read as classes. If they are a split, call them train, val and test.",
        )
    return ()


def _class_samples(
    entry: Path, called: str, folder: Path, split: Split, follow_links: bool, junk: Counter[str]
) -> list[Sample]:
    try:
        listed = list_images([entry], follow_links, within=folder, junk=junk)
    except InputError:
        return []  # an empty folder is not a class
    name = class_called(called)
    return [
        Sample(image.path, name, split, image.path.relative_to(folder).as_posix(), image.refused) for image in listed
    ]


def training_images(
    folders: Iterable[Path], follow_links: bool = False, junk: Counter[str] | None = None
) -> list[ListedImage]:
    """Return the images of folders; of data sets with splits, only the training images. No classes are needed.

    Args:
        junk: as for `list_images`.

    Raises:
        DatasetError, InputError: when a folder is missing or has no images.
    """
    junk = Counter() if junk is None else junk
    found: list[ListedImage] = []
    for folder in folders:
        root = cub_root(folder) if folder.is_dir() else None
        if root:
            samples = ClassData(read_cub(root, bounds(folder, follow_links)).samples, (), True).of("train")
            if not samples:
                raise DatasetError(f"{root} has no training images. Pass its folder of images to use all of them.")
            found += [sample.listed for sample in samples]
            continue

        splits = find_splits(folder).splits if folder.is_dir() else {}
        training = [entry for entry, split in splits.items() if split == "train"]
        found += list_images(training or [folder], follow_links, folder if training else None, junk)
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
