"""Give results the ids of the annotation file that they are scored against.

COCO's evaluator matches results and annotations by the ids of image and category alone. Two files about the same images
number them differently as a rule, and the evaluator then compares the wrong images without a message.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import Struct

from lmpnet_cli.data.names import match_names
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.export.formats import Document
from lmpnet_cli.io.coco_schema import Id, refuse_shared_ids
from lmpnet_cli.io.json_input import read_document
from lmpnet_cli.progress import Progress


class _Image(Struct, kw_only=True):
    """An image with its id as it is spelled in the file, since the evaluator compares the spellings."""

    id: Id
    file_name: str


class _Category(Struct, kw_only=True):
    id: Id | None = None
    keypoints: list[str] | None = None


class _Truth(Struct, kw_only=True):
    """What is needed of an annotation file."""

    images: list[_Image]
    categories: list[_Category] | None = None


def with_ids_of(truth: Path, document: Document, progress: Progress) -> Document:
    """Return the document with the ids that the images and the category have in the file `truth`.

    Images are matched by name. Those that `truth` does not list are omitted, with a warning.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it is not a COCO file, lists an image twice, or lists none of the images.
    """
    advice = "Pass the annotation file that the results are scored against."
    file = read_document(truth, _Truth, "is not a COCO annotation file", advice)
    names = [objects[0].file_name for objects in document.images]
    id_of = _image_ids(truth, names, file.images)
    missing = [name for name in names if name not in id_of]
    if missing and not id_of:
        listed = f"it lists {file.images[0].file_name}" if file.images else "it lists no images"
        raise DatasetError(
            f"{truth} lists none of the {len(names)} images: {listed}, and the keypoints are of {names[0]}, for "
            f"example. {advice}"
        )
    if missing:
        progress.warn(
            f"{truth} does not list {len(missing)} of the {len(names)} images by a name that fits only one, for "
            f"example {missing[0]}. They are omitted."
        )

    return replace(
        document,
        results=[result for result in document.results if result.file_name in id_of],
        image_ids=[id_of[name] for name in names if name in id_of],
        category_id=_category_id(truth, document, file.categories or [], progress),
    )


def _image_ids(truth: Path, names: Sequence[str], images: Sequence[_Image]) -> dict[str, Id]:
    """Return the id of each image that the file lists."""
    ids: dict[str, Id] = {}
    twice = set()
    for image in images:
        if ids.setdefault(image.file_name, image.id) != image.id:
            twice.add(image.file_name)

    refuse_shared_ids(truth, ((image.id, image.file_name) for image in images))
    match = match_names(names, list(ids), Counter())
    if ambiguous := twice.intersection(match.values()):
        raise DatasetError(f"{truth} lists {min(ambiguous)} twice, with different ids. Remove one of them.")
    return {name: ids[listed] for name, listed in match.items()}


def _category_id(truth: Path, document: Document, categories: Sequence[_Category], progress: Progress) -> Id:
    """Return the id of the only category, or of the only one with keypoints; else the id that the document has."""
    with_keypoints = [each for each in categories if each.keypoints]
    for candidates in (categories, with_keypoints):
        if len(candidates) == 1 and candidates[0].id is not None:
            return candidates[0].id

    if len(categories) > 1:
        progress.warn(
            f"{truth} has {len(with_keypoints)} categories with keypoints, so that the category id is not known. It "
            f"stays {document.category_id}; AP is 0.0 where this is not the id of the category."
        )
    return document.category_id
