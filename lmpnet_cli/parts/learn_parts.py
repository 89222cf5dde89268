"""`lmpnet parts`: learn the parts of an object from images, or rename and remove parts of a checkpoint."""

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmpnet_cli.config import CHECKPOINT, PartsConfig, Paths, as_paths, takes_options
from lmpnet_cli.data.datasets import training_images
from lmpnet_cli.data.listing import tell_of_junk
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.errors import CheckpointError, OptionError
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.checkpoints import attach_heads, load_checkpoint, part_head_spec, read_header
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.model.part_head import PartHead, PartHeadSpec
from lmpnet_cli.parts.fit import FittedParts, fit_parts
from lmpnet_cli.progress import Progress

GALLERY, DOCUMENT = "parts.png", "parts.json"
RESULTS = (CHECKPOINT, GALLERY, DOCUMENT, "run.json")


@dataclass(frozen=True)
class PartsResult:
    """Learned, renamed or remaining parts.

    Attributes:
        document: the content of `parts.json`; None if nothing was learned.
        skipped: (file name, reason) of images that could not be read.
        out: the output folder; None if nothing was written.
    """

    spec: PartHeadSpec
    document: dict[str, Any] | None
    skipped: list[tuple[str, str]]
    out: Path | None
    seconds: float


@takes_options(PartsConfig)
def learn_parts(data: Paths | None = None, *, progress: Progress | None = None, **options: Any) -> PartsResult:
    """Learn parts for an existing model, or rename or remove parts that it has.

    Args:
        data: one or several folders with images; without it, parts are only renamed or removed.
        progress: receives the number of images done and messages.
        **options: listed below; without `out` nothing is written.

    Raises:
        LmpnetError: if there is nothing to learn from, an option is invalid, or `out` cannot be used.
    """
    config = PartsConfig(data=None if data is None else as_paths(data), **options)
    source = config.checkpoint or bundled_checkpoint()
    started = time.perf_counter()
    with lock_output(config.out, RESULTS, config.overwrite):
        if config.data is None:
            return _change(config, source, started)
        return _learn(config, source, started, progress or Progress())


def _learn(config: PartsConfig, source: Path, started: float, progress: Progress) -> PartsResult:
    """Learn parts from images and write the results."""
    assert config.data is not None
    junk: Counter[str] = Counter()
    images = training_images(config.data, config.follow_links, junk)
    tell_of_junk(junk, progress)
    fitted = fit_parts(config, images, progress)
    seconds = time.perf_counter() - started

    if config.out:
        write_parts(config.out, source, fitted)
        write_run(config.out, "parts", config.options(), seconds, **fitted.facts)
    return PartsResult(fitted.part_head.spec, fitted.document, fitted.skipped, config.out, seconds)


def _change(config: PartsConfig, source: Path, started: float) -> PartsResult:
    """Remove and rename parts of a checkpoint and write the new one."""
    spec = part_head_spec(read_header(source))
    if spec is None:
        raise CheckpointError(f"{source} contains no parts. Learn them first: lmpnet parts DATA -c {source}")

    part_head = _without(config, source, spec) if config.drop else None
    spec = spec if part_head is None else part_head.spec
    names = config.names_for(spec.names)
    spec = replace(spec, names=names)
    if config.out:
        attach_heads(source, config.out / CHECKPOINT, spec, part_head)
        for outdated in (GALLERY, DOCUMENT):  # an earlier run's files show the old names
            (config.out / outdated).unlink(missing_ok=True)
        write_run(config.out, "parts", config.options(), time.perf_counter() - started, names=list(names))
    return PartsResult(spec, None, [], config.out, time.perf_counter() - started)


def _without(config: PartsConfig, source: Path, spec: PartHeadSpec) -> PartHead:
    """Return the part head of a checkpoint without the parts to drop."""
    drop = config.drop or ()
    unknown = [name for name in drop if name not in spec.names]
    if unknown:
        raise OptionError(f"--drop {unknown[0]}: {source} has the parts {', '.join(spec.names)}.")
    if len(set(drop)) == spec.k:
        raise OptionError(f"--drop names all {spec.k} parts. Keep at least one.")
    part_head = load_checkpoint(source).part_head
    assert part_head is not None  # the header has described it
    return part_head.without(drop)


def write_parts(out: Path, source: Path, fitted: FittedParts) -> None:
    """Write `parts.png`, `parts.json` and a copy of the checkpoint `source` with the heads."""
    save_png(out / GALLERY, fitted.gallery)
    write_json(out / DOCUMENT, fitted.document)
    attach_heads(source, out / CHECKPOINT, fitted.part_head.spec, fitted.part_head, fitted.object_head)
