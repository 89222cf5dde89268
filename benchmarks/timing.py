"""Shared code of the programs that measure speed: the floor, commands that take turns, facts about the machine."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.inference.runner import ModelRunner
from lmpnet_cli.inference.windows import FirstLook, smaller
from lmpnet_cli.io.run_record import now, versions
from lmpnet_cli.progress import Progress

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does; torch reads it at its first allocation
RESULTS = Path(__file__).parent.parent / "docs" / "results"

Pair = tuple[float, float]
"""The seconds of the floor and of the command."""


def ready_batches(runner: ModelRunner, files: Sequence[ListedImage]) -> list[Tensor]:
    """Return the network input of every batch, in memory; the networks run once to get it, which warms them up."""
    batches = []
    for loaded, _ in runner.batches(files, Progress()):
        pixels = [image.pixels for image in loaded if image.pixels is not None]
        batches.append(torch.from_numpy(np.stack(pixels)))
    return batches


def bare_forward(runner: ModelRunner, batches: Sequence[Tensor], first: FirstLook | None = None) -> Callable[[], None]:
    """Return the floor of a command: the forward passes of the runner's networks, mask-out included.

    Args:
        first: the first look, where the command looks twice.
    """

    def run() -> None:
        for batch in batches:
            if first is not None:
                first.look(smaller(batch, first.side))
            runner.run(batch)

    return run


def in_turn(floor: Callable[[], None], command: Callable[[], float], repeats: int) -> list[Pair]:
    """Time the floor and a command, one after the other.

    Args:
        command: runs once and returns its seconds.
    """
    pairs = []
    for _ in range(repeats):
        started = time.perf_counter()
        floor()
        seconds = time.perf_counter() - started
        pairs.append((seconds, command()))
    return pairs


def linked(files: Sequence[Path], folder: Path, count: int) -> Path:
    """Return a new folder with so many links to the files."""
    folder.mkdir()
    for index, file in enumerate(islice(cycle(files), count)):
        (folder / f"{index:06d}{file.suffix}").symlink_to(file.absolute())
    return folder


def take_turns(commands: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of several commands that run one after the other, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in commands}

    for turn in range(repeats + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            command()
            if turn:
                times[name].append(time.perf_counter() - started)

    return {name: statistics.median(seconds) for name, seconds in times.items()}


def speeds(pairs: Sequence[Pair], images: int) -> str:
    """Return the medians in images/s of the floor and of the command, as two cells of a table."""
    floor, whole = (images / statistics.median(column) for column in zip(*pairs, strict=True))
    return f"{floor:.1f} | {whole:.1f}"


def commit() -> str:
    """Return the short hash of the commit that is measured."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=RESULTS.parent).stdout.strip()


def facts() -> str:
    """Return machine, versions and commit as one line."""
    installed = versions()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    processors = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = processors[0] if processors else platform.machine()
    return (
        f"{now()}, commit {commit()}, {processor}, {torch.get_num_threads()} threads, torch {installed['torch']}, "
        f"timm {installed['timm']}"
    )
