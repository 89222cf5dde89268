"""Find the folders of a split: directly in a data set, in its `images/`, or in each of its class folders.

This is the only place that decides which names are those of a split.
"""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from lmpnet_cli.data.listing import folders_in
from lmpnet_cli.errors import DatasetError

Split = Literal["train", "val", "test"]
_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_NAME = re.compile(r"([a-z]+)([ _-]?(19|20)\d\d)?")  # a word, and the year of a release, as in train2017
# a word in a longer name, as in 01_val or test_set
_LIKE_A_SPLIT = re.compile(r"(?<![a-z])(train(ing)?|val(id|idation)?|test(ing)?|dev|holdout)(?![a-z])", re.IGNORECASE)


class SplitFolders(NamedTuple):
    """The folders of a split.

    Attributes:
        splits: each folder and what it contains; empty where a data set has no split.
        in_classes: whether the folders are located in class folders, and not above them.
    """

    splits: dict[Path, Split]
    in_classes: bool


def split_called(name: str) -> Split | None:
    """Return the split that a folder of this name contains; None for another folder.

    >>> [split_called(name) for name in ("Training", "val2017", "test_2024", "test_set", "2017")]
    ['train', 'val', 'test', None, None]
    """
    match = _NAME.fullmatch(name.strip().lower())
    return _WORDS.get(match[1]) if match else None


def looks_like_split(name: str) -> bool:
    """Return whether a name contains the word of a split, whatever else it contains."""
    return _LIKE_A_SPLIT.search(name) is not None


def find_splits(folder: Path) -> SplitFolders:
    """Return the split folders of a data set.

    Class folders may be called like a split (a train is a vehicle). Therefore split folders in class folders count only
    where there are training images and others.

    Raises:
        DatasetError: when there are split folders, but none for the training.
    """
    roots = [folder, *(entry for entry in folders_in(folder) if entry.name.lower() == "images")]
    for root in roots:
        above = _by_split(folders_in(root))
        if above:
            if "train" not in above.values():
                raise DatasetError(f"{root} contains {', '.join(entry.name for entry in above)}, but no train folder.")
            return SplitFolders(above, in_classes=False)

    for root in roots:
        readable = [entry for entry in folders_in(root) if os.access(entry, os.R_OK | os.X_OK)]
        below = _by_split(inner for entry in readable for inner in folders_in(entry))
        if "train" in below.values() and len(set(below.values())) > 1:
            return SplitFolders(below, in_classes=True)
    return SplitFolders({}, in_classes=False)


def folders_beside(folder: Path, splits: Collection[Path], junk: Counter[str]) -> list[Path]:
    """Return the folders of a data set that belong to none of its splits: all folders in it where there are none.

    Args:
        junk: as for `folders_in`.
    """
    above = {parent for path in splits for parent in path.parents if parent.is_relative_to(folder)} or {folder}
    inner = [entry for parent in sorted(above) for entry in folders_in(parent, junk)]
    return [entry for entry in inner if entry not in splits and entry not in above]


def _by_split(folders: Iterable[Path]) -> dict[Path, Split]:
    splits = {entry: split_called(entry.name) for entry in folders}
    return {entry: split for entry, split in splits.items() if split is not None}
