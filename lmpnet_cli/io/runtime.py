"""Choose devices, precision, worker processes and random seeds."""

import ast
import multiprocessing
import os
import random
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lmpnet_cli.errors import DeviceError


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; `auto` chooses cuda, then mps, then cpu.

    Raises:
        DeviceError: when the device is not available, or the name is not one of auto, cpu, cuda, cuda:N, mps.
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
        available = f"{count} cuda device(s)" if kind == "cuda" else f"no {kind} device"
        raise DeviceError(f"Device {name} is not available: PyTorch sees {available}. Use --device auto or cpu.")
    return torch.device(kind, int(index)) if index else torch.device(kind)


def fast_bfloat16(device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return True where bfloat16 is faster than float32: recent GPUs, AMX, and AVX-512 BF16 in processors of AMD.

    Intel's processors without AMX have AVX-512 BF16 as well, but take longer with it than with float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not cpuinfo.exists():  # only Linux has that file
        return False
    words = set(cpuinfo.read_text().split())
    return "amx_bf16" in words or {"avx512_bf16", "AuthenticAMD"} <= words


def free_memory(device: torch.device) -> int | None:
    """Return how many bytes are free on a GPU, or for the CPU how many the computer has; None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


def takes_turns(device: torch.device) -> bool:
    """Return True on one or two processors, where work beside the networks would only take turns with them."""
    return device.type == "cpu" and (os.cpu_count() or 1) <= 2


def resolve_workers(workers: int | None, device: torch.device | None = None) -> int:
    """Return the number of decoding processes: half the number of processors, at most eight, unless given.

    In a script that must not start processes there are none, and a warning says why (`may_start_processes`).

    Args:
        workers: the number that the user wants; None chooses one.
        device: where networks run at the same time; 0 workers where they would only take turns with the networks.
    """
    if workers is None and device is not None and takes_turns(device):
        return 0
    wanted = min(8, max(1, (os.cpu_count() or 1) // 2)) if workers is None else workers
    if wanted and not may_start_processes():
        advice = 'no processes decode images: put the call under `if __name__ == "__main__":`, or pass workers=0'
        warnings.warn(advice, stacklevel=2)
        return 0
    return wanted


def may_start_processes() -> bool:
    """Return False where new processes would run the script of the user again, from its first line.

    They do where they are not forked (macOS, Windows, Python 3.14 and later) and the call that needs them is not under
    `if __name__ == "__main__":`.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    # the first of all is the default; to ask for the default itself would fix it for the process
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if method == "fork" or path is None:
        return True
    frame = sys._getframe()
    while frame.f_back is not None and not (frame.f_globals is vars(main) and frame.f_code.co_name == "<module>"):
        frame = frame.f_back
    try:
        script = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):  # no script: an entry point of an installer
        return True
    guards = [node for node in script.body if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)]
    if frame.f_globals is not vars(main):  # called from a thread, which the script may have started anywhere
        return bool(guards)
    return any(guard.lineno <= frame.f_lineno <= (guard.end_lineno or 0) for guard in guards)


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch for the whole process; `seeded` restores them afterwards."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of Python, NumPy and torch, and restore the caller's generators at the end.

    GPU generators are restored where CUDA or MPS was in use before; reading them would otherwise start the GPU.
    """
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    seed_everything(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode and restore the mode of every module at the end, also after an error."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag
