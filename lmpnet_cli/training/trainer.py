"""The training loop: train the network to convergence, freeze it, then train the replica on masked images.

After every epoch `TrainingState` writes `last.safetensors` and `last.state`, from which `--resume` continues to the
same weights, and `lmpnet.safetensors` if the epoch was the best so far. Random numbers derive from the seed and the
epoch (those of a sample also from its index and the phase), so the momentum is the only further state to store. The
order of the phases is docs/papers.md L14.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.data.datasets import ClassData
from lmpnet_cli.errors import TrainingError
from lmpnet_cli.io.checkpoints import to_device
from lmpnet_cli.io.runtime import seed_everything
from lmpnet_cli.model.lmpnet import KeypointNetwork, LMPNet
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.batches import Batches, Preloaded, image_batches, map_batches, preload
from lmpnet_cli.training.forecast import Forecaster
from lmpnet_cli.training.map_checks import check_maps
from lmpnet_cli.training.schedule import Schedule
from lmpnet_cli.training.stages import title
from lmpnet_cli.training.state import Phase, TrainingState


@contextmanager
def deterministic_cudnn() -> Iterator[None]:
    """Let cuDNN use deterministic algorithms only, and restore the caller's setting afterwards."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


class Trainer:
    """Both phases of a training, in one process of possibly several."""

    def __init__(
        self,
        fabric: Fabric,
        config: TrainConfig,
        out: Path,
        data: ClassData,
        model: LMPNet,
        origin: str,
        progress: Progress,
    ) -> None:
        """
        Args:
            origin: where the initial weights come from, for the record.
        """
        self.fabric, self.config, self.data, self.progress = fabric, config, data, progress
        self.model = to_device(model, fabric.device)
        self.state = TrainingState(out, config, self.model, origin, data.fingerprint(), writes=fabric.is_global_zero)
        self.forecaster = Forecaster(fabric, self.state, data, progress)

    def run(self) -> dict[str, Any]:
        """Train both phases, or what is left of them.

        Returns:
            Best validation accuracies, number of epochs, and `complete`, which is False after Ctrl-C.

        Raises:
            TrainingError: if the training diverges, or there is nothing to resume.
            OptionError, OutputError: if the maps of the frozen layers cannot be stored.
        """
        state, config = self.state, self.config
        check_maps(self.model, config, self.data, state.out, self.progress)
        if config.resume:
            state.load()
        else:
            state.begin()

        complete = True
        try:
            with deterministic_cudnn():
                if config.network_from is not None and state.phase == "network":
                    state.save_best()  # of this network, beside which the replica is trained
                elif state.phase == "network":
                    self._train_phase("network", config.epochs)
                if config.replica_epochs:
                    self._train_phase("replica", config.replica_epochs)
        except KeyboardInterrupt:
            complete = False
            if not state.history:
                state.save_best()

        return {
            "accuracy": state.best["network"],
            "replica_accuracy": state.best["replica"],
            "epochs": len(state.history),
            "complete": complete,
        }

    def _train_phase(self, phase: Phase, epochs: int) -> None:
        """Train one network from its last complete epoch on."""
        state = self.state
        if state.phase != phase:
            state.enter(phase)
        if state.epoch >= epochs:
            return

        network = self._unfrozen(phase)
        with self._batches(phase, network, epochs) as batches:
            self._train_epochs(phase, network, batches, epochs)

    def _train_epochs(self, phase: Phase, bare: KeypointNetwork, batches: Batches, epochs: int) -> None:
        """Train the remaining epochs of a phase; `bare` is the whole network, whatever part of it takes the batches."""
        config, fabric, state, sampler = self.config, self.fabric, self.state, batches.sampler
        schedule = Schedule(
            learning_rate=config.learning_rate,
            warmup=config.warmup,
            epsilon=config.epsilon,
            epsilon_warmup=config.epsilon_warmup,
            steps=len(sampler) * epochs,
            batch_size=sampler.batch,
        )
        optimizer = self._optimizer(bare, schedule.peak)
        state.restore(optimizer)
        network, wrapped = fabric.setup(batches.network, optimizer)

        # classification is easier while the leak is small, so the best epoch is one with the final leak
        leaky = config.pooling == "leaky_max"
        best_from = schedule.first_with_final_epsilon(len(sampler)) if leaky else 0

        self.progress.start(title(config, phase), epochs * len(sampler), "steps")
        self.progress.advance(state.epoch * len(sampler))
        for epoch in range(state.epoch, epochs):
            sampler.epoch = epoch
            seed_everything(config.seed * 1_000_003 + epoch)  # for dropout, if the backbone has any
            self.model.eval()
            network.train()
            row = self.train_epoch(phase, network, wrapped, batches, schedule, epoch)
            row |= self.validate(batches)
            self._check_finite(bare, row["val_loss"], phase, epoch)
            state.finish_epoch(row, optimizer, best_from, epoch + 1 == epochs)
            fabric.barrier()

    def _unfrozen(self, phase: Phase) -> KeypointNetwork:
        """Return the network of a phase, with gradients for all layers that are trained and for nothing else."""
        network = self.model.network if phase == "network" else self.model.replica
        assert network is not None
        self.model.requires_grad_(False)
        network.requires_grad_(True)
        if self.config.frozen_layer is not None:
            network.backbone.freeze_through(self.config.frozen_layer)
        return network

    @contextmanager
    def _batches(self, phase: Phase, network: KeypointNetwork, epochs: int) -> Iterator[Batches]:
        """Return the batches of a phase: images, or maps that are stored until the phase ends."""
        config, fabric = self.config, self.fabric

        images = image_batches(
            config,
            self.data,
            network,
            lambda images: self._inputs(phase, images),
            replica=phase == "replica",
            device=fabric.device,
            rank=fabric.global_rank,
            world=fabric.world_size,
            preloaded=self._preloaded,
        )
        if config.stored_maps is None:
            yield images
            return

        views = min(config.stored_maps, epochs)
        self.model.eval()
        self.progress.start(
            f"{title(config, phase)}, storing maps", views * images.sampler.count + len(self.data.of("val"))
        )
        with map_batches(images, self.model.spec, self.state.out, views, partial(self._maps, images)) as maps:
            yield maps

    @cached_property
    def _preloaded(self) -> Preloaded | None:
        """Return the images, decoded onto the device; None where they are decoded in every epoch."""
        if not self.config.preload:
            return None
        self.progress.tell("Decoding all images (--preload).")
        fabric = self.fabric
        return preload(self.config, self.data, fabric.device, fabric.global_rank, fabric.world_size)

    def _maps(self, batches: Batches, images: Tensor) -> Tensor:
        """Return the frozen maps of a batch of images."""
        images = self.fabric.to_device(images)
        with torch.no_grad(), self.fabric.autocast():
            maps = batches.network.backbone.frozen_maps(batches.inputs(images))
        self.progress.advance(len(images))
        self.forecaster.after_batch(batches, images, maps)
        return maps

    def _optimizer(self, network: KeypointNetwork, learning_rate: float) -> torch.optim.SGD:
        """Return SGD; `factor` scales the learning rate of each parameter group."""
        config = self.config
        backbone = [parameter for parameter in network.backbone.parameters() if parameter.requires_grad]
        return torch.optim.SGD(
            [
                {"params": backbone, "factor": 1.0},
                {"params": network.classifier.parameters(), "factor": config.head_factor},
            ],
            lr=learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
        )

    def train_epoch(
        self, phase: Phase, network: nn.Module, optimizer: Any, batches: Batches, schedule: Schedule, epoch: int
    ) -> dict[str, Any]:
        """Train one epoch and return its row of the history."""
        config, fabric = self.config, self.fabric
        started = time.perf_counter()
        sums, waiting = torch.zeros(4), None  # loss, hits, images, maximum activation
        for number, (images, labels) in enumerate(batches.training):
            step = epoch * len(batches.sampler) + number
            epsilon = schedule.set(optimizer, step)

            images, labels = fabric.to_device((images, labels))
            logits, maps = network(batches.inputs(images), epsilon)
            loss = functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
            optimizer.zero_grad()
            fabric.backward(loss)
            if config.clip:
                fabric.clip_gradients(network, optimizer, max_norm=config.clip, error_if_nonfinite=False)
            optimizer.step()

            # a GPU is asked for the figures of a step while it computes the next one
            figures = torch.stack(
                [loss.detach(), (logits.argmax(1) == labels).sum(), maps.detach().float().amax((2, 3)).mean()]
            )
            if waiting is not None:
                self._add(sums, *waiting, phase, epoch)
            waiting = figures, len(labels)
            if config.stored_maps is None:
                self.forecaster.after_batch(batches, images)
        if waiting is not None:
            self._add(sums, *waiting, phase, epoch)

        loss_sum, hit_sum, image_count, activation_sum = self._total(sums)
        seconds = time.perf_counter() - started
        return {
            "phase": phase,
            "epoch": epoch + 1,
            "learning_rate": schedule.learning_rate(step),
            "epsilon": epsilon,
            "train_loss": loss_sum / image_count,
            "train_accuracy": hit_sum / image_count,
            "mean_activation": activation_sum / image_count,
            "seconds": round(seconds, 2),
            "images_per_second": round(image_count / seconds, 2),
        }

    def _add(self, sums: Tensor, figures: Tensor, count: int, phase: Phase, epoch: int) -> None:
        """Add the figures of a step to those of its epoch, and tell them.

        Raises:
            TrainingError: if the loss is not finite.
        """
        loss, hits, activation = figures.tolist()
        if not math.isfinite(loss):
            raise self._diverged("The loss is", phase, epoch)
        sums += torch.tensor([loss * count, hits, count, activation * count])
        note = f"epoch {epoch + 1} loss {sums[0] / sums[2]:.3f} acc {sums[1] / sums[2]:.3f}"
        self.progress.advance(1, note)

    def _inputs(self, phase: Phase, images: Tensor) -> Tensor:
        """Return normalised images; for the replica, the first keypoint of the network is hidden (section 3.3)."""
        inputs = self.model.normalize(images.contiguous(memory_format=torch.channels_last))
        if phase == "network":
            return inputs
        with torch.no_grad(), self.fabric.autocast():
            _, maps = self.model.network(inputs)
            return self.model.hide_first_keypoint(inputs, maps)

    def validate(self, batches: Batches) -> dict[str, float | None]:
        """Return loss and accuracy on the validation images; None without validation images."""
        if not self.data.of("val"):
            return {"val_loss": None, "val_accuracy": None}

        network = batches.network
        for buffer in network.buffers():
            buffer.copy_(self.fabric.broadcast(buffer))  # batch norm statistics of the process that writes
        self.model.eval()

        sums = torch.zeros(3)  # loss, hits, images
        with torch.no_grad():
            for images, labels in batches.validation:
                images, labels = self.fabric.to_device((images, labels))
                with self.fabric.autocast():
                    logits, _ = network(batches.inputs(images))
                readable = labels >= 0
                logits, labels = logits[readable].float(), labels[readable]
                loss = functional.cross_entropy(logits, labels, reduction="sum")
                hits = (logits[:, : len(self.data.classes)].argmax(1) == labels).sum()
                sums += torch.tensor([loss.item(), hits.item(), len(labels)])

        loss_sum, hit_sum, count = self._total(sums)
        return {"val_loss": loss_sum / max(count, 1), "val_accuracy": hit_sum / max(count, 1)}

    def _total(self, sums: Tensor) -> list[float]:
        """Return the sums over all processes."""
        total: Any = self.fabric.all_reduce(self.fabric.to_device(sums), reduce_op="sum")
        return [float(value) for value in total]

    def _check_finite(self, network: nn.Module, validation_loss: float | None, phase: Phase, epoch: int) -> None:
        """Raise a TrainingError if a weight or the validation loss is not finite."""
        if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
            raise self._diverged("A weight is", phase, epoch)
        if validation_loss is not None and not math.isfinite(validation_loss):
            raise self._diverged("The validation loss is", phase, epoch)

    def _diverged(self, what: str, phase: Phase, epoch: int) -> TrainingError:
        return TrainingError(
            f"{what} no longer a finite number in epoch {epoch + 1} of the {phase}. Lower --learning-rate "
            f"({self.config.learning_rate:g} now) or raise --epsilon-warmup, then train again with --overwrite."
        )
