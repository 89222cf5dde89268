"""Folders of whole files, on a disk or remote: `open_folder` gives both the same four methods."""

import posixpath
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import fsspec

from lmpnet_cli.config import url_of
from lmpnet_cli.errors import InputError, LmpnetError, OutputError
from lmpnet_cli.io.files import write_atomically


class Folder(Protocol):
    """A folder without sub-folders. Reading raises InputError, writing raises OutputError.

    Attributes:
        address: the path or URL that messages name.
    """

    address: str

    def names(self) -> list[str]:
        """Return the sorted names of the files; none where the folder does not exist."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files in the given order; a file that does not exist is ignored."""


def open_folder(path: Path) -> Folder:
    """Return the folder at a local path, or at the address of a remote one, such as s3://bucket/folder.

    Raises:
        OutputError: when no file system serves such an address.
    """
    url = url_of(path)
    return LocalFolder(path) if url is None else RemoteFolder(url)


class LocalFolder:
    """A folder on a disk. It is made with its first file, and an empty one is removed."""

    def __init__(self, path: Path) -> None:
        self.path, self.address = path, str(path)

    def names(self) -> list[str]:
        try:
            return sorted(entry.name for entry in self.path.iterdir() if entry.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise InputError(f"Cannot list {self.path}: {error.strerror}. Check its permissions.") from error

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise InputError(f"Cannot read {self.path / name}: {error.strerror}. Check its permissions.") from error

    def write(self, name: str, content: bytes) -> None:
        write_atomically(self.path / name, lambda temporary: temporary.write_bytes(content))

    def remove(self, names: Iterable[str]) -> None:
        try:
            for name in names:
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot remove {self.path / name}: {error.strerror}. Check its permissions.") from error

        with suppress(OSError):  # other files are left, or there is no folder
            self.path.rmdir()


class RemoteFolder:
    """A folder that fsspec reaches, such as one in a bucket, where a file appears when it is whole."""

    def __init__(self, url: str) -> None:
        self.address = url
        with self._explained(OutputError, "write into", ""):
            self.system: Any
            self.system, self.root = fsspec.core.url_to_fs(url)

    def names(self) -> list[str]:
        with self._explained(InputError, "list", ""):
            try:
                self.system.invalidate_cache()
                found = self.system.ls(self.root, detail=True)
            except FileNotFoundError:
                return []

        return sorted(posixpath.basename(each["name"]) for each in found if each["type"] == "file")

    def read(self, name: str) -> bytes:
        with self._explained(InputError, "read", name):
            return bytes(self.system.cat_file(f"{self.root}/{name}"))

    def write(self, name: str, content: bytes) -> None:
        with self._explained(OutputError, "write", name):
            self.system.pipe_file(f"{self.root}/{name}", content)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            with self._explained(OutputError, "remove", name), suppress(FileNotFoundError):
                self.system.rm_file(f"{self.root}/{name}")

    @contextmanager
    def _explained(self, kind: type[LmpnetError], what: str, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each kind of storage has exceptions of its own
            where = f"{self.address}/{name}" if name else self.address
            raise kind(f"Cannot {what} {where}: {reason(error)}. Check the address and its permissions.") from error


def reason(error: BaseException) -> str:
    """Return the kind and the last line of an exception, which is where remote storage and Ray put the cause."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    kind = type(error).__name__
    return f"{kind}: {lines[-1][:200]}" if lines else kind
