"""One run at a time in a folder of results: it is checked, locked, and cleared of what a killed run left behind."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lmpnet_cli.errors import OutputError
from lmpnet_cli.io.files import ASIDE

LOCK = ".lock"


@contextmanager
def lock_output(
    folder: Path | None, results: Iterable[str], overwrite: bool, check: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Holds `folder` for the results of one run. What is there stays until it is replaced.

    The system gives the lock back when the process ends, however it ends. A folder that is empty afterwards goes.

    Args:
        folder: None claims nothing, where nothing is written.
        check: looks at the folder, before and after it is locked, and says whether a run there may be gone on with.

    Raises:
        OutputError: before any work, when the path is no folder, a result is there already, another run is at work
            there, or nothing can be written.
    """
    if folder is None:
        yield
        return
    names = tuple(results)
    _refuse_present(folder, names, check() or overwrite)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"Another run of lmpnet is writing into {folder}. Wait until it is done, or choose another --out."
        ) from error
    except OSError as error:
        raise OutputError(f"Cannot write into {folder}: {error.strerror or error}. Choose another --out.") from error
    try:
        _refuse_present(folder, names, check() or overwrite)  # what a run that has just ended has written
        for left in folder.glob(f"{ASIDE}*"):
            with suppress(OSError):
                left.unlink()
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()  # before it is released: nobody else can hold it yet
        lock.release()
        for place in made:
            with suppress(OSError):  # not empty: there are results
                place.rmdir()


def _refuse_present(folder: Path, results: Iterable[str], overwrite: bool) -> None:
    try:
        present = [name for name in results if (folder / name).exists()]
    except OSError as error:
        raise OutputError(f"Cannot write into {folder}: {error.strerror or error}. Choose another --out.") from error
    if present and not overwrite:
        raise OutputError(
            f"{folder} already holds {', '.join(present)}. Choose another --out, or add --overwrite to replace them."
        )


def clear_folder(folder: Path) -> None:
    """Removes an old folder of results, just before the new one is made.

    Raises:
        OutputError: when it cannot be removed.
    """
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"Cannot replace {folder}: {error.strerror or error}. Choose another --out.") from error
