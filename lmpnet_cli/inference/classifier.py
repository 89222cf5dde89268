"""Image classifiers as the method saliency needs them: from RGB bytes to logits, with classes and input size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lmpnet_cli.inference.runner import ModelRunner


@dataclass(frozen=True)
class Classifier:
    """A network ready to classify.

    Attributes:
        network: the module that computes the logits.
        logits: (B, 3, S, S) RGB in 0 to 255 -> (B, classes or more) logits; what follows the classes means "none".
        classes: names in the order of the logits.
        size: side of the input in pixels.
        record: name and checksum, for the results.
    """

    network: nn.Module
    logits: Callable[[Tensor], Tensor]
    classes: tuple[str, ...]
    size: int
    record: dict[str, Any]


def lmpnet_classifier(runner: ModelRunner) -> Classifier:
    """Wrap the classification branch of an LMPNet's network."""
    model = runner.model

    def logits(images: Tensor) -> Tensor:
        found: Tensor = model.network(model.normalize(images))[0]
        return found

    record = {"checkpoint": runner.checkpoint_record()}
    return Classifier(model.network, logits, model.spec.classes, runner.size, record)
