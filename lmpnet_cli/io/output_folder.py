"""Check and lock an output folder for one run, and clear it of what a killed run left behind."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lmpnet_cli.errors import OutputError
from lmpnet_cli.io.files import TEMPORARY_PREFIX

LOCK = ".lock"


@contextmanager
def lock_output(
    folder: Path | None, results: Iterable[str], overwrite: bool, check: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Hold the lock on the output folder of one run. Existing files stay until they are replaced.

    The system releases the lock when the process ends, however it ends. A folder that is empty afterwards is removed.

    Args:
        folder: None locks nothing, for a run that writes nothing.
        results: names of the files and folders that the run will write.
        check: examines the folder before and after it is locked, and returns True where a run in it may be resumed.

    Raises:
        OutputError: before any work, when the path is not a folder, a result already exists, another run is writing
            there, or nothing can be written.
    """
    if folder is None:
        yield
        return

    names = tuple(results)
    _refuse_existing(folder, names, check() or overwrite)

    new_folders = [each for each in (folder, *folder.parents) if not each.exists()]
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"Another run of lmpnet is writing into {folder}. Wait until it has finished, or choose another --out."
        ) from error
    except OSError as error:
        raise OutputError(f"Cannot write into {folder}: {error.strerror or error}. Choose another --out.") from error

    try:
        _refuse_existing(folder, names, check() or overwrite)  # a run may have ended since the first check
        for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
            with suppress(OSError):
                leftover.unlink()
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()  # before the release: nobody else can hold it yet
        lock.release()
        for new_folder in new_folders:
            with suppress(OSError):  # it contains results
                new_folder.rmdir()


def _refuse_existing(folder: Path, results: Iterable[str], overwrite: bool) -> None:
    try:
        present = [name for name in results if (folder / name).exists()]
    except OSError as error:
        raise OutputError(f"Cannot write into {folder}: {error.strerror or error}. Choose another --out.") from error
    if present and not overwrite:
        raise OutputError(
            f"{folder} already holds {', '.join(present)}. Choose another --out, or add --overwrite to replace them."
        )


def clear_folder(folder: Path) -> None:
    """Remove an old folder of results, just before the new one is made.

    Raises:
        OutputError: when it cannot be removed.
    """
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"Cannot replace {folder}: {error.strerror or error}. Choose another --out.") from error
