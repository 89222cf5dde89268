"""Options that all commands share, and those of the commands that use a trained model."""

from pathlib import Path
from typing import Literal

from lmpnet_cli.config.options import INPUT, OUTPUT, RUN, Options, option, url_of
from lmpnet_cli.errors import OptionError

# 134 million pixels, more than most cameras produce; decoding an image of this size takes 0.6 GB, rarely 3.5 GB
MAX_PIXELS = 2**27
CHECKPOINT = "lmpnet.safetensors"  # in the output folders of `train`, `parts` and `fit`


class OutputConfig(Options):
    """Options of every command that writes results."""

    out: Path | None = option(None, "Folder for the results.", OUTPUT, short="-o")
    overwrite: bool = option(False, "Replace existing results in --out.", OUTPUT)

    def _check(self) -> None:
        super()._check()
        if self.out is not None and not self._may_be_remote() and (url := url_of(self.out)):
            raise OptionError(f"--out must be a local path, not {url}; copy the results to remote storage afterwards.")

    def _may_be_remote(self) -> bool:
        return False


class ReportOption(Options):
    """The option of the commands whose results a report can show."""

    report: bool = option(False, "Also write report.html, one page with the results.", OUTPUT)


class LinksOption(Options):
    """The option of every command that reads folders of images."""

    follow_links: bool = option(
        False, "Follow symbolic links that point outside the folder, instead of skipping them.", INPUT
    )


class RunConfig(LinksOption, OutputConfig):
    """Options of every command that reads images and runs a network."""

    max_pixels: int = option(MAX_PIXELS, "Skip images with more pixels than this.", INPUT, low=1, decides=True)
    device: str = option("auto", "Device: auto, cpu, cuda, cuda:N or mps.", RUN)
    precision: Literal["auto", "32", "bf16"] = option(
        "auto",
        "Number format of the convolutions. auto is bf16 where it is faster, for learning and saliency; elsewhere 32.",
        RUN,
        decides=True,
    )
    batch_size: int = option(16, "Images per forward pass.", RUN, low=1, high=65536)
    workers: int | None = option(
        None,
        "Processes that decode images; 0 uses the main process.",
        RUN,
        shown="depends on the processors",
        low=0,
        high=256,
    )
    seed: int = option(0, "Random seed.", RUN, low=0, high=2**32 - 1, decides=True)


class CheckpointConfig(Options):
    """Options of every command that loads a checkpoint."""

    checkpoint: Path | None = option(
        None,
        "Checkpoint of `train`, `parts` or `fit`, or the folder that contains it.",
        shown="the bundled bird model",
        short="-c",
        file=CHECKPOINT,
    )
    size: int | None = option(
        None, "Side of the square network input in pixels.", shown="as in training", low=32, high=2048, decides=True
    )


class ModelConfig(CheckpointConfig, RunConfig):
    """Options of every command that reads images and runs a trained model."""


def default_out(command: str) -> Path:
    """Return the folder that the command line writes to when --out is not given."""
    return Path("results") / command
