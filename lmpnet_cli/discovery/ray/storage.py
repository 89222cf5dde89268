"""Images in buckets and other places that fsspec reaches: list them, and fetch them for a worker.

Local paths go the same way, so that a cluster with a shared folder and one with a bucket do the same.
"""

import posixpath
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from lmpnet_cli.config import url_of
from lmpnet_cli.data.kinds import EXTENSIONS
from lmpnet_cli.data.listing import GivenBox, ListedImage, is_junk, list_images, tell_of_junk
from lmpnet_cli.errors import InputError
from lmpnet_cli.io.storage import reason
from lmpnet_cli.progress import Progress

THREADS = 16  # images that are fetched at the same time
ATTEMPTS = 3


class SourceImage(NamedTuple):
    """An image that a worker fetches: its path in its file system, and the name under which results list it."""

    path: str
    name: str
    boxes: tuple[GivenBox, ...] = ()


def list_sources(
    inputs: Sequence[Path], follow_links: bool = False, progress: Progress | None = None
) -> list[SourceImage]:
    """Return all images of local folders or of a remote one, sorted by name; names are those of `list_images`.

    Args:
        progress: is told of what was left out.

    Raises:
        InputError: when there are none, a folder cannot be listed, a local image may not be read, or local and
            remote folders are mixed.
    """
    progress = progress or Progress()
    urls = [url_of(path) for path in inputs]
    if not any(urls):
        return _list_local(inputs, follow_links, progress)
    if len(urls) > 1 or urls[0] is None:
        raise InputError("Pass one remote folder at a time, without local ones.")
    return _list_remote(urls[0], progress)


def _list_local(inputs: Sequence[Path], follow_links: bool, progress: Progress) -> list[SourceImage]:
    files = list_images(inputs, follow_links, progress=progress)
    refused = [file for file in files if file.refused]
    if refused:
        raise InputError(
            f"{len(refused)} of {len(files)} images are refused, for example {refused[0].name}: "
            f"{refused[0].refused}. Remove them from the folder, or use --backend torch, which skips them with a "
            "warning."
        )
    return [SourceImage(str(file.path.absolute()), file.name) for file in files]


def _list_remote(url: str, progress: Progress) -> list[SourceImage]:
    """Return the images of a remote folder; their extensions decide, since each first byte would be a request."""
    try:
        system, root = fsspec.core.url_to_fs(url)
        found = system.find(root)
    except Exception as error:  # each kind of storage has exceptions of its own
        raise InputError(
            f"Cannot list {url}: {reason(error)}. Check the name, the credentials and the network."
        ) from error

    root = root.rstrip("/")
    sources, others = [], list[str]()
    junk_folders: set[tuple[str, str]] = set()  # what is above each, and its name
    for path in found:
        name = posixpath.basename(path) if path == root else path[len(root) + 1 :]
        *folders, file = name.split("/")
        hidden = any(part.startswith(".") for part in (*folders, file))
        inside_junk = next(filter(is_junk, folders), None)
        if inside_junk is not None:
            junk_folders.add((name.partition(inside_junk)[0], inside_junk))
        elif file.lower().endswith(EXTENSIONS) and not hidden:
            sources.append(SourceImage(path, name))
        elif not hidden:
            others.append(name)

    tell_of_junk(Counter(folder for _, folder in sorted(junk_folders)), progress)
    if others:
        progress.tell(
            f"Left out: {len(others)} files of {url} without the extension of an image, such as .jpg or .png (for "
            f"example {min(others)})."
        )
    if not sources:
        raise InputError(
            f"No images in {url} (searched by their extension, such as .jpg or .png). Pass another folder."
        )
    return sorted(sources, key=lambda source: source.name)


def _boxes(image: SourceImage) -> tuple[GivenBox, ...]:
    return tuple(GivenBox(*box) for box in image.boxes)  # as JSON, they are lists


def local_copies(source: Path, images: Sequence[SourceImage], at_once: int) -> Iterator[list[ListedImage]]:
    """Yield the images as local files, `at_once` together; the next ones are fetched meanwhile, and old ones removed.

    Images that are local already are yielded as they are, all together. An image that does not exist any more has no
    file, and is then listed as skipped.

    Args:
        source: where `images` were listed.

    Raises:
        InputError: when an image cannot be fetched after several attempts, or none of the local ones exists.
    """
    url = url_of(source)
    if url is None:
        files = [ListedImage(Path(image.path), image.name, boxes=_boxes(image)) for image in images]
        if not any(file.path.exists() for file in files):
            raise InputError(
                f"None of the images exists on this machine (for example {files[0].path}). Use a folder that all "
                "machines share."
            )
        yield files
        return

    system, _ = fsspec.core.url_to_fs(url)
    groups = [images[start : start + at_once] for start in range(0, len(images), at_once)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(THREADS) as pool:

        def fetch_group(number: int) -> list[ListedImage]:
            target = Path(folder) / str(number)
            target.mkdir()
            files = [
                ListedImage(target / str(index), image.name, boxes=_boxes(image))
                for index, image in enumerate(groups[number])
            ]
            paths = [image.path for image in groups[number]]
            list(pool.map(_fetch, [system] * len(files), paths, [file.path for file in files]))
            return files

        coming: Future[list[ListedImage]] = ahead.submit(fetch_group, 0)
        for number in range(len(groups)):
            files = coming.result()
            if number + 1 < len(groups):
                coming = ahead.submit(fetch_group, number + 1)
            yield files
            shutil.rmtree(Path(folder) / str(number))


def _fetch(system: Any, path: str, target: Path) -> None:
    """Copy a remote file; nothing is copied where it does not exist any more."""
    for attempt in range(ATTEMPTS):
        try:
            system.get_file(path, str(target))
            return
        except FileNotFoundError:
            return
        except Exception as error:  # each kind of storage has exceptions of its own
            if attempt + 1 == ATTEMPTS:
                raise InputError(
                    f"Cannot fetch {path}: {reason(error)}. Check the credentials and the network, then continue with "
                    "--resume."
                ) from error
            time.sleep(2**attempt)
