"""Find the annotation file of a data set, and the images that it names.

Known are the layouts of COCO (`annotations/person_keypoints_train2017.json` beside `train2017/`), CVAT (`annotations/`
beside `images/default/`), FiftyOne (`labels.json` and `data/`), Label Studio (`result.json` and `images/`) and Roboflow
(`_annotations.coco.json` among the images), and an annotation file beside its images or beside `images/`. An image that
is in none of these places is looked for in the whole data set by its name (`match_names`).
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lmpnet_cli.data.listing import list_images, real, stays_inside
from lmpnet_cli.data.names import match_names, plain_parts
from lmpnet_cli.errors import DatasetError, InputError, some

_FOLDERS = ("annotations", "labels")  # that hold annotation files, beside the folders of the images
_FILES = ("labels.json", "result.json", "_annotations.coco.json")
_KEYPOINTS = "person_keypoints_"  # how COCO and CVAT begin the name of a file with keypoints


class ImageFile(NamedTuple):
    """The file of an image that an annotation file names.

    Attributes:
        refused: the reason why it must not be read; empty where it may be.
    """

    path: Path
    refused: str = ""


def annotation_file(folder: Path) -> Path:
    """Return the COCO keypoint file of a data set.

    Raises:
        DatasetError: when there is none, or there are several and none is known to be the one.
    """
    found = sorted(path for place in (folder, *(folder / name for name in _FOLDERS)) for path in place.glob("*.json"))
    known = [path for path in found if path.name in _FILES or path.name.startswith(_KEYPOINTS)]
    for choice in (known, found):
        if len(choice) == 1:
            return choice[0]
    names = ", ".join(path.relative_to(folder).as_posix() for path in (known or found)[:5])
    several = f"It has {len(known or found)} .json files ({names}): pass one of them." if found else ""
    raise DatasetError(
        f"{folder} must contain either images.txt of the CUB layout or exactly one COCO keypoint .json, also in "
        f"annotations/. {several}".rstrip()
    )


def data_root(file: Path) -> Path:
    """Return the folder of the data set that an annotation file belongs to."""
    return file.parent.parent if file.parent.name.lower() in _FOLDERS else file.parent


def image_files(file: Path, names: Sequence[str], images: Path | None = None, usual: str = "") -> dict[str, ImageFile]:
    """Return the file of each image that an annotation file names; one that does not exist where it should be.

    A file is refused where the name of the image fits others as well.

    Args:
        images: the folder of the images, where the user says it.
        usual: the folder beside the file in which they usually are.

    Raises:
        InputError: when `images` is no folder.
        DatasetError: when a name points outside the data set, and no image in it is called alike.
    """
    if images is not None and not images.is_dir():
        raise InputError(f"--images {images} is not a folder. Pass the folder that contains the images.")
    root = images or data_root(file)
    places = [images] if images else _places(file, root, usual)
    expected = places[0]

    files: dict[str, ImageFile] = {}
    for name in names:
        if found := _in_places(places, name):
            places = [found[0], *(place for place in places if place != found[0])]  # where the next one is likely to be
            files[name] = ImageFile(found[1])
    missing = [name for name in names if name not in files]
    if missing:
        files |= _anywhere(root, missing)
    for name in missing:
        if name not in files and not stays_inside(name):
            raise DatasetError(f"{file} names {name!r:.200}, which is located outside {root}.")
    return {name: files.get(name) or ImageFile(expected / name) for name in names}


def _places(file: Path, root: Path, usual: str) -> list[Path]:
    """Return the folders in which the layouts have the images of an annotation file."""
    subsets = [f"{above}{subset}" for subset in _subsets(file.stem) for above in ("", "images/")]
    inner = ("", "images", "data", *subsets, "images/default")
    return list(dict.fromkeys([file.parent / usual, file.parent, *(root / name for name in inner)]))


def _subsets(stem: str) -> list[str]:
    """Return what the folder of the images may be called: the end of the name of the annotation file, or a word of it.

    >>> _subsets("keypoints_my_val")
    ['keypoints_my_val', 'my_val', 'val', 'my', 'keypoints']
    """
    words = stem.split("_")
    ends = ["_".join(words[start:]) for start in range(len(words))]
    names = dict.fromkeys([*ends, *reversed(re.split(r"[^\w]|_", stem))])
    return [name for name in names if name and stays_inside(name)]


def _in_places(places: Sequence[Path], name: str) -> tuple[Path, Path] | None:
    """Return the first folder that has an image of this name, and the path of the image."""
    if not stays_inside(name):
        return None
    for spelling in (name, "/".join(plain_parts(name))):
        for place in places:
            if stays_inside(spelling) and os.path.exists(place / spelling):  # noqa: PTH110 (`Path.exists` raises where a name is too long)
                return place, place / spelling
    return None


def _anywhere(root: Path, names: Sequence[str]) -> dict[str, ImageFile]:
    """Return the images below a folder that are called like some of the names.

    The root of the file system and the home folder are not searched: they are not a data set.
    """
    if real(root) in (real(Path.home()), Path(root.anchor)):
        return {}
    try:
        listed = {image.name: image.path for image in list_images([root], follow_links=False)}
    except InputError:  # no images at all
        return {}

    ambiguous: dict[str, list[str]] = {}
    match = match_names(names, list(listed), Counter(), ambiguous)
    files = {name: ImageFile(listed[found]) for name, found in match.items()}
    for name, fitting in ambiguous.items():
        reason = (
            f"its name fits several files ({some(fitting, 3)}); say which folder is meant (--images of "
            "eval, --image-folder of fit)"
        )
        files[name] = ImageFile(listed[fitting[0]], reason)
    return files
