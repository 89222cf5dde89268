"""How long a training takes, measured over its first batches.

1. `Forecaster` measures the pace and says the line.
2. `seconds` computes the time of each stage from the pace and the work that is left.
3. `forecast` puts it into words.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import torch
from lightning.fabric import Fabric
from torch import Tensor

from lmpnet_cli.config import PartsConfig, TrainConfig
from lmpnet_cli.config.options import options_of
from lmpnet_cli.data.datasets import ClassData
from lmpnet_cli.io.runtime import evaluating
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.batches import Batches
from lmpnet_cli.training.state import TrainingState

MEASURED = 5  # batches; the first one is slower and is left out
LEARNING = 3  # a training step takes about three times as long as a forward pass
MOMENT = "less than a minute"
PART_PASSES = 3  # parts are learned from each image, its mirror image and a warped copy


class Forecaster:
    """Says once, after the first batches, how long the training takes."""

    def __init__(self, fabric: Fabric, state: TrainingState, data: ClassData, progress: Progress) -> None:
        self.fabric, self.state, self.data, self.progress = fabric, state, data, progress
        self._count, self._started = 0, 0.0

    def after_batch(self, batches: Batches, images: Tensor, maps: Tensor | None = None) -> None:
        """Count a batch that was trained on or, where maps are stored, whose maps were stored.

        Args:
            images: the batch, as it was loaded.
            maps: its frozen maps, where they are stored.
        """
        self._count += 1
        if self._count == 1:
            self._started = time.perf_counter()
        if self._count == MEASURED:
            seconds_per_batch = (time.perf_counter() - self._started) / (MEASURED - 1)
            pace = self._pace(seconds_per_batch, batches, images, maps)
            on_cpu = self.fabric.device.type == "cpu"
            self.progress.tell(forecast(self.state.config, self._work(batches.sampler.batch), pace, on_cpu))

    def _pace(self, batch: float, batches: Batches, images: Tensor, maps: Tensor | None) -> "Pace":
        """Return the pace of the network; `batch` is the measured time of a batch in the current phase."""
        model = self.state.model
        inputs = model.normalize(images.contiguous(memory_format=torch.channels_last))
        forward = self._duration(lambda: model.network(inputs)[1])

        own = batch - forward if self.state.phase == "replica" else batch  # the network hides the first keypoint
        if maps is None:
            return Pace(own, forward)
        behind = self._duration(lambda: batches.network.backbone.forward_from(maps))
        return Pace(LEARNING * behind, forward, store=own)

    def _duration(self, run: Callable[[], Tensor]) -> float:
        """Return how many seconds a computation takes."""
        started = time.perf_counter()
        with evaluating(self.state.model), torch.no_grad(), self.fabric.autocast():
            run().sum().item()  # waits for a GPU
        return time.perf_counter() - started

    def _work(self, batch: int) -> "Work":
        state, images, held_out = self.state, len(self.data.of("train")), len(self.data.of("val"))
        done, replica_done = (state.epoch, 0) if state.phase == "network" else (state.config.epochs, state.epoch)
        return work_left(state.config, images, held_out, batch, done, replica_done)


@dataclass(frozen=True)
class Pace:
    """Seconds per batch.

    Attributes:
        step: a training step of the network.
        forward: the images through the whole network, without learning.
        store: computing and storing the frozen maps of the network; None where no maps are stored.
    """

    step: float
    forward: float
    store: float | None = None


@dataclass(frozen=True)
class Work:
    """What is left to do, in batches of the training.

    Attributes:
        epochs, replica_epochs: epochs that are left.
        steps: training steps of an epoch.
        validation: batches of validation images.
        stored, replica_stored: batches of which maps are stored.
        parts: batches of images that parts are learned from.
    """

    epochs: int
    replica_epochs: int
    steps: int
    validation: float
    stored: float = 0.0
    replica_stored: float = 0.0
    parts: float = 0.0


def work_left(config: TrainConfig, images: int, validation: int, batch: int, done: int, replica_done: int) -> Work:
    """Return what is left to do.

    Args:
        images, validation: number of training and of validation images.
        batch: images per step, in all processes together.
        done, replica_done: complete epochs.
    """
    epochs, replica_epochs = config.epochs - done, config.replica_epochs - replica_done

    def stored(all_epochs: int, left: int) -> float:
        views = min(config.stored_maps or 0, all_epochs)
        return (views * images + validation) / batch if views and left else 0.0

    learned_from = min(images, int(options_of(PartsConfig)["images"].default)) if config.parts else 0
    return Work(
        epochs,
        replica_epochs,
        images // batch,
        validation / batch,
        stored(config.epochs, epochs),
        stored(config.replica_epochs, replica_epochs),
        PART_PASSES * learned_from / batch,
    )


def seconds(work: Work, pace: Pace) -> dict[str, float]:
    """Return about how many seconds each stage takes that is left, and among them those for storing maps."""
    # the replica looks at images through the network, which hides the first keypoint; stored maps are made from such
    # images already
    look, hide = (pace.forward, pace.forward) if pace.store is None else (pace.step / LEARNING, 0.0)
    store = pace.store or 0.0

    def learning(epochs: int, before: float) -> float:
        return epochs * (work.steps * (pace.step + before) + work.validation * (look + before))

    storing, replica_storing = work.stored * store, work.replica_stored * (store + pace.forward)
    return {
        "storing maps": storing + replica_storing,
        "network": storing + learning(work.epochs, 0.0),
        "replica": replica_storing + learning(work.replica_epochs, hide),
        "parts": work.parts * pace.forward,
    }


def forecast(config: TrainConfig, work: Work, pace: Pace, on_cpu: bool) -> str:
    """Return the line that says how long the training takes and, on a CPU, how to shorten it."""
    times = seconds(work, pace)
    storing = times.pop("storing maps")
    stages = ", ".join(f"{stage} {in_words(each)}" for stage, each in times.items() if each)
    what = "The rest of the training" if config.resume else "The whole training"
    total = in_words(sum(times.values()))
    sentences = [f"{what} takes {'' if total == MOMENT else 'about '}{total} ({stages})."]
    if storing:
        sentences.append(f"Storing maps takes {in_words(storing)} of it.")

    if on_cpu and config.recipe == "paper" and not config.resume:
        sentences.append("On a CPU, --recipe laptop is faster: it trains a smaller network, partly frozen.")
        if config.replica_epochs and config.network_from is None:
            halves = "halves the time" if config.replica_epochs >= config.epochs else "saves the time of the replica"
            sentences.append(f"If you only use --method parts, --replica-epochs 0 {halves}: parts need no replica.")
    return " ".join(sentences)


def in_words(duration: float) -> str:
    """Return a duration in seconds in words, rounded up.

    >>> in_words(40), in_words(150), in_words(3 * 3600 + 130), in_words(100 * 3600)
    ('less than a minute', '3 min', '3 h 3 min', '4 days 4 h')
    """
    minutes = ceil(duration / 60)
    days, hours = divmod(ceil(minutes / 60), 24)
    if duration < 60:
        return MOMENT
    if minutes < 60:
        return f"{minutes} min"
    if days < 1:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{days} day{'s' if days > 1 else ''} {hours} h"
