"""The training loop: the network to convergence, then, with the network frozen, the replica on masked images.

After every epoch `TrainingState` writes `last.safetensors` and `last.state`, from which `--resume` goes on to the same
weights, and `lmpnet.safetensors` when the epoch was the best so far. Random numbers derive from seed and epoch (those
of a picture also from its index and the phase), so nothing but momentum needs to be remembered.
"""

import math
import time
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.data.datasets import ClassData
from lmpnet_cli.errors import TrainingError
from lmpnet_cli.io.checkpoints import to_device
from lmpnet_cli.io.runtime import resolve_workers, seed_everything
from lmpnet_cli.model.lmpnet import KeypointNetwork, LMPNet
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.dataset import EpochSampler, PlainSet, TrainingSet, loader
from lmpnet_cli.training.schedule import Schedule
from lmpnet_cli.training.state import TrainingState

Phase = Literal["network", "replica"]


class Trainer:
    """Both phases in one process of possibly several."""

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
        self.fabric, self.config, self.data, self.progress = fabric, config, data, progress
        self.model = to_device(model, fabric.device)
        torch.backends.cudnn.deterministic = True
        self.state = TrainingState(out, config, self.model, origin, data.fingerprint(), writes=fabric.is_global_zero)

    def _total(self, sums: Tensor) -> list[float]:
        """The sum over all processes."""
        total: Any = self.fabric.all_reduce(self.fabric.to_device(sums), reduce_op="sum")
        return [float(value) for value in total]

    def run(self) -> dict[str, Any]:
        state, config = self.state, self.config
        epochs: dict[Phase, int] = {"network": config.epochs, "replica": config.epochs_of_replica}
        if config.resume:
            state.load()
        else:
            state.begin()
        complete = True
        try:
            for phase in ("network", "replica"):
                if epochs[phase] and not (phase == "network" and state.phase == "replica"):
                    self._phase(phase, epochs[phase])
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

    def _phase(self, phase: Phase, epochs: int) -> None:
        config, fabric, state = self.config, self.fabric, self.state
        if state.phase != phase:
            state.enter(phase)
        if state.epoch >= epochs:
            return
        bare = self.model.network if phase == "network" else self.model.replica
        assert bare is not None
        self.model.requires_grad_(False)
        bare.requires_grad_(True)
        if config.freeze is not None:
            bare.backbone.freeze_through(config.freeze)
        samples = self.data.of("train")
        dataset = TrainingSet(
            samples,
            self.data.classes,
            config.size,
            config.seed + (phase == "replica"),
            config.background,
            config.max_pixels,
        )
        sampler = EpochSampler(len(samples), config.batch_size, config.seed, fabric.global_rank, fabric.world_size)
        batches = loader(dataset, sampler, resolve_workers(config.workers), fabric.device.type == "cuda")
        schedule = Schedule(config, steps=len(sampler) * epochs, batch=sampler.batch)
        backbone = [p for p in bare.backbone.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(
            [
                {"params": backbone, "factor": 1.0},
                {"params": bare.classifier.parameters(), "factor": config.head_factor},
            ],
            lr=schedule.peak,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
        )
        state.restore(optimizer)
        network, wrapped = fabric.setup(bare, optimizer)
        self.progress.start(phase, epochs * len(sampler) * sampler.batch)
        self.progress.advance(state.epoch * len(sampler) * sampler.batch)
        for epoch in range(state.epoch, epochs):
            sampler.epoch = epoch
            seed_everything(config.seed * 1_000_003 + epoch)  # dropout, where a backbone has it
            self.model.eval()
            network.train()
            row = self._epoch(phase, network, wrapped, batches, schedule, epoch)
            row |= self._validate(phase, bare)
            if not all(bool(value.isfinite().all()) for value in bare.state_dict().values()):
                raise self._diverged("A weight is", phase, epoch)
            if row["val_loss"] is not None and not math.isfinite(row["val_loss"]):
                raise self._diverged("The validation loss is", phase, epoch)
            state.finish_epoch(row, optimizer)
            fabric.barrier()

    def _epoch(
        self, phase: Phase, network: nn.Module, optimizer: Any, batches: DataLoader[Any], schedule: Schedule, epoch: int
    ) -> dict[str, Any]:
        started = time.perf_counter()
        sums = torch.zeros(4)  # loss, hits, images, pooled
        for number, (images, labels) in enumerate(batches):
            step = epoch * len(batches) + number
            epsilon = schedule.set(optimizer, step)
            images, labels = self.fabric.to_device((images, labels))
            inputs = self._inputs(phase, images)
            logits, maps = network(inputs, epsilon)
            loss = functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
            optimizer.zero_grad()
            self.fabric.backward(loss)
            if self.config.clip:
                self.fabric.clip_gradients(network, optimizer, max_norm=self.config.clip, error_if_nonfinite=False)
            optimizer.step()
            hits = (logits.argmax(1) == labels).sum()
            pooled = maps.detach().float().amax((2, 3)).mean()
            sums += torch.tensor([loss.item() * len(labels), hits.item(), len(labels), pooled.item() * len(labels)])
            if not torch.isfinite(loss):
                raise self._diverged("The loss is", phase, epoch)
            count = len(labels) * self.fabric.world_size
            note = f"epoch {epoch + 1} loss {sums[0] / sums[2]:.3f} acc {sums[1] / sums[2]:.3f}"
            self.progress.advance(count, note)
        loss_sum, hit_sum, images_seen, pooled_sum = self._total(sums)
        seconds = time.perf_counter() - started
        return {
            "phase": phase,
            "epoch": epoch + 1,
            "learning_rate": schedule.learning_rate(step),
            "epsilon": epsilon,
            "train_loss": loss_sum / images_seen,
            "train_accuracy": hit_sum / images_seen,
            "mean_activation": pooled_sum / images_seen,
            "seconds": round(seconds, 2),
            "images_per_second": round(images_seen / seconds, 2),
        }

    def _diverged(self, what: str, phase: Phase, epoch: int) -> TrainingError:
        return TrainingError(
            f"{what} no longer a finite number in epoch {epoch + 1} of the {phase}. Lower --learning-rate "
            f"({self.config.learning_rate:g} now) or lengthen --epsilon-warmup, then train again with --overwrite."
        )

    def _inputs(self, phase: Phase, images: Tensor) -> Tensor:
        inputs = self.model.normalize(images.contiguous(memory_format=torch.channels_last))
        if phase == "network":
            return inputs
        with torch.no_grad(), self.fabric.autocast():
            _, maps = self.model.network(inputs)
            return self.model.hide_first_keypoint(inputs, maps)

    def _validate(self, phase: Phase, network: KeypointNetwork) -> dict[str, float | None]:
        samples = self.data.of("val")
        if not samples:
            return {"val_loss": None, "val_accuracy": None}
        for buffer in network.buffers():
            buffer.copy_(self.fabric.broadcast(buffer))  # the statistics of the process that writes
        self.model.eval()
        dataset = PlainSet(samples, self.data.classes, self.config.size, self.config.max_pixels)
        own = Subset(dataset, range(self.fabric.global_rank, len(samples), self.fabric.world_size))
        sums = torch.zeros(3)
        with torch.no_grad():
            for images, labels in DataLoader(
                own, self.config.batch_size, num_workers=resolve_workers(self.config.workers)
            ):
                images, labels = self.fabric.to_device((images, labels))
                with self.fabric.autocast():
                    logits, _ = network(self._inputs(phase, images))
                known = labels >= 0
                logits, labels = logits[known].float(), labels[known]
                loss = functional.cross_entropy(logits, labels, reduction="sum")
                hits = (logits[:, : len(self.data.classes)].argmax(1) == labels).sum()
                sums += torch.tensor([loss.item(), hits.item(), len(labels)])
        loss_sum, hit_sum, count = self._total(sums)
        return {"val_loss": loss_sum / max(count, 1), "val_accuracy": hit_sum / max(count, 1)}
