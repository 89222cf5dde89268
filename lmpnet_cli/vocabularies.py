"""`lmpnet vocabulary`: learns which part is which from pictures, or names the parts of the vocabulary there is."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmpnet_cli.bundled import bundled_checkpoint
from lmpnet_cli.checkpoints import attach_vocabulary, read_header, vocabulary_spec
from lmpnet_cli.claims import claim
from lmpnet_cli.config import VocabularyConfig
from lmpnet_cli.datasets import training_pictures
from lmpnet_cli.errors import CheckpointError, OptionError
from lmpnet_cli.lmp.vocabulary import VocabularySpec
from lmpnet_cli.progress import Progress
from lmpnet_cli.rendering import save_png
from lmpnet_cli.runtime import write_json, write_run
from lmpnet_cli.vocabulary_making import Learned, learn_vocabulary

CHECKPOINT = "lmpnet.safetensors"
PICTURES = ("vocabulary.png", "vocabulary.json")
RESULTS = (CHECKPOINT, *PICTURES, "run.json")


@dataclass(frozen=True)
class VocabularyResult:
    """A vocabulary and what it was learned from.

    Attributes:
        document: the content of `vocabulary.json`; None where names were given and nothing was learned.
        skipped: (file name, reason) of pictures that could not be read.
    """

    spec: VocabularySpec
    document: dict[str, Any] | None
    skipped: list[tuple[str, str]]
    out: Path | None
    seconds: float


def vocabulary(data: Any = None, *, progress: Progress | None = None, **options: Any) -> VocabularyResult:
    """Learns a keypoint vocabulary for an existing model, or names the keypoints of the one it has.

    Args:
        data: folders with pictures, one or several; None only gives names.
        **options: the fields of `VocabularyConfig`; without `out` nothing is written.

    Raises:
        LmpnetError: when there is nothing to learn from, an option is out of range, or `out` cannot be used.
    """
    config = VocabularyConfig(data=data, **options)
    progress = progress or Progress()
    source = config.checkpoint or bundled_checkpoint()
    with claim(config.out, RESULTS, config.overwrite):
        return _vocabulary(config, source, progress)


def _vocabulary(config: VocabularyConfig, source: Path, progress: Progress) -> VocabularyResult:
    started = time.perf_counter()
    if config.data is None:
        return _name(config, source, started)
    learned = learn_vocabulary(config, training_pictures(config.data, config.follow_links), progress)
    result = VocabularyResult(
        learned.vocabulary.spec, learned.document, learned.skipped, config.out, time.perf_counter() - started
    )
    if config.out:
        write_vocabulary(config.out, source, learned)
        write_run(config.out, "vocabulary", config.options(), result.seconds, **learned.facts)
    return result


def _name(config: VocabularyConfig, source: Path, started: float) -> VocabularyResult:
    spec = vocabulary_spec(read_header(source))
    if spec is None:
        raise CheckpointError(f"{source} has no vocabulary to name. `lmpnet vocabulary DATA -c {source}` learns one.")
    names = config.names or ()
    if len(names) != spec.k:
        raise OptionError(f"--names gives {len(names)} names, and the vocabulary of {source} has {spec.k} keypoints.")
    spec = replace(spec, names=names)
    if config.out:
        attach_vocabulary(source, config.out / CHECKPOINT, spec)
        for picture in PICTURES:  # of an earlier run: they carry the names of then
            (config.out / picture).unlink(missing_ok=True)
        write_run(config.out, "vocabulary", config.options(), time.perf_counter() - started, names=list(names))
    return VocabularyResult(spec, None, [], config.out, time.perf_counter() - started)


def write_vocabulary(out: Path, source: Path, learned: Learned) -> None:
    """The checkpoint with its vocabulary, `vocabulary.json` and `vocabulary.png`."""
    save_png(out / "vocabulary.png", learned.picture)
    write_json(out / "vocabulary.json", learned.document)
    attach_vocabulary(source, out / CHECKPOINT, learned.vocabulary.spec, learned.vocabulary)
