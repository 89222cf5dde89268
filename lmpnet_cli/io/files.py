"""Files that are written whole or not at all."""

import json
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lmpnet_cli.errors import OutputError

ASIDE = ".lmpnet-"  # begins the names of files that are being written; what a killed run leaves of them goes
# read once: it can only be read by changing it, for all threads
_UMASK = os.umask(0)
os.umask(_UMASK)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a name beside `path` and renames: the file is whole or absent, whatever happens.

    Raises:
        OutputError: when the folder cannot be written.
    """
    aside = path.with_name(f"{ASIDE}{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        aside.chmod(0o666 & ~_UMASK)  # some writers make files for their owner alone
        aside.replace(path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}. Choose another --out.") from error
    finally:
        with suppress(OSError):  # not written, or no folder to write into
            aside.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    write_pieces(path, [text])


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Writes a text file piece by piece, whole or not at all; bytes of file names that are no text become \\udcXX."""

    def write(aside: Path) -> None:
        with aside.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(pieces)

    write_atomically(path, write)


def write_json(path: Path, document: Any) -> None:
    """Writes indented JSON; NaN and infinity are errors."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False, default=str) + "\n")
