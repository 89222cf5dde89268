"""Text and JSON that a stranger may have written: regular files of a bounded size, and two kinds of error."""

import errno
import json
import stat
from pathlib import Path
from typing import Any

MOST = 4 * 2**30  # bytes; the keypoints of ten million pictures have fewer


def read_text(path: Path) -> str:
    """The text of a file, in UTF-8.

    Raises:
        OSError: when there is none, or it is a pipe, a device, a folder, or too large.
        UnicodeDecodeError: when it is no text.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if status.st_size > MOST:
        raise OSError(errno.EFBIG, f"a file of {status.st_size} bytes is too large", str(path))
    return path.read_text(encoding="utf-8")


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        OSError: as `read_text`.
        ValueError: when it is none.
    """
    return parse_json(read_text(path))


def parse_json(text: str | bytes) -> Any:
    """A JSON document; brackets in brackets without end are a ValueError, too."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("brackets are nested too deeply") from error


def list_in(value: Any) -> list[Any]:
    """The value where it is a list; else an empty one."""
    return value if isinstance(value, list) else []


def dict_in(value: Any) -> dict[str, Any]:
    """A copy of the value where it is an object; else an empty one."""
    return dict(value) if isinstance(value, dict) else {}
