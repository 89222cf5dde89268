"""Errors that a user can mend, each with the exit code of the command that meets it.

    LmpnetError            exit 1
    ├── InputError         images or folders that are missing, empty or unreadable
    ├── DatasetError       labels, annotations or splits that do not fit together
    ├── CheckpointError    a weight file that is missing, damaged or foreign
    ├── DeviceError        a device that was asked for by name and is not there
    ├── OutputError        a result that exists already or cannot be written
    ├── TrainingError      a training that diverged, or nothing to resume
    └── OptionError        exit 2: an option outside its range

The command line catches `LmpnetError` in one place and prints its message: what, where, what to do next.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LmpnetError(Exception):
    """Base of all errors with a message for the user."""

    exit_code = 1


class InputError(LmpnetError):
    """Images or folders that are missing, empty or unreadable."""


class DatasetError(LmpnetError):
    """Labels, annotations or splits that do not fit together."""


class CheckpointError(LmpnetError):
    """A weight file that is missing, damaged or foreign."""


class DeviceError(LmpnetError):
    """A device that was asked for by name and is not there."""


class OutputError(LmpnetError):
    """A result that exists already or cannot be written."""


class OptionError(LmpnetError):
    """An option outside its range: wrong usage."""

    exit_code = 2


class TrainingError(LmpnetError):
    """A training that cannot go on: diverged, or nothing to resume."""


def missing_package(error: ImportError, extra: str) -> OptionError:
    """What to install, for something that only an extra of this package needs."""
    return OptionError(f"A package is missing ({error}). Install it: pip install 'lmpnet-cli[{extra}]'")


# what a document of another shape than expected makes its reader raise
WRONG_SHAPE = (ValueError, LookupError, TypeError, StopIteration, AttributeError, OverflowError)


@contextmanager
def reading_document(path: Path, fault: str, advice: str) -> Iterator[None]:
    """While a JSON document is read: whatever one of another shape than expected raises becomes one clear error.

    Raises:
        InputError: when the file cannot be read.
        DatasetError: "{path} {fault} (reason). {advice}"
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    except WRONG_SHAPE as error:
        raise DatasetError(f"{path} {fault} ({f'{type(error).__name__}: {error}'[:200]}). {advice}") from error
