"""Claim the files of an export, and put its images beside its labels: copies, or symbolic links on request.

Programs may write into the images that they read: Ultralytics, for example, repairs damaged JPEG files in place. With
copies the originals stay as they are.

Nothing that belongs to the user is replaced or removed. An export lists the files that it made in `LIST`, and a later
export into the same folder replaces and removes only these.
"""

import filecmp
import os
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import copyfile

from msgspec import Struct

from lmpnet_cli.data.listing import real, stays_inside
from lmpnet_cli.errors import InputError, OutputError
from lmpnet_cli.io.files import TEMPORARY_PREFIX, write_atomically, write_json
from lmpnet_cli.io.json_input import SchemaError, check, read_json
from lmpnet_cli.progress import Progress

LIST = ".exported-files.json"
ABOUT = "lmpnet made these files. A later export into this folder replaces and removes only them."
ADVICE = "Choose another --out."

Entry = tuple[int, int, str]  # device and number of a folder, and a name in it


class _List(Struct):
    """The content of `LIST`: POSIX paths relative to the folder of the export."""

    files: list[str]


def claim_files(folder: Path, files: Collection[str]) -> None:
    """List the files that an export is about to write, so that a later one may replace and remove them.

    Args:
        folder: of the export.
        files: their paths relative to `folder`.

    Raises:
        OutputError: when one of them exists and no export made it, or the list cannot be written.
    """
    earlier = _read_list(folder)
    _refuse_to_replace(folder, files, earlier)
    _write_list(folder, earlier.union(files))


def write_images(
    folder: Path,
    images: Mapping[str, Path],
    link: bool = False,
    further_files: Collection[str] = (),
    progress: Progress | None = None,
    remove: bool = True,
) -> None:
    """Copy or link the images of an export, in place of those of an earlier export.

    An image that is located at its destination already stays as it is. Nothing is written if one of the images
    cannot be written to its destination.

    Args:
        folder: of the export.
        images: the original of each image, by its path relative to `folder`.
        link: make symbolic links in place of copies; copies all the same where the system allows no links.
        further_files: other files that this export is about to write, such as labels.
        progress: receives the number of finished images.
        remove: remove the files of an earlier export in the same format that do not belong to this one; else they stay.

    Raises:
        InputError: when an original cannot be read.
        OutputError: when a file of the user is in the way, or an image cannot be written.
    """
    progress = progress or Progress()
    earlier = _read_list(folder)
    _refuse_to_replace(folder, further_files, earlier)
    originals = _Originals(images.values())
    try:
        new = {
            name
            for name, image in images.items()
            if _is_to_be_written(folder / name, image, name in earlier, originals, link)
        }
    except OSError as error:
        raise OutputError(f"Cannot write into {folder}: {error.strerror or error}. {ADVICE}") from error

    # a run that is killed from here on leaves no file that is not in the list
    listed = {*new, *further_files}
    _write_list(folder, earlier | listed)
    kept = earlier
    if remove:
        kept = _of_other_formats(earlier, listed.union(images))
        _remove_outdated(folder, earlier - kept, listed.union(images), originals)
    _remove_unfinished(folder, listed)

    progress.start("link images" if link else "copy images", len(images))
    for name, image in images.items():
        if name in new:
            _place(image, folder / name, link)
        progress.advance(1)
    _write_list(folder, kept | listed)


def _of_other_formats(earlier: Collection[str], files: Iterable[str]) -> set[str]:
    """Return the files of earlier exports that are not in a folder into which this export writes."""
    folders = {name.split("/")[0] for name in files}
    return {name for name in earlier if name.split("/")[0] not in folders}


def _read_list(folder: Path) -> set[str]:
    """Return the files that an earlier export made; none where its list is missing or damaged."""
    try:
        names = check(read_json(folder / LIST), _List).files
    except (OSError, SchemaError):
        return set()
    return {name for name in names if _stays_inside(folder, name)}


def _refuse_to_replace(folder: Path, files: Iterable[str], earlier: Collection[str]) -> None:
    """Raise `OutputError` where one of the files exists and no earlier export made it."""
    for name in files:
        if name not in earlier and os.path.lexists(folder / name):
            raise OutputError(
                f"{folder / name} already exists, and no earlier export wrote it. Move it, or choose another --out."
            )


def _stays_inside(folder: Path, name: str) -> bool:
    """Return whether a listed file is located in the folder, all links resolved: the list may come from anyone."""
    return stays_inside(name) and real((folder / name).parent).is_relative_to(real(folder))


def _write_list(folder: Path, names: Collection[str]) -> None:
    if names:
        write_json(folder / LIST, {"about": ABOUT, "files": sorted(names)})
    elif (folder / LIST).is_file():
        _remove(folder / LIST)


def _entry(path: Path) -> Entry | None:
    """Return what identifies a name in a folder, whichever links lead to the folder; None without the folder.

    Names that some file systems take for the same, such as a.jpg and A.JPG, are the same here.
    """
    try:
        status = path.parent.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, unicodedata.normalize("NFC", path.name).casefold()


class _Originals:
    """The images of the user, which no export may change: as they were specified, and where their links lead."""

    def __init__(self, images: Iterable[Path]) -> None:
        self._at: dict[Entry, set[Path]] = {}
        for image in images:
            for path in (image, real(image)):
                if (entry := _entry(path)) is not None:
                    self._at.setdefault(entry, set()).add(image)

    def at(self, path: Path) -> set[Path]:
        """Return the originals that a path names; several only where names differ in nothing but their case."""
        entry = _entry(path)
        return set() if entry is None else self._at.get(entry, set())


def _is_to_be_written(target: Path, image: Path, is_ours: bool, originals: _Originals, link: bool) -> bool:
    """Return whether an image must be written to `target`, or is located there already.

    Raises:
        OutputError: when another image, or a file that no export made, would be replaced.
    """
    here = originals.at(target)
    if here and image not in here:
        raise OutputError(f"{target} is one of the images to export, and {image} would replace it. {ADVICE}")
    if target.is_symlink():
        # a link of an earlier export is replaced, and what it leads to stays; but nothing can be a link to itself
        return not (link and here)
    if here:
        return False

    if not target.exists() or is_ours:
        return True
    if target.samefile(image):  # a hard link: replaced as well, since writing into it changes the original
        return True
    if target.is_file() and filecmp.cmp(target, image, shallow=False):
        return False
    raise OutputError(f"{target} already exists and is a different image. {ADVICE}")


def _remove_outdated(folder: Path, earlier: Collection[str], kept: Collection[str], originals: _Originals) -> None:
    """Remove the files of an earlier export that do not belong to this one."""
    if any(originals.at(folder / name) for name in earlier):  # these copies are someone's originals by now
        return

    for name in sorted(set(earlier).difference(kept)):
        path = folder / name
        if path.is_symlink() or path.is_file():
            _remove(path)
            _remove_empty_folders(folder, path.parent)


def _remove_unfinished(folder: Path, names: Iterable[str]) -> None:
    """Remove what a killed run left of a file that it was writing."""
    for parent in {(folder / name).parent for name in names}:
        if real(parent).is_relative_to(real(folder)):
            for unfinished in parent.glob(f"{TEMPORARY_PREFIX}*"):
                _remove(unfinished)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise OutputError(f"Cannot remove {path}: {error.strerror or error}. {ADVICE}") from error


def _remove_empty_folders(folder: Path, last: Path) -> None:
    for parent in (last, *last.parents):
        if parent == folder:
            return
        try:
            parent.rmdir()
        except OSError:  # it holds other files
            return


def _place(image: Path, target: Path, link: bool) -> None:
    """Copy or link one image, in place of what an earlier export left there.

    The new file is renamed onto the old one. Therefore nothing is written through an old link, symbolic or hard.
    """
    if link and _link(image, target):
        return
    if not os.access(image, os.R_OK):
        raise InputError(f"Cannot read {image}. Check that it still exists, and its permissions.")

    is_copy = target.is_file() and not target.is_symlink() and not target.samefile(image)
    if not (is_copy and filecmp.cmp(target, image, shallow=False)):
        write_atomically(target, lambda temporary: copyfile(image, temporary))


def _link(image: Path, target: Path) -> bool:
    """Make a symbolic link to an image; return False where that is impossible: Windows allows it to some users only."""
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-link")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(image.absolute())
        temporary.replace(target)
    except (OSError, NotImplementedError):
        return False
    return True
