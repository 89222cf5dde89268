"""Write a CUB folder that contains some images of another one."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from lmpnet_cli.data.datasets import read_table


def write_subset(data: Path, folder: Path, kept: Mapping[str, bool]) -> Path:
    """Copy some images with their annotations.

    Args:
        data: the folder that contains `images.txt`.
        kept: numbers of the images, and whether each is a training image of the new folder.
    """
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    for name, columns in {"image_class_labels": 2, "bounding_boxes": 5, "parts/part_locs": 5}.items():
        rows = [row for row in read_table(data / f"{name}.txt", columns) if row[0] in kept]
        write_table(folder / f"{name}.txt", rows)
    split = [number for number, _ in read_table(data / "train_test_split.txt", 2) if number in kept]
    write_table(folder / "train_test_split.txt", [[number, str(int(kept[number]))] for number in split])
    shutil.copy(data / "parts" / "parts.txt", folder / "parts")

    classes = {label for _, label in read_table(folder / "image_class_labels.txt", 2)}
    write_table(folder / "classes.txt", [row for row in read_table(data / "classes.txt", 2) if row[0] in classes])

    images = [row for row in read_table(data / "images.txt", 2) if row[0] in kept]
    for _, name in images:
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / "images" / name, folder / "images" / name)
    write_table(folder / "images.txt", images)  # last: the folder is complete
    return folder


def write_table(path: Path, rows: list[list[str]]) -> None:
    """Write rows as CUB does."""
    path.write_text("".join(" ".join(row) + "\n" for row in rows))
