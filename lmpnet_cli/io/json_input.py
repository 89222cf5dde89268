"""Text and JSON from untrusted sources: bounded regular files, checked against schemas.

A schema is a class whose fields have types: a `msgspec.Struct` or a dataclass. Unknown fields are
ignored. Everything that does not fit a schema becomes a `SchemaError`, and nothing else does, so that a bug in the code
that uses the document is never reported as a damaged file.
"""

import codecs
import errno
import json
import stat
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from lmpnet_cli.errors import DatasetError, InputError

MAX_BYTES = 4 * 2**30  # the keypoints of ten million images take less
_MARKS = (  # byte-order marks; that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
REASON_LENGTH = 200  # characters of a reason that a message shows
T = TypeVar("T")


class SchemaError(ValueError):
    """A document that is not JSON or does not fit its schema; the message is the reason, without the file name."""


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, or of another Unicode file with a byte-order mark, as programs on Windows write.

    Line ends of every system become line feeds.

    Raises:
        OSError: when the file is missing, is a pipe, a device or a folder, or is too large.
        UnicodeDecodeError: when it is not such text.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if status.st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, f"a file of {status.st_size} bytes is too large", str(path))

    with path.open("rb") as file:
        start = file.read(4)
    encoding = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "utf-8")
    return path.read_text(encoding=encoding)


def read_json(path: Path) -> Any:
    """Return the JSON document in a file.

    Raises:
        OSError: as `read_text`.
        SchemaError: when it is not JSON.
    """
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise SchemaError(f"it is not Unicode text: {error}") from error
    return parse_json(text)


def parse_json(text: str | bytes) -> Any:
    """Return a JSON document; NaN and infinity are accepted, as many programs write them.

    Raises:
        SchemaError: when it is not JSON.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise SchemaError("brackets are nested too deeply") from error
    except ValueError as error:  # also numbers with too many digits, and bytes that are not text
        raise SchemaError(f"invalid JSON: {error}") from error


def check(value: Any, schema: type[T]) -> T:
    """Convert decoded JSON to the type of a schema; numbers in strings are not taken for numbers.

    Raises:
        SchemaError: when a field is missing or has a value of another type; it says which one.
    """
    try:
        return msgspec.convert(value, schema, dec_hook=_path)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter: a key with half a surrogate pair
        raise SchemaError(str(error)[:REASON_LENGTH]) from error


def _path(kind: type[Any], value: Any) -> Path:
    """Return the path that a string stands for, the only type of a schema that JSON does not have."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected `{kind.__name__}`")  # msgspec turns it into a ValidationError


def refuse_nan(value: Any) -> None:
    """Raise `SchemaError` where a decoded document holds NaN or infinity, which no JSON file may contain."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise SchemaError("a number is not finite") from error


def refuse_unknown_fields(value: Any, schema: type[Any]) -> None:
    """Raise `SchemaError` where an object has a field that the dataclass `schema` does not have."""
    unknown = set(value) - {field.name for field in fields(schema)} if isinstance(value, dict) else set()
    if unknown:
        raise SchemaError(f"unknown field {min(unknown)!r:.80}")


def read_document(path: Path, schema: type[T], fault: str, advice: str) -> T:
    """Read a JSON file that must fit a schema.

    Args:
        fault: what is wrong with a file that does not fit, as in "is not a COCO file".
        advice: what the user should do then.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: when it does not fit: "{path} {fault} (reason). {advice}"
    """
    try:
        return check(read_json(path), schema)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except SchemaError as error:
        raise DatasetError(f"{path} {fault} ({str(error)[:REASON_LENGTH]}). {advice}") from error


def list_in(value: Any) -> list[Any]:
    """Return the value where it is a list, else an empty list."""
    return value if isinstance(value, list) else []


def dict_in(value: Any) -> dict[str, Any]:
    """Return a copy of the value where it is an object, else an empty dictionary."""
    return dict(value) if isinstance(value, dict) else {}
