"""Which pictures there are: folders searched in depth, in a fixed order, and no link followed out of them.

Nothing is passed over in silence: what may not be read is listed with the reason, and callers name it as skipped.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lmpnet_cli.errors import InputError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
LEADS_OUT = "a link that leads out of the folder (--follow-links follows it)"
LEADS_TO_HIDDEN = "a link to a hidden folder (--follow-links follows it)"


class UnreadableImage(Exception):  # noqa: N818 (a reason to skip one picture, no error of the run)
    """A picture that cannot be read; the message is the reason, without the file name."""


@dataclass(frozen=True)
class ListedImage:
    """A file and the POSIX name under which results list it; `refused` says why where it may not be read."""

    path: Path
    name: str
    refused: str = ""

    @property
    def readable(self) -> Path:
        """The file, where it may be read.

        Raises:
            UnreadableImage: where not.
        """
        if self.refused:
            raise UnreadableImage(self.refused)
        return self.path


def list_images(
    inputs: Iterable[str | Path], follow_links: bool = False, within: Path | None = None
) -> list[ListedImage]:
    """All images of folders (searched in depth) and single files, sorted by their POSIX relative path.

    Names are relative to the folder; with several inputs, to the folder that holds them all, so that no two are equal.
    Hidden files and folders are left out; a file named by itself is taken whatever its extension.

    Args:
        follow_links: read what links lead to, wherever that is; else only inside the inputs.
        within: the folder that links may not lead out of, in place of the inputs.

    Raises:
        InputError: when an input does not exist or nothing was found.
    """
    paths = [Path(entry) for entry in inputs]
    folders = [path for path in paths if _looked_at(path) and path.is_dir()]
    inside = None if follow_links else Inside([within] if within else folders)
    files: dict[Path, str] = {}
    for folder in folders:
        files.update(_walk(folder, inside))
    for path in paths:
        if path not in folders:
            if not path.exists():
                raise InputError(f"There is no image or folder {path}. Check the spelling and the current folder.")
            files[path] = ""  # a link that is named by itself is followed
    if not files:
        looked = ", ".join(map(str, paths))
        raise InputError(
            f"No images in {looked} (looked for {', '.join(EXTENSIONS)}, sub-folders included). Name another folder."
        )
    root = os.path.commonpath([absolute(path) if path in folders else absolute(path).parent for path in paths])
    listed: dict[str, ListedImage] = {}
    for path, reason in files.items():
        name = absolute(path).relative_to(root).as_posix()
        other = listed.get(name)
        if other is not None and real(other.path) != real(path):
            raise InputError(f"{other.path} and {path} would both be called {name}. Name one of them at a time.")
        if other is None or not reason:
            listed[name] = ListedImage(path, name, reason)
    return [listed[name] for name in sorted(listed)]


def bounds(folder: Path, follow_links: bool) -> "Inside | None":
    """Where files of a folder must lie to be read; None where links are followed."""
    return None if follow_links else Inside([folder])


def stays_inside(name: str) -> bool:
    """Whether a name out of a document is one that a file can have, and leads to no other folder by itself."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    pure = PurePosixPath(name)
    return not pure.is_absolute() and ".." not in pure.parts and "\0" not in name


def absolute(path: Path) -> Path:
    """Without `..`, which would lead a result out of its folder; links stay as they are named."""
    return Path(os.path.normpath(path.absolute()))


def real(path: Path) -> Path:
    """With all links resolved; a link that leads round in circles stays as it is, where `Path.resolve` raises."""
    return Path(os.path.realpath(path))


def _looked_at(path: Path) -> bool:
    """True, unless the system will not even look: a name that is too long, a folder that is closed."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"Cannot look at {str(path)[:200]}: {reason}. Check the name and its permissions.") from error
    return True


class Inside:
    """Whether paths lead into one of some folders, all links resolved: `path in Inside(folders)`."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.roots = {os.path.realpath(folder) for folder in folders}

    def __contains__(self, path: Path) -> bool:
        real = os.path.realpath(path)
        return any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in self.roots)


def _walk(folder: Path, inside: Inside | None) -> Iterator[tuple[Path, str]]:
    """Pictures in depth, each with the reason why it may not be read, or none; `inside` of None follows all links."""
    if inside is not None and folder not in inside:
        yield folder, LEADS_OUT
        return
    root = real(folder)
    seen, waiting = {root}, [folder]
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
                waiting.append(path)
            elif _leads_to_folder(entry):
                target = real(path)
                if target in seen or _walked_anyway(target, root):
                    continue
                if inside is not None:
                    yield path, LEADS_OUT if path not in inside else LEADS_TO_HIDDEN
                else:
                    seen.add(target)  # each only once: links can go round in circles
                    waiting.append(path)
            elif entry.name.lower().endswith(EXTENSIONS):
                out = inside is not None and entry.is_symlink() and path not in inside
                yield path, LEADS_OUT if out else ""


def _walked_anyway(target: Path, root: Path) -> bool:
    """Whether a folder lies in the one that is searched, and is not hidden there."""
    return target.is_relative_to(root) and not any(part.startswith(".") for part in target.relative_to(root).parts)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
