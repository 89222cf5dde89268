"""`lmpnet parts`: learns which part is which from pictures, or names the parts of the vocabulary there is."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmpnet_cli.config import PartsConfig
from lmpnet_cli.data.datasets import training_images
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.errors import CheckpointError, OptionError
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.checkpoints import attach_part_head, part_head_spec, read_header
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.model.part_head import PartHeadSpec
from lmpnet_cli.parts.fit import Learned, fit_parts
from lmpnet_cli.progress import Progress

CHECKPOINT = "lmpnet.safetensors"
PICTURES = ("parts.png", "parts.json")
RESULTS = (CHECKPOINT, *PICTURES, "run.json")


@dataclass(frozen=True)
class PartsResult:
    """A vocabulary and what it was learned from.

    Attributes:
        document: the content of `parts.json`; None where names were given and nothing was learned.
        skipped: (file name, reason) of pictures that could not be read.
    """

    spec: PartHeadSpec
    document: dict[str, Any] | None
    skipped: list[tuple[str, str]]
    out: Path | None
    seconds: float


def learn_parts(data: Any = None, *, progress: Progress | None = None, **options: Any) -> PartsResult:
    """Learns a keypoint vocabulary for an existing model, or names the keypoints of the one it has.

    Args:
        data: folders with pictures, one or several; None only gives names.
        **options: the fields of `VocabularyConfig`; without `out` nothing is written.

    Raises:
        LmpnetError: when there is nothing to learn from, an option is out of range, or `out` cannot be used.
    """
    config = PartsConfig(data=data, **options)
    progress = progress or Progress()
    source = config.checkpoint or bundled_checkpoint()
    with lock_output(config.out, RESULTS, config.overwrite):
        return _vocabulary(config, source, progress)


def _vocabulary(config: PartsConfig, source: Path, progress: Progress) -> PartsResult:
    started = time.perf_counter()
    if config.data is None:
        return _name(config, source, started)
    learned = fit_parts(config, training_images(config.data, config.follow_links), progress)
    result = PartsResult(
        learned.part_head.spec, learned.document, learned.skipped, config.out, time.perf_counter() - started
    )
    if config.out:
        write_parts(config.out, source, learned)
        write_run(config.out, "parts", config.options(), result.seconds, **learned.facts)
    return result


def _name(config: PartsConfig, source: Path, started: float) -> PartsResult:
    spec = part_head_spec(read_header(source))
    if spec is None:
        raise CheckpointError(f"{source} has no vocabulary to name. `lmpnet parts DATA -c {source}` learns one.")
    names = config.names or ()
    if len(names) != spec.k:
        raise OptionError(f"--names gives {len(names)} names, and the vocabulary of {source} has {spec.k} keypoints.")
    spec = replace(spec, names=names)
    if config.out:
        attach_part_head(source, config.out / CHECKPOINT, spec)
        for picture in PICTURES:  # of an earlier run: they carry the names of then
            (config.out / picture).unlink(missing_ok=True)
        write_run(config.out, "parts", config.options(), time.perf_counter() - started, names=list(names))
    return PartsResult(spec, None, [], config.out, time.perf_counter() - started)


def write_parts(out: Path, source: Path, learned: Learned) -> None:
    """The checkpoint with its vocabulary, `parts.json` and `parts.png`."""
    save_png(out / "parts.png", learned.picture)
    write_json(out / "parts.json", learned.document)
    attach_part_head(source, out / CHECKPOINT, learned.part_head.spec, learned.part_head)
