"""Write and read `run.json`: everything that is needed to repeat a run."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from msgspec import Struct

from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.json_input import SchemaError, check, dict_in, read_json


def versions() -> dict[str, str]:
    """Return the versions of lmpnet, of Python and of the libraries that affect results."""
    found = {"python": platform.python_version()}
    for package in (
        "lmpnet-cli",
        "torch",
        "torchvision",
        "timm",
        "lightning",
        "numpy",
        "pillow",
        "opencv-python-headless",
    ):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601 format."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


def write_run(folder: Path, command: str, options: dict[str, Any], seconds: float, **facts: Any) -> None:
    """Write `run.json` into the folder.

    Args:
        seconds: duration of the run.
        **facts: further entries, such as the number of images.
    """
    write_json(
        folder / "run.json",
        {
            "command": command,
            "arguments": sys.argv[1:],
            "folder": str(Path.cwd()),
            "options": options,
            "date": now(),
            "seconds": round(seconds, 2),
            **facts,
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        },
    )


def read_run(folder: Path) -> dict[str, Any]:
    """Return the `run.json` of the folder; empty where the file is missing, unreadable or not a run record."""
    try:
        document = read_json(folder / "run.json")
        check(document, _RunRecord)
    except (OSError, SchemaError):
        return {}
    return dict_in(document)


class _RunRecord(Struct):
    """The entries of `run.json` that other commands rely on; all may be missing."""

    command: str = ""
    folder: str = ""
    options: dict[str, Any] = {}
    versions: dict[str, Any] = {}
