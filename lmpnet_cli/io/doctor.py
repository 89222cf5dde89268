"""Report what this installation can do, and which optional features are unavailable (`lmpnet doctor`)."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from packaging.requirements import Requirement

from lmpnet_cli.errors import LmpnetError
from lmpnet_cli.io.bundled import bundled_checkpoint, bundled_examples
from lmpnet_cli.io.checkpoints import read_header
from lmpnet_cli.io.run_record import versions
from lmpnet_cli.io.runtime import fast_bfloat16, resolve_device, resolve_workers

PURPOSES = {
    "onnx": "`export` and `discover --backend onnx`",
    "ray": "`discover --backend ray`",
    "tables": "HDF5 beside the CSV of `convert --to dlc`",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was checked.
        state: ok, missing (only some commands need it) or broken.
        says: the result in words.
    """

    name: str
    state: str
    says: str


def doctor() -> list[Finding]:
    """Run all checks; a failed check becomes a finding, not an error."""
    packages = [
        Finding(name, "broken" if number == "not installed" else "ok", number) for name, number in versions().items()
    ]
    machine = [_devices(), _processors()]
    bundled = [_try("bundled model", _bundled_model), _try("example images", _examples)]
    extras = [_extra(name, purpose) for name, purpose in PURPOSES.items()]
    return [*packages, *machine, *bundled, *extras, _current_folder()]


def _devices() -> Finding:
    device = resolve_device("auto")
    number = f"{torch.cuda.device_count()} CUDA device(s)" if torch.cuda.is_available() else "no CUDA device"
    mps = ", mps" if torch.backends.mps.is_available() else ""
    half = "fast" if fast_bfloat16(device) else "slow: float32 is used"
    return Finding("device", "ok", f"{device} ({number}{mps}); bfloat16 is {half}")


def _processors() -> Finding:
    device = resolve_device("auto")
    workers = resolve_workers(None, device)
    decoding = f"{workers} processes decode images" if workers else "images are decoded between two batches"
    says = f"{os.cpu_count()} processors, {torch.get_num_threads()} threads; {decoding}"
    return Finding("processors", "ok", says)


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", check())
    except LmpnetError as error:
        return Finding(name, "broken", str(error))


def _bundled_model() -> str:
    read_header(bundled_checkpoint())
    return str(bundled_checkpoint())


def _examples() -> str:
    return str(bundled_examples())


def _extra(extra: str, purpose: str) -> Finding:
    """Check whether the packages of an extra are installed, as the metadata of lmpnet list them."""
    try:
        needed = [Requirement(line) for line in requires("lmpnet-cli") or ()]
    except PackageNotFoundError:  # a clone that runs without being installed
        needed = []

    names = [each.name for each in needed if each.marker and each.marker.evaluate({"extra": extra})]
    if not names:
        return Finding(f"extra {extra}", "missing", "this installation has no such extra: reinstall lmpnet-cli")

    missing = [name for name in names if not _installed(name)]
    if missing:
        says = f"{', '.join(missing)} missing, for {purpose}: pip install 'lmpnet-cli[{extra}]'"
        return Finding(f"extra {extra}", "missing", says)
    return Finding(f"extra {extra}", "ok", f"{', '.join(names)}, for {purpose}")


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _current_folder() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    encoding = sys.stderr.encoding or "unknown"
    state = "ok" if os.access(Path.cwd(), os.W_OK) else "missing"
    access = "writable" if state == "ok" else "not writable: pass --out"
    return Finding("current folder", state, f"{access}, {free:.1f} GiB free; terminal {encoding}")
