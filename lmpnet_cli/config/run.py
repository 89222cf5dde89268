"""What all commands share, and what those share that use a trained model."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from lmpnet_cli.config.checks import at_least, between, one_of, plain

MAX_SEED = 2**32 - 1
MAX_PIXELS = 2**27  # 134 million, more than most cameras make; in memory a picture of so many takes 0.6 GB, rarely 2.3


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every command shares.

    Attributes:
        out: folder for the results; None writes nothing (Python only).
        overwrite: replace results that are there.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, 32 or bf16. `auto` is 32 and, in training, for vocabularies and for occluded copies,
            bf16 where that is faster.
        batch_size: images in one forward pass (for each process, in training).
        workers: decoding processes; None decides by the number of processors, 0 decodes in the main process.
        seed: of everything that is left to chance.
        max_pixels: larger pictures are skipped and named.
        follow_links: read what links in folders lead to, wherever that is; else such pictures are skipped and named.
    """

    out: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    precision: Literal["auto", "32", "bf16"] = "auto"
    batch_size: int = 16
    workers: int | None = None
    seed: int = 0
    max_pixels: int = MAX_PIXELS
    follow_links: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type == Path | None and isinstance(getattr(self, field.name), str):
                object.__setattr__(self, field.name, Path(getattr(self, field.name)))
        between("--batch-size", self.batch_size, 1, 65536)
        between("--seed", self.seed, 0, MAX_SEED)
        if self.workers is not None:
            between("--workers", self.workers, 0, 256)
        one_of("--precision", self.precision, ("auto", "32", "bf16"))
        at_least("--max-pixels", self.max_pixels, 1)

    def options(self) -> dict[str, Any]:
        """All fields with plain values, for `run.json`."""
        return {key: plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class ModelConfig(RunConfig):
    """What the commands share that use a trained model.

    Attributes:
        checkpoint: None takes the bundled model.
        size: side of the network input in pixels; None takes the one of the training.
    """

    checkpoint: Path | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None:
            between("--size", self.size, 32, 2048)


def default_out(command: str) -> Path:
    """Where the command line writes when --out is not given."""
    return Path("results") / command
