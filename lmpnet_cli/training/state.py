"""What a training stores after every epoch, and how it resumes from there.

`last.state` (a safetensors file) is all that `--resume` reads: the weights after the last complete epoch in float32,
the momentum of the optimiser and, in its metadata, options, history and position. It is one file, written under a
temporary name and then renamed, so it always describes one epoch. `last.safetensors` is the same model as a checkpoint
for other commands.
"""

import csv
import io
import json
import math
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import torch
from msgspec import Meta, Struct
from msgspec.structs import asdict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lmpnet_cli.config import CHECKPOINT, TrainConfig
from lmpnet_cli.drawing.charts import draw_curves
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.errors import CheckpointError, OptionError, TrainingError
from lmpnet_cli.io.checkpoints import load_checkpoint, model_tensors, read_metadata, save_checkpoint, write_tensors
from lmpnet_cli.io.files import write_text
from lmpnet_cli.io.json_input import SchemaError, check, parse_json
from lmpnet_cli.model.lmpnet import LMPNet

BEST, LAST, STATE = CHECKPOINT, "last.safetensors", "last.state"
RESULTS = (BEST, LAST, STATE, "history.csv", "curves.png", "parts.png", "parts.json", "run.json")
Phase = Literal["network", "replica"]
# options of the machine and not of the training: they may change when a run resumes
_OF_THE_RUN = ("out", "overwrite", "resume", "device", "workers", "data", "save_every")


class TrainingState:
    """Position, history and best accuracies of one training.

    Attributes:
        phase: `network` or `replica`.
        epoch: number of complete epochs of this phase.
        history: one row for each complete epoch of both phases.
        best: validation accuracy of the best epoch of each phase so far; None before the first epoch and without
            validation images.
    """

    def __init__(
        self, out: Path, config: TrainConfig, model: LMPNet, origin: str, fingerprint: str, writes: bool
    ) -> None:
        """
        Args:
            origin: where the initial weights come from, for the record.
            fingerprint: of the images, classes and splits.
            writes: whether this process writes the files.
        """
        self.out, self.config, self.model, self.origin, self.writes = out, config, model, origin, writes
        self.fingerprint = fingerprint
        self.phase = "network"
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, float | None] = dict.fromkeys(get_args(Phase))
        self._momentum: dict[str, Tensor] = {}
        self._next_save = -math.inf  # the first epoch is written

    @staticmethod
    def stored_config(out: Path, given: TrainConfig) -> TrainConfig:
        """Return the options of the run in `out`; only those of the machine are taken from `given`.

        Raises:
            TrainingError: if there is no run to resume.
            CheckpointError: if `last.state` is damaged.
        """
        types = get_type_hints(TrainConfig)
        own = {field.name for field in fields(TrainConfig)} - set(_OF_THE_RUN)
        try:
            options = {
                name: check(value, types[name]) for name, value in _read_state(out).options.items() if name in own
            }
            return replace(given, **options)
        except (SchemaError, OptionError) as error:
            raise CheckpointError(f"{out / STATE} contains invalid settings ({error}).") from error

    def load(self) -> None:
        """Restore weights, momentum, history and position of the run in `out`.

        Raises:
            TrainingError: if there is no run to resume, or it was started with other data.
            CheckpointError: if `last.state` is damaged.
        """
        header = _read_state(self.out)
        if header.data != self.fingerprint:
            raise TrainingError(
                f"Cannot resume {self.out}: the images, classes or splits have changed since it was started. "
                "Use the original data, or start again with --overwrite."
            )

        try:
            tensors = load_file(self.out / STATE)
            weights = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
            self.model.load_state_dict(weights)
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"{self.out / STATE} does not fit its model ({reason}). Train again with --overwrite."
            ) from error
        self.phase, self.epoch = header.phase, header.epoch
        self.history = [asdict(row) for row in header.history]
        self.best = {"network": header.best.network, "replica": header.best.replica}
        self._momentum = {key: value for key, value in tensors.items() if key.startswith("momentum.")}

    def enter(self, phase: str) -> None:
        """Begin a phase. The replica is trained beside the best network, which the best checkpoint holds."""
        self.phase, self.epoch, self._momentum = phase, 0, {}
        if phase == "replica":
            best = load_checkpoint(self.out / BEST).network.state_dict()
            self.model.network.load_state_dict(best)
            if self.config.replica_from_network and self.model.replica is not None:
                self.model.replica.load_state_dict(best)

    def restore(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the optimiser the stored momentum.

        Raises:
            CheckpointError: if it does not fit the parameters.
        """
        for index, parameter in enumerate(_parameters(optimizer)):
            stored = self._momentum.get(f"momentum.{index}")
            if stored is None:
                continue
            if stored.shape != parameter.shape:
                raise CheckpointError(f"{self.out / STATE} does not fit its model. Train again with --overwrite.")
            optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(stored)

    def finish_epoch(
        self, row: dict[str, Any], optimizer: torch.optim.Optimizer, best_from: int, is_last: bool
    ) -> None:
        """Record a complete epoch, and write the files if this process does.

        With `--save-every` most epochs are only recorded, unless their weights are the best and nothing else is sure to
        be better.

        Args:
            best_from: first epoch (0-based) that may be the best; until then the latest epoch is the best so far.
            is_last: whether this is the last epoch of its phase.
        """
        # without validation images every epoch counts as the best; of equally good ones the later, trained longer
        accuracy, best = row["val_accuracy"], self.best[self.phase]
        is_provisional = accuracy is None or self.epoch < best_from  # the next epoch counts as better
        improved = self.epoch <= best_from or accuracy is None or best is None or accuracy >= best
        self.epoch += 1
        self.history.append(row)
        if improved:
            self.best[self.phase] = accuracy

        if not self.writes:
            return
        is_due = is_last or time.monotonic() >= self._next_save
        if improved and (is_due or not is_provisional):
            self.save_best()
        if is_due:
            self._save(self.out / LAST, bits=32)
            self.write(optimizer)
            self._write_history()
            self._next_save = time.monotonic() + self.config.save_every

    def begin(self) -> None:
        """Start a new training: delete the files of an earlier one, and make the first epoch resumable."""
        if self.writes:
            for name in RESULTS:
                (self.out / name).unlink(missing_ok=True)
        self.write()

    def write(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Write `last.state`; without an optimiser, as at the very beginning, it contains no momentum."""
        if not self.writes:
            return

        tensors = {f"model.{key}": value for key, value in model_tensors(self.model).items()}
        if optimizer is not None:
            for index, parameter in enumerate(_parameters(optimizer)):
                buffer = optimizer.state[parameter].get("momentum_buffer")
                if buffer is not None:
                    tensors[f"momentum.{index}"] = buffer.detach().cpu().contiguous()

        header = {
            "phase": self.phase,
            "epoch": self.epoch,
            "best": self.best,
            "history": self.history,
            "data": self.fingerprint,
            "options": self.config.options(),
        }
        write_tensors(self.out / STATE, tensors, {"lmpnet": json.dumps(header)})

    def save_best(self) -> None:
        """Write `lmpnet.safetensors`."""
        if self.writes:
            self._save(self.out / BEST, bits=int(self.config.weight_bits))

    def _save(self, path: Path, bits: int) -> None:
        # before its own phase the replica is untrained and is omitted
        model = self.model if self.phase == "replica" else LMPNet(self.model.spec, self.model.network)
        record = {
            "position": [self.phase, self.epoch],
            "training": self.config.record(),
            "initial_weights": self.origin,
            "validation_accuracy": self.best,
        }
        save_checkpoint(path, model, record, bits)

    def _write_history(self) -> None:
        """Write `history.csv` and `curves.png`."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.history[0]), lineterminator="\n")
        writer.writeheader()
        for row in self.history:
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})

        write_text(self.out / "history.csv", text.getvalue())
        save_png(self.out / "curves.png", draw_curves(self.history))


class _Best(Struct):
    network: float | None
    replica: float | None


class _Row(Struct):
    """One row of `history.csv`: numbers only, since a text from another computer may be a formula in a spreadsheet."""

    phase: Phase
    epoch: int
    learning_rate: float
    epsilon: float
    train_loss: float
    train_accuracy: float
    mean_activation: float
    seconds: float
    images_per_second: float
    val_loss: float | None
    val_accuracy: float | None


class _Header(Struct, kw_only=True):
    """What the metadata of `last.state` say."""

    phase: Phase
    epoch: Annotated[int, Meta(ge=0)]
    best: _Best
    data: str
    options: dict[str, Any]
    history: list[_Row]


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _read_state(out: Path) -> _Header:
    try:
        return check(parse_json(read_metadata(out / STATE).get("lmpnet", "")), _Header)
    except FileNotFoundError as error:
        raise TrainingError(
            f"There is no training to resume in {out}. Remove --resume to start a new training."
        ) from error
    except (SafetensorError, OSError, SchemaError) as error:
        raise CheckpointError(f"{out / STATE} cannot be read ({error}). Train again with --overwrite.") from error
