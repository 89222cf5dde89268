"""Errors that a user can fix, each with the exit code of the command that meets it.

    LmpnetError            exit 1
    ├── InputError         images or folders that are missing, empty or unreadable
    ├── DatasetError       labels, annotations or splits that do not fit together
    ├── CheckpointError    a weight file that is missing, damaged or foreign
    ├── DeviceError        a device that was requested by name and is not available
    ├── OutputError        a result that already exists or cannot be written
    ├── TrainingError      a training that diverged, or nothing to resume
    └── OptionError        exit 2: an option outside its range

The command line catches `LmpnetError` in one place and prints its message: what, where, what to do next.
"""

from collections.abc import Iterable


class LmpnetError(Exception):
    """Base class of all errors with a message for the user."""

    exit_code = 1


class InputError(LmpnetError):
    """Images or folders are missing, empty or unreadable."""


class DatasetError(LmpnetError):
    """Labels, annotations or splits do not fit together."""


class CheckpointError(LmpnetError):
    """A weight file is missing, damaged or foreign."""


class DeviceError(LmpnetError):
    """A device that was requested by name is not available."""


class OutputError(LmpnetError):
    """A result already exists or cannot be written."""


class OptionError(LmpnetError):
    """An option is outside its range: wrong usage."""

    exit_code = 2


class TrainingError(LmpnetError):
    """A training cannot continue: it diverged, or there is nothing to resume."""


def missing_package(error: ImportError, extra: str) -> OptionError:
    """Return the error for a missing optional package; it names the extra to install."""
    return OptionError(f"A package is missing ({error}). Install it: pip install 'lmpnet-cli[{extra}]'")


def some(names: Iterable[str], most: int = 5) -> str:
    """Return the first names for a message, and the number of the others."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
