"""The machine underneath: device, precision, threads and seeds."""

import os
import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lmpnet_cli.errors import DeviceError


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


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch inside the block and restore the caller's generators afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    # before CUDA is initialised there is no state to restore, and reading it would initialise CUDA
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices):
        try:
            seed_everything(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; every module's own flag comes back, after an error too."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag
