"""Read the corrections that a person made in a report, for `discover --corrections`.

An image of the run and one of the file belong together where their names end alike (`match_names`). Corrected images
keep the points of the file, and images that were marked bad are skipped.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.data.names import SHOWN, match_names
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.io.coco import parse_coco
from lmpnet_cli.io.json_input import SchemaError, check, read_document
from lmpnet_cli.keypoints import NO_OBJECT, Keypoints, by_image
from lmpnet_cli.progress import Progress

FAULT = "has no corrections that lmpnet can read"
ADVICE = "Pass the file of Save corrections in a report, or another COCO keypoint file."


class _Category(Struct):
    keypoints: list[str]


class _File(Struct):
    """What the file has beside its images and annotations."""

    categories: Annotated[list[_Category], Meta(min_length=1)]
    bad: list[str] = []


@dataclass(frozen=True)
class Corrections:
    """The corrections for the images of a run.

    Attributes:
        path: the file.
        of: the objects of each image that was corrected or found good, by its name in the run.
        bad: the names in the run of the images that cannot be used.
    """

    path: Path
    of: dict[str, list[Keypoints]]
    bad: frozenset[str]

    def without_bad(self, files: Sequence[ListedImage]) -> list[ListedImage]:
        """Return the files; those that cannot be used are refused, with the reason."""
        reason = f"marked bad in {self.path.name}"
        return [replace(file, refused=reason) if file.name in self.bad else file for file in files]

    def applied(self, found: Sequence[Keypoints]) -> list[Keypoints]:
        """Return the keypoints that were found, with those of the file in their place on corrected images.

        Args:
            found: all objects of some images.

        Raises:
            DatasetError: when the file states another size for an image.
        """
        return [each for objects in by_image(found) for each in self._corrected(objects)]

    def _corrected(self, found: list[Keypoints]) -> list[Keypoints]:
        given = self.of.get(found[0].file_name, [])
        if not given:
            return found

        size, stated = (found[0].width, found[0].height), (given[0].width, given[0].height)
        if size != stated:
            raise DatasetError(
                f"{self.path} was made for another version of {found[0].file_name}: it states {stated[0]} x "
                f"{stated[1]} pixels, and the image has {size[0]} x {size[1]}. Use the same images, or remove this one "
                "from the file."
            )
        return [_in_place_of(found[min(index, len(found) - 1)], each) for index, each in enumerate(given)]


def _in_place_of(found: Keypoints, given: Keypoints) -> Keypoints:
    """Return a corrected object with the class that was predicted, and a window where the run has windows."""
    window = found.window
    if window is not None and given.window is not None:
        window = given.window
    elif window == NO_OBJECT:
        window = (0.0, 0.0, float(found.width), float(found.height))  # the file has an object, but no window
    return replace(found, xy=given.xy, scores=given.scores, replica_shares=None, window=window)


def read_corrections(path: Path, files: Sequence[ListedImage], names: Sequence[str], progress: Progress) -> Corrections:
    """Read the corrections of images, and warn of those that are for others.

    Args:
        files: the images of the run.
        names: the keypoints of the run, which those of the file must be, in any order.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it is not a COCO keypoint file, or has other keypoints.
    """
    document = read_document(path, Any, FAULT, ADVICE)
    try:
        file = check(document, _File)
        objects = parse_coco(document)
    except SchemaError as error:
        raise DatasetError(f"{path} {FAULT} ({error}). {ADVICE}") from error

    theirs = file.categories[0].keypoints
    if sorted(theirs) != sorted(names):
        raise DatasetError(
            f"{path} has the keypoints {', '.join(theirs)}, and this run finds {', '.join(names)}. Pass corrections of "
            "results of the same model and method."
        )
    if any(len(each.scores) != len(theirs) for each in objects if not each.empty):
        raise DatasetError(f"{path} {FAULT} (an annotation has another number of keypoints than the names). {ADVICE}")

    by_name: dict[str, list[Keypoints]] = {}
    for each in objects:
        by_name.setdefault(each.file_name, []).append(_ordered(each.padded(len(theirs)), theirs, names))

    listed = list(dict.fromkeys([*by_name, *file.bad]))
    match = match_names(listed, [each.name for each in files], Counter())
    if foreign := [name for name in listed if name not in match]:
        examples = ", ".join(f"{name:.100}" for name in foreign[:SHOWN])
        more = ", ..." if len(foreign) > SHOWN else ""
        progress.warn(f"{path.name}: {len(foreign)} images are not in this run ({examples}{more}).")

    bad = frozenset(match[name] for name in file.bad if name in match)
    return Corrections(path, {match[name]: group for name, group in by_name.items() if name in match}, bad)


def _ordered(given: Keypoints, theirs: Sequence[str], names: Sequence[str]) -> Keypoints:
    """Return the keypoints in the order of the run; a person's keypoint has the score 1."""
    xy = given.xy[[theirs.index(name) for name in names]]
    return replace(given, xy=xy, scores=np.where(np.isnan(xy[:, 0]), np.nan, 1.0))
