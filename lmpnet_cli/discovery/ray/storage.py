"""Buckets and other places that fsspec reaches: list pictures, fetch them, keep results.

Local paths go the same way, so that a cluster with a shared folder and one with a bucket differ in nothing.
"""

import posixpath
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec

from lmpnet_cli.config import url_of
from lmpnet_cli.data.listing import EXTENSIONS, ListedImage, list_images
from lmpnet_cli.errors import InputError, OutputError

THREADS = 16  # pictures that are fetched at the same time
TRIES = 3
Place = tuple[str, str]  # path in its file system, and the name under which results list it


def list_places(inputs: Sequence[Path], follow_links: bool = False) -> list[Place]:
    """All images of local or remote folders, sorted by name; names are those of `list_images`.

    Raises:
        InputError: when nothing is there, a place cannot be reached, a local picture may not be read, or local and
            remote folders are mixed.
    """
    urls = [url_of(path) for path in inputs]
    if not any(urls):
        files = list_images(inputs, follow_links)
        if refused := [file for file in files if file.refused]:
            raise InputError(
                f"{len(refused)} of {len(files)} pictures may not be read, {refused[0].name} first: "
                f"{refused[0].refused}. Remove them from the folder, or use --backend torch, which skips them with a "
                "warning."
            )
        return [(str(file.path.absolute()), file.name) for file in files]
    if len(urls) > 1 or urls[0] is None:
        raise InputError("Name one remote folder at a time, and no local one beside it.")
    url = urls[0]
    try:
        system, root = fsspec.core.url_to_fs(url)
        found = system.find(root)
    except Exception as error:  # each kind of storage has exceptions of its own
        raise InputError(
            f"Cannot list {url}: {reason(error)}. Check the name, the credentials and the network."
        ) from error
    root = root.rstrip("/")
    places = []
    for path in found:
        name = posixpath.basename(path) if path == root else path[len(root) + 1 :]
        hidden = any(part.startswith(".") for part in name.split("/"))
        if name.lower().endswith(EXTENSIONS) and not hidden:
            places.append((path, name))
    if not places:
        raise InputError(f"No images in {url} (looked for {', '.join(EXTENSIONS)}). Name another folder.")
    return sorted(places, key=lambda place: place[1])


def reason(error: BaseException) -> str:
    """The last line of what an exception says, with its kind; Ray and storages put the cause there."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    kind = type(error).__name__
    return f"{kind}: {lines[-1][:200]}" if lines else kind


def local_copies(source: Path, places: Sequence[Place], at_once: int) -> Iterator[list[ListedImage]]:
    """The pictures as local files, so many at once; the next ones are fetched meanwhile, and old ones removed.

    Those that are local already come as they are, all at once. A picture that is gone has no file, and is then listed
    as skipped.

    Args:
        source: where `places` were listed.

    Raises:
        InputError: when a picture cannot be fetched, after several tries, or none of local ones is there.
    """
    url = url_of(source)
    if url is None:
        files = [ListedImage(Path(address), name) for address, name in places]
        if not any(file.path.exists() for file in files):
            raise InputError(f"None of the pictures is there, {files[0].path} first. Do all machines see this folder?")
        yield files
        return
    system, _ = fsspec.core.url_to_fs(url)
    groups = [places[start : start + at_once] for start in range(0, len(places), at_once)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(THREADS) as pool:

        def fetch(number: int) -> list[ListedImage]:
            target = Path(folder) / str(number)
            target.mkdir()
            jobs = [
                pool.submit(_fetch, system, each[0], target / str(index)) for index, each in enumerate(groups[number])
            ]
            for job in jobs:
                job.result()
            return [ListedImage(target / str(index), each[1]) for index, each in enumerate(groups[number])]

        coming: Future[list[ListedImage]] = ahead.submit(fetch, 0)
        for number in range(len(groups)):
            here = coming.result()
            if number + 1 < len(groups):
                coming = ahead.submit(fetch, number + 1)
            yield here
            shutil.rmtree(Path(folder) / str(number))


def _fetch(system: Any, path: str, target: Path) -> None:
    for attempt in range(TRIES):
        try:
            system.get_file(path, str(target))
            return
        except FileNotFoundError:
            return
        except Exception as error:
            if attempt + 1 == TRIES:
                raise InputError(
                    f"Cannot fetch {path}: {reason(error)}. Check the credentials and the network, then go on with "
                    "--resume."
                ) from error
            time.sleep(2**attempt)


class Store:
    """A folder for results, local or remote.

    On a disk files are written aside and renamed; in a bucket a file appears when it is whole.

    Raises:
        OutputError: when the place cannot be reached, read or written, from all methods.
    """

    def __init__(self, folder: Path) -> None:
        url = url_of(folder)
        self.address = url or str(folder.absolute())
        self.on_disk = url is None
        with self._telling("write into", ""):
            opened = (fsspec.filesystem("file"), self.address) if url is None else fsspec.core.url_to_fs(url)
            self.system: Any = opened[0]
            self.root = str(opened[1])

    def names(self) -> list[str]:
        """Of the files in the folder; none where there is no folder."""
        with self._telling("list", ""):
            try:
                self.system.invalidate_cache()
                found = self.system.ls(self.root, detail=True)
            except FileNotFoundError:
                return []
        return sorted(posixpath.basename(each["name"]) for each in found if each["type"] == "file")

    def read(self, name: str) -> bytes:
        """The content of a file."""
        with self._telling("read", name):
            return bytes(self.system.cat_file(f"{self.root}/{name}"))

    @contextmanager
    def opened(self, name: str) -> Iterator[Any]:
        """The file, for readers that need a part of it."""
        with self._telling("read", name), self.system.open(f"{self.root}/{name}", "rb") as file:
            yield file

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, whole or not at all."""
        path = f"{self.root}/{name}"
        with self._telling("write", name):
            if not self.on_disk:
                self.system.pipe_file(path, content)
                return
            aside = Path(self.root) / f".{name}.{time.time_ns()}"
            try:
                aside.parent.mkdir(parents=True, exist_ok=True)
                aside.write_bytes(content)
                aside.replace(path)
            finally:
                with suppress(OSError):
                    aside.unlink()

    def remove(self, names: Sequence[str]) -> None:
        """Removes files."""
        for name in names:
            with self._telling("remove", name):
                self.system.rm_file(f"{self.root}/{name}")

    @contextmanager
    def _telling(self, what: str, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each kind of storage has exceptions of its own
            where = f"{self.address}/{name}" if name else self.address
            raise OutputError(
                f"Cannot {what} {where}: {reason(error)}. Check the place and its permissions."
            ) from error
