"""`run.json`: what a run was, so that it can be repeated."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.json_input import dict_in, read_json


def versions() -> dict[str, str]:
    """Versions of the package, of Python and of the libraries that decide numbers."""
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
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


def write_run(folder: Path, command: str, options: dict[str, Any], seconds: float, **facts: Any) -> None:
    """`run.json`: everything needed to repeat a run."""
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
    """`run.json` of the folder; empty where there is none that can be read."""
    try:
        run = read_json(folder / "run.json")
    except (OSError, ValueError):
        return {}
    return dict_in(run)
