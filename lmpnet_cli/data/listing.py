"""List images: folders are searched recursively, in a fixed order, and symbolic links are not followed out of them.

Nothing is skipped silently: files that must not be read are listed with the reason, and callers warn about them.
Folders that a system or a storage device made for itself are left out and counted.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lmpnet_cli.data.kinds import EXTENSIONS, START, kind_of
from lmpnet_cli.errors import InputError
from lmpnet_cli.progress import Progress

# copies, thumbnails and deleted files of Synology, QNAP, NetApp, Windows, macOS, Linux and Lightroom
JUNK_FOLDERS = re.compile(
    r"@eaDir|@tmp|@Recycle|@Recently-Snapshot|@sharebin|@__thumb|#recycle|#snapshot|~snapshot"
    r"|\$RECYCLE\.BIN|RECYCLER|RECYCLED|System Volume Information|FOUND\.\d{3}"
    r"|__MACOSX|Network Trash Folder|Temporary Items|lost\+found|.+\.lrdata",
    re.IGNORECASE,
)
LEADS_OUT = "a link that points outside the folder (--follow-links follows it)"
LEADS_TO_HIDDEN = "a link to a hidden folder (--follow-links follows it)"


class UnreadableImage(Exception):  # noqa: N818 (a reason to skip one image, not an error of the run)
    """An image cannot be read; the message is the reason, without the file name."""


class GivenBox(NamedTuple):
    """The box of an object that is known before the image is read: in pixels, or as shares of the image."""

    x: float
    y: float
    width: float
    height: float
    relative: bool = False


@dataclass(frozen=True)
class ListedImage:
    """A file to read.

    Attributes:
        name: POSIX name under which results list the file.
        refused: the reason why the file must not be read; empty where it may be.
        boxes: of the objects on it, where they are known, the best first.
    """

    path: Path
    name: str
    refused: str = ""
    boxes: tuple[GivenBox, ...] = ()

    @property
    def readable(self) -> Path:
        """Return the path.

        Raises:
            UnreadableImage: when the file must not be read.
        """
        if self.refused:
            raise UnreadableImage(self.refused)
        return self.path


def list_images(
    inputs: Iterable[str | Path],
    follow_links: bool = False,
    within: Path | None = None,
    junk: Counter[str] | None = None,
    progress: Progress | None = None,
) -> list[ListedImage]:
    """Return the images of folders (searched recursively) and single files, sorted by POSIX relative path.

    Names are relative to the folder; with several inputs, to their common parent folder, so that no two are equal.
    Hidden files and folders are omitted, and folders that match `JUNK_FOLDERS`. A file is an image by its extension or
    by its first bytes; one that is specified by itself is listed whatever it is.

    Args:
        follow_links: follow symbolic links that point outside the inputs.
        within: the folder that links must not point out of, in place of the inputs.
        junk: counts the junk folders that were left out, by name, where several lists are told of together.
        progress: is told of the junk folders.

    Raises:
        InputError: when an input does not exist or no image was found.
    """
    paths = [Path(entry) for entry in inputs]
    for path in paths:
        _check_access(path)
    folders = [path for path in paths if path.is_dir()]
    inside = None if follow_links else Inside([within] if within else folders)

    # path -> the reason why it must not be read, or none
    files: dict[Path, str] = {}
    junk = Counter() if junk is None else junk
    for folder in folders:
        files.update(_walk(folder, inside, junk))
    if progress is not None:
        tell_of_junk(junk, progress)
    for path in paths:
        if path not in folders:
            if not path.exists():
                raise InputError(f"Image or folder {path} not found. Check the spelling and the current folder.")
            files[path] = ""  # a link that is specified by itself is followed
    if not files:
        searched = ", ".join(map(str, paths))
        raise InputError(
            f"No images in {searched} (searched by their extension, such as .jpg or .png, and by their content, "
            "including sub-folders). Pass another folder."
        )

    root = os.path.commonpath([absolute(path) if path in folders else absolute(path).parent for path in paths])
    return _named(files, root)


def is_junk(name: str) -> bool:
    """Return whether a folder of this name holds copies, thumbnails or deleted files of a system."""
    return JUNK_FOLDERS.fullmatch(name) is not None


def folders_in(folder: Path, junk: Counter[str] | None = None) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and junk.

    Args:
        junk: counts the junk folders, by name.
    """
    with os.scandir(folder) as scan:
        found = sorted(entry.name for entry in scan if not entry.name.startswith(".") and _leads_to_folder(entry))
    if junk is not None:
        junk.update(filter(is_junk, found))
    return [folder / name for name in found if not is_junk(name)]


def tell_of_junk(junk: Counter[str], progress: Progress) -> None:
    """Say once how many junk folders were left out."""
    if junk:
        names = ", ".join(f"{count} {name}" for name, count in junk.most_common())
        progress.tell(f"Left out: {junk.total()} folders with copies, thumbnails or deleted files ({names}).")


def _named(files: Mapping[Path, str], root: str) -> list[ListedImage]:
    """Return the files, named relative to `root` and sorted by name; each file is listed once."""
    listed: dict[str, ListedImage] = {}
    for path, reason in files.items():
        name = absolute(path).relative_to(root).as_posix()
        other = listed.get(name)
        if other is not None and real(other.path) != real(path):
            raise InputError(f"{other.path} and {path} would both be called {name}. Pass one of them at a time.")
        if other is None or not reason:
            listed[name] = ListedImage(path, name, reason)

    return [listed[name] for name in sorted(listed)]


def bounds(folder: Path, follow_links: bool) -> "Inside | None":
    """Return the folders that files must be located in to be read; None where links are followed."""
    return None if follow_links else Inside([folder])


def stays_inside(name: str) -> bool:
    """Return True where a name from a document can be a file name and does not point outside its folder by itself."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    pure = PurePosixPath(name)
    return not pure.is_absolute() and ".." not in pure.parts and "\0" not in name


def absolute(path: Path) -> Path:
    """Return the absolute path without `..`, which could place a result outside its folder; links are kept."""
    return Path(os.path.normpath(path.absolute()))


def real(path: Path) -> Path:
    """Resolve all links; a circular link is kept, where `Path.resolve` raises."""
    return Path(os.path.realpath(path))


def _check_access(path: Path) -> None:
    """Raise `InputError` where the system refuses to examine a path: too long a name, no permission."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"Cannot access {str(path)[:200]}: {reason}. Check the name and its permissions.") from error


class Inside:
    """Tells whether a path is located in one of some folders, all links resolved: `path in Inside(folders)`."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.roots = {os.path.realpath(folder) for folder in folders}

    def __contains__(self, path: Path) -> bool:
        resolved = os.path.realpath(path)
        return any(resolved == root or resolved.startswith(root.rstrip(os.sep) + os.sep) for root in self.roots)


def _walk(folder: Path, inside: Inside | None, junk: Counter[str]) -> Iterator[tuple[Path, str]]:
    """Yield images recursively, each with the reason why it must not be read, or none.

    Args:
        inside: where links may point to; None follows all links.
        junk: counts the folders that are left out, by name.
    """
    if inside is not None and folder not in inside:
        yield folder, LEADS_OUT
        return

    root = real(folder)
    seen, waiting, left_out = {root}, [folder], list[Path]()
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as scan:
                entries = sorted((e for e in scan if not e.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            yield current, f"a folder that cannot be read: {error.strerror}"
            continue

        for entry in entries:
            path = current / entry.name
            if entry.is_dir(follow_symlinks=False):
                (left_out if is_junk(entry.name) else waiting).append(path)
            elif _leads_to_folder(entry):
                target = real(path)
                if target in seen or _walked_anyway(target, root):
                    continue
                if inside is not None:
                    yield path, LEADS_OUT if path not in inside else LEADS_TO_HIDDEN
                else:
                    seen.add(target)  # each folder only once: links can be circular
                    waiting.append(path)
            else:
                points_out = inside is not None and entry.is_symlink() and path not in inside
                if _is_image(entry, points_out):
                    yield path, LEADS_OUT if points_out else ""
    junk.update(path.name for path in left_out)


def _is_image(entry: os.DirEntry[str], points_out: bool) -> bool:
    """Return whether a file is an image by its extension, or else by its first bytes unless its link points out."""
    if entry.name.lower().endswith(EXTENSIONS):
        return True
    return not points_out and _starts_as_image(entry.path)


def _starts_as_image(path: str) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(file).st_mode) and kind_of(os.read(file, START)) is not None
    except OSError:
        return False
    finally:
        os.close(file)


def _walked_anyway(target: Path, root: Path) -> bool:
    """Return True where a folder is located in the searched one and is not hidden there."""
    return target.is_relative_to(root) and not any(part.startswith(".") for part in target.relative_to(root).parts)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
