"""Options that all commands share, and those of the commands that use a trained model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmpnet_cli.config.options import INPUT, OUTPUT, RUN, Options, documented, option, url_of
from lmpnet_cli.errors import OptionError

# 134 million pixels, more than most cameras produce; decoding an image of this size takes 0.6 GB, rarely 2.3 GB
MAX_PIXELS = 2**27


@documented
@dataclass(frozen=True, kw_only=True)
class OutputConfig(Options):
    """Options of every command that writes results."""

    out: Path | None = option(None, "Folder for the results.", panel=OUTPUT, short="-o")
    overwrite: bool = option(
        False, "Replace existing results; a report and exports of the earlier run are removed.", panel=OUTPUT
    )

    def _check(self) -> None:
        super()._check()
        if self.out is not None and not self._may_be_remote() and (url := url_of(self.out)):
            raise OptionError(f"--out must be a local path, not {url}; copy the results to remote storage afterwards.")

    def _may_be_remote(self) -> bool:
        return False


@documented
@dataclass(frozen=True, kw_only=True)
class RunConfig(OutputConfig):
    """Options of every command that reads images and runs a network."""

    max_pixels: int = option(
        MAX_PIXELS, "Skip images with more pixels than this, with a warning.", panel=INPUT, low=1, decides=True
    )
    follow_links: bool = option(
        False,
        "Follow symbolic links that point outside the folder; otherwise they are skipped with a warning.",
        panel=INPUT,
    )
    device: str = option("auto", "Device: auto, cpu, cuda, cuda:N or mps.", panel=RUN)
    precision: Literal["auto", "32", "bf16"] = option(
        "auto",
        "Number format of the convolutions; auto uses bf16 where it is faster in training, part learning and "
        "occlusion, and 32 otherwise.",
        panel=RUN,
        decides=True,
    )
    batch_size: int = option(
        16, "Images, or occluded copies of images, in one forward pass.", panel=RUN, low=1, high=65536
    )
    workers: int | None = option(
        None,
        "Processes that decode images; 0 decodes in the main process.",
        default_text="by number of processors",
        panel=RUN,
        low=0,
        high=256,
    )
    seed: int = option(0, "Random seed.", panel=RUN, low=0, high=2**32 - 1, decides=True)


@documented
@dataclass(frozen=True, kw_only=True)
class ModelConfig(RunConfig):
    """Options of every command that uses a trained model."""

    checkpoint: Path | None = option(
        None, "Checkpoint that `lmpnet train` wrote.", default_text="the bundled model", short="-c"
    )
    size: int | None = option(
        None, "Side of the network input in pixels.", default_text="as in training", low=32, high=2048, decides=True
    )


def default_out(command: str) -> Path:
    """Return the folder that the command line writes to when --out is not given."""
    return Path("results") / command
