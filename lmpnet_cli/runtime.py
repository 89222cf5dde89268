"""The machine underneath: device, precision, threads, seeds, versions; `run.json`; files that are whole or absent."""

import json
import os
import platform
import random
import re
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lmpnet_cli.errors import DeviceError, OutputError

ASIDE = ".lmpnet-"  # begins the names of files that are being written; what a killed run leaves of them goes
# read once: it can only be read by changing it, for all threads
_UMASK = os.umask(0)
os.umask(_UMASK)


def resolve_device(name: str) -> torch.device:
    """`auto` takes cuda, then mps, then cpu; a device asked for by name must be there.

    Raises:
        DeviceError: when it is not, or the name is none of auto, cpu, cuda, cuda:N, mps.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if not re.fullmatch("cpu|mps|cuda(:[0-9]+)?", name):
        raise DeviceError(f"Unknown device {name!r}. Use auto, cpu, cuda, cuda:N or mps.")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(index or 0) >= count:
        there = f"{count} cuda device(s)" if kind == "cuda" else f"no {kind} device"
        raise DeviceError(f"Device {name} is not available: PyTorch sees {there} here. Use --device auto or cpu.")
    return torch.device(kind, int(index)) if index else torch.device(kind)


def fast_bfloat16(device: torch.device) -> bool:
    """True where bfloat16 is faster than float32: recent GPUs, and processors with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return False
    flags = Path("/proc/cpuinfo")
    return flags.exists() and any(flag in flags.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def takes_turns(device: torch.device) -> bool:
    """Whether anything done beside the networks would only take turns with them: on one or two processors."""
    return device.type == "cpu" and (os.cpu_count() or 1) <= 2


def resolve_workers(workers: int | None, device: torch.device | None = None) -> int:
    """Decoding processes: one for each two processors, at most eight, unless given.

    Args:
        device: where networks run meanwhile; there is no worker where it would only take turns with them.
    """
    if workers is not None:
        return workers
    if device is not None and takes_turns(device):
        return 0
    return min(8, max(1, (os.cpu_count() or 1) // 2))


def seed_everything(seed: int) -> None:
    """Python, NumPy and torch; loader workers derive theirs from the sample they prepare."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


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
