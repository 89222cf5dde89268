"""Ranges of options, with messages that name the option."""

import re
from pathlib import Path
from typing import Any

from lmpnet_cli.errors import OptionError

MAX_THRESHOLD = 20.0  # the diagonal of the 14 x 14 grid


def check_threshold(threshold: float) -> None:
    """Raises `OptionError` unless the erasing distance is above 0 and within the grid."""
    if not 0 < threshold <= MAX_THRESHOLD:
        raise OptionError(
            f"--thr {threshold:g} is out of range: a distance in cells of a 14 x 14 grid, above 0 and at most "
            f"{MAX_THRESHOLD:g}."
        )


def paths(given: Any) -> tuple[Path, ...]:
    """One path or several, as a tuple."""
    return (Path(given),) if isinstance(given, str | Path) else tuple(Path(entry) for entry in given)


def url_of(path: Path) -> str | None:
    """The address of a remote folder that was given as a path, such as s3://bucket/folder; None for a local path.

    `Path` makes one slash of two, so that an address without a host cannot be told from one with.
    """
    found = re.fullmatch(r"([a-z][a-z0-9+.-]+):/+(.*)", path.as_posix())
    return f"{found[1]}://{found[2]}" if found else None


def check_local(out: Path | None) -> None:
    """Raises `OptionError` for a remote address."""
    if out is not None and (url := url_of(out)):
        raise OptionError(f"--out {url} is no local place: name one, and copy the file from there.")


def plain(value: Any) -> Any:
    """Paths and tuples as JSON can hold them."""
    if isinstance(value, Path):
        return url_of(value) or value.as_posix()
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def at_least(flag: str, value: float, low: float) -> None:
    """Raises `OptionError` for a value below, NaN included."""
    if not value >= low:  # NaN is out of range, too
        raise OptionError(f"{flag} {value:g} is out of range: it must be at least {low:g}.")


def between(flag: str, value: float, low: float, high: float) -> None:
    """Raises `OptionError` for a value outside, NaN included."""
    if not low <= value <= high:
        raise OptionError(f"{flag} {value:.10g} is out of range: it must lie between {low:g} and {high:.10g}.")


def one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises `OptionError` for another word."""
    if value not in allowed:
        raise OptionError(f"{flag} {value} is unknown: choose one of {', '.join(allowed)}.")
