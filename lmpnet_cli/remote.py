"""Buckets and other places that fsspec reaches: list pictures, fetch them, keep results.

Local paths go the same way, so that a cluster with a shared folder and one with a bucket differ in nothing.
"""

import posixpath
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec

from lmpnet_cli.config import url_of
from lmpnet_cli.errors import InputError, OutputError
from lmpnet_cli.images import EXTENSIONS, ListedImage, list_images

THREADS = 16  # pictures that are fetched at the same time
TRIES = 3
Place = tuple[str, str]  # address and the name under which results list it


def list_places(inputs: Sequence[Path]) -> list[Place]:
    """All images of local or remote folders, sorted by name; names are those of `list_images`.

    Raises:
        InputError: when nothing is there, a place cannot be reached, or local and remote folders are mixed.
    """
    urls = [url_of(path) for path in inputs]
    if not any(urls):
        return [(str(file.path.absolute()), file.name) for file in list_images(inputs)]
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
            places.append((system.unstrip_protocol(path), name))
    if not places:
        raise InputError(f"No images in {url} (looked for {', '.join(EXTENSIONS)}). Name another folder.")
    return sorted(places, key=lambda place: place[1])


def reason(error: BaseException) -> str:
    """The first line of what an exception says, with its kind where it says nothing of itself."""
    text = str(error).strip().splitlines()
    kind = type(error).__name__
    return f"{kind}: {text[0][:200]}" if text else kind


def local_copies(places: Sequence[Place], at_once: int) -> Iterator[list[ListedImage]]:
    """The pictures as local files, so many at once; the next ones are fetched meanwhile, and old ones removed.

    Those that are local already come as they are, all at once.

    Raises:
        InputError: when a picture that is there cannot be fetched, after several tries.
    """
    if not any("://" in address for address, _ in places):
        yield [ListedImage(Path(address), name) for address, name in places]
        return
    groups = [places[start : start + at_once] for start in range(0, len(places), at_once)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(THREADS) as pool:

        def fetch(number: int) -> list[ListedImage]:
            target = Path(folder) / str(number)
            target.mkdir()
            jobs = [pool.submit(_fetch, each[0], target / str(index)) for index, each in enumerate(groups[number])]
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


def _fetch(address: str, target: Path) -> None:
    """A picture that is gone or locked leaves no file, and is then listed as skipped."""
    system, path = fsspec.core.url_to_fs(address)
    for attempt in range(TRIES):
        try:
            system.get_file(path, str(target))
            return
        except (FileNotFoundError, PermissionError):
            return
        except Exception as error:
            if attempt + 1 == TRIES:
                raise InputError(f"Cannot fetch {address}: {reason(error)}. Run it again with --resume.") from error
            time.sleep(2**attempt)


class Store:
    """A folder for results, local or remote."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            OutputError: when the place is of a kind that fsspec does not know or lacks a package for.
        """
        self.address = url_of(folder) or str(folder.absolute())
        try:
            self.system, self.root = fsspec.core.url_to_fs(self.address)
        except Exception as error:
            raise OutputError(f"Cannot write into {self.address}: {reason(error)}.") from error

    def names(self) -> list[str]:
        """Of the files in the folder; none where there is no folder.

        Raises:
            OutputError: when it cannot be listed.
        """
        try:
            self.system.invalidate_cache()
            return sorted(posixpath.basename(path) for path in self.system.ls(self.root, detail=False))
        except FileNotFoundError:
            return []
        except Exception as error:
            raise OutputError(f"Cannot list {self.address}: {reason(error)}. Choose another --out.") from error

    def read(self, name: str) -> bytes:
        """The content of a file."""
        content: Any = self.system.cat_file(f"{self.root}/{name}")
        return bytes(content)

    def open(self, name: str) -> Any:
        """The file, for readers that need a part of it."""
        return self.system.open(f"{self.root}/{name}", "rb")

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, whole or not at all: aside and renamed on a disk, in one piece into a bucket.

        Raises:
            OutputError: when it cannot be written, as on a full disk.
        """
        path = f"{self.root}/{name}"
        aside = f"{self.root}/.{name}.{time.time_ns()}" if _is_disk(self.system) else path
        try:
            if aside != path:  # in a bucket folders are not made, and making one could make the bucket
                self.system.makedirs(self.root, exist_ok=True)
            self.system.pipe_file(aside, content)
            if aside != path:
                Path(aside).replace(path)
        except Exception as error:
            if aside != path:
                Path(aside).unlink(missing_ok=True)
            raise OutputError(f"Cannot write {self.address}/{name}: {reason(error)}. Choose another --out.") from error

    def remove(self, names: Sequence[str]) -> None:
        """Removes files."""
        for name in names:
            self.system.rm_file(f"{self.root}/{name}")


def _is_disk(system: Any) -> bool:
    return "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,))
