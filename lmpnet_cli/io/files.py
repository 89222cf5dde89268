"""Write files whole or not at all."""

import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lmpnet_cli.errors import OutputError

# prefix of the names of files that are being written; what a killed run leaves of them is removed by the next run
TEMPORARY_PREFIX = ".lmpnet-"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with the path of a temporary file beside `path`, then rename it: the file is whole or absent.

    Raises:
        OutputError: when the folder cannot be written.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _create(temporary)
        write(temporary)
        temporary.chmod(mode)  # some writers make a new file, which only its owner can read
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}. Choose another --out.") from error
    finally:
        with suppress(OSError):  # not written, or no folder to write into
            temporary.unlink()


def _create(path: Path) -> int:
    """Create an empty file and return the permissions that the system gave it, under the umask of the process."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_pieces(path, [text])


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Write a text file piece by piece, whole or not at all, the same on every system.

    Bytes of file names that are not text become \\udcXX.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.writelines(pieces)

    write_atomically(path, write)


def write_json(path: Path, document: Any) -> None:
    """Write indented JSON, whole or not at all; NaN and infinity raise ValueError."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False, default=str) + "\n")


def file_sha256(path: Path) -> str:
    """Return the checksum of a file, which links a result to its weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
