"""How keypoints are found: the one place that knows that there are two methods, and two orders of the first.

A `Finder` opens what it needs, reads pictures and answers batch by batch; everything around it (files, overlays,
scores, tables) is the same for all.
"""

from collections.abc import Iterator, Mapping, Sequence
from inspect import get_annotations
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.bundled import bundled_checkpoint
from lmpnet_cli.checkpoints import read_header, vocabulary_spec
from lmpnet_cli.config import GRAPH_SUFFIX, DiscoverConfig, KeypointConfig, ModelConfig, SaliencyConfig
from lmpnet_cli.errors import OptionError
from lmpnet_cli.graph_finder import GraphFinder
from lmpnet_cli.identity_finder import IdentityFinder
from lmpnet_cli.keypoints import FORMAT_VERSION, Keypoints
from lmpnet_cli.listing import ListedImage, absolute
from lmpnet_cli.lmp.network import LMPNet
from lmpnet_cli.lmp.vocabulary import VocabularySpec
from lmpnet_cli.lmpnet_finder import LmpnetFinder
from lmpnet_cli.pictures import PictureReader, Prepared
from lmpnet_cli.progress import Progress
from lmpnet_cli.runtime import versions
from lmpnet_cli.saliency_finder import SaliencyFinder
from lmpnet_cli.shards import names_sha256

# what a run may differ in when it goes on
_OF_THE_MACHINE = ("out", "overwrite", "resume", "workers", "report", "export", "images")
MEANING = {
    "prominence": "ranks by prominence in each image, not body parts",
    "identity": "the same number is the same part in every image, and no distance thr applies",
}


class Answer(Protocol):
    """What a method says of one batch of pictures."""

    @property
    def maps(self) -> Tensor | None:
        """(B, C, H, W) maps that made the keypoints, where there are such."""

    @property
    def logits(self) -> Mapping[str, Tensor | None]:
        """(B, classes or more) by the name of the accuracy that they are scored as."""

    @property
    def relevance(self) -> Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]] | None:
        """For each picture its coarse and fine relevance map, where there are such."""

    def keypoints(self, thresholds: Sequence[Any]) -> list[list[Keypoints]]:
        """For each threshold the keypoints of every picture."""


class Finder(Protocol):
    """A method with its networks, ready to work."""

    @property
    def order(self) -> str:
        """What the index of a keypoint means: its `prominence` in its image, or its `identity` in all."""

    @property
    def names(self) -> Sequence[str]:
        """Of the keypoints, in their order."""

    @property
    def reader(self) -> PictureReader:
        """Where pictures come from, and which were skipped."""

    @property
    def device(self) -> torch.device:
        """Where the networks run."""

    @property
    def model(self) -> LMPNet | None:
        """The LMPNet that finds them, where it is one."""

    @property
    def classes(self) -> Sequence[str]:
        """Names that a prediction chooses from."""

    @property
    def bfloat16(self) -> bool:
        """Whether convolutions run in bfloat16."""

    def record(self) -> dict[str, Any]:
        """What finds the keypoints, for the results."""

    def thresholds(self, given: Sequence[float]) -> Sequence[float | None]:
        """Those of the given erasing distances that make a difference; None stands for a method without one."""

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[Prepared], Answer]]:
        """Readable pictures with what the method says of them, in order."""


def open_finder(config: KeypointConfig, model: LMPNet | None = None) -> Finder:
    """The method that `config` names.

    Args:
        model: takes the place of the checkpoint that `config` names.

    Raises:
        LmpnetError: when something that it needs is not there.
    """
    if config.method != "lmpnet":
        return SaliencyFinder(config, model)
    if not isinstance(config, DiscoverConfig):
        return LmpnetFinder(config, model)
    graph = config.engine_used == "onnx"
    if graph and config.checkpoint is not None and config.checkpoint.suffix == GRAPH_SUFFIX:
        if model is not None:
            raise OptionError(f"Both a model and the graph {config.checkpoint} were given: leave one of them out.")
        return GraphFinder(config, None)
    finder = IdentityFinder(config, model) if _by_identity(config, model) else LmpnetFinder(config, model)
    return GraphFinder(config, finder) if graph else finder


def describe(finder: Finder, config: DiscoverConfig) -> dict[str, Any]:
    """How keypoints were found: `info` of `keypoints.json`, but for the date."""
    return {
        "description": f"Keypoints found by lmpnet: {MEANING[finder.order]}.",
        "lmpnet_version": versions()["lmpnet-cli"],
        "format_version": FORMAT_VERSION,
        "method": config.method,
        "order": finder.order,
        "k": len(finder.names),
        "thr": finder.thresholds([config.thr])[0],
        **finder.record(),
        "classes": list(finder.classes),
        "seed": config.seed,
    }


def settings(finder: Finder, config: DiscoverConfig) -> dict[str, Any]:
    """The options that decide where keypoints lie and that `describe` does not tell, as they turned out."""
    fixed = finder.header.options if isinstance(finder, GraphFinder) else {}
    names = ["filters", "margin", "replica", "precision", "max_pixels"]
    if config.method == "saliency":
        names += [name for name in get_annotations(SaliencyConfig) if name not in ("panels", "classifier_weights")]
    return {"size": finder.reader.size, **{name: fixed.get(name, getattr(config, name)) for name in names}}


def what_decides(finder: Finder, config: DiscoverConfig, files: Sequence[ListedImage]) -> dict[str, Any]:
    """What decides the results: it must be the same when a run goes on."""
    options = {name: value for name, value in config.options().items() if name not in _OF_THE_MACHINE}
    return {
        "places": [str(absolute(path)) for path in config.images],
        "images": len(files),
        "names_sha256": names_sha256(file.name for file in files),
        "info": describe(finder, config),
        # the number of images in a batch is among them: sums of floating point numbers hang on it, in the last digits
        "options": options | {"engine": config.engine_used, "bfloat16": finder.bfloat16, "device": str(finder.device)},
    }


def _by_identity(config: DiscoverConfig, model: LMPNet | None) -> bool:
    """Whether the keypoints of the vocabulary are wanted.

    Raises:
        OptionError, CheckpointError: when they are asked for by name and the vocabulary is another, or missing.
    """
    if config.identity is False or (config.identity is None and config.of_prominence is not None):
        return False
    spec = known_vocabulary(config, model)
    if spec is None or config.k in (None, spec.k):
        return spec is not None or bool(config.identity)  # IdentityFinder says what is missing
    if config.identity:
        raise OptionError(
            f"The vocabulary of this model has {spec.k} keypoints: leave --k {config.k} out, or make another with "
            f"`lmpnet vocabulary DATA --k {config.k}`."
        )
    return False


def known_vocabulary(config: ModelConfig, model: LMPNet | None) -> VocabularySpec | None:
    """What the model's vocabulary is, or None; of a checkpoint only the header is read.

    Raises:
        CheckpointError: when there is no such checkpoint, or it describes no vocabulary that this version knows.
    """
    if model is not None:
        return None if model.vocabulary is None else model.vocabulary.spec
    return vocabulary_spec(read_header(config.checkpoint or bundled_checkpoint()))
