"""Shared code of the programs that measure speed: the floor, commands that take turns, facts about the machine."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.inference.windows import FirstLook, first_look_of, smaller
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.run_record import now, versions
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command line does; torch reads it at its first allocation
RESULTS = Path(__file__).parent.parent / "docs" / "results"


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


@dataclass(frozen=True)
class Floors:
    """What a command cannot do without: the forward passes of its networks, on batches that are in memory.

    Attributes:
        bare: of the networks as they were trained.
        folded: the same with batch norms folded into the convolutions, as commands run them.
    """

    bare: Callable[[], None]
    folded: Callable[[], None]

    @classmethod
    def of(cls, config: KeypointConfig, files: Sequence[ListedImage], replica: bool, looks_twice: bool) -> "Floors":
        """Open the networks of the bundled model both ways, and load the images."""

        def forward(model: LMPNet) -> Callable[[], None]:
            first = first_look_of(open_runner(config, model, replica=False)) if looks_twice else None
            return bare_forward(open_runner(config, model, replica), batches, first)

        folded = open_runner(config)
        batches = ready_batches(folded, files)
        return cls(forward(load_checkpoint()), forward(folded.model))

    def in_turn(self, command: Callable[[], float], repeats: int) -> "Ratios":
        """Time both floors and a command, one after the other.

        Args:
            command: runs once and returns its seconds.
        """
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            self.bare()
            between = time.perf_counter()
            self.folded()
            ended = time.perf_counter()
            times.append((between - started, ended - between, command()))
        return Ratios(times)


@dataclass(frozen=True)
class Ratios:
    """The seconds of both floors and of a command, run by run; the figures are medians."""

    times: Sequence[tuple[float, float, float]]

    @property
    def bare(self) -> float:
        """Return the speed of the command as a share of that of the bare forward pass."""
        return statistics.median(bare / whole for bare, _, whole in self.times)

    @property
    def folded(self) -> float:
        """Return the share of its time that the command spends in its networks."""
        return statistics.median(folded / whole for _, folded, whole in self.times)

    def cells(self, images: int) -> str:
        """Return images/s of both floors and of the command, and both ratios, as cells of a table."""
        rates = [f"{images / statistics.median(column):.1f}" for column in zip(*self.times, strict=True)]
        return " | ".join([*rates, f"{self.bare:.2f}", f"{self.folded:.2f}"])


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
