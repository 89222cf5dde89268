"""What a training remembers on disk, and how it goes on from there.

`last.state` (a safetensors file) is all that `--resume` reads: the weights after the last whole epoch in float32, the
momentum of the optimiser and, in its metadata, settings, history and position. Being one file, written aside and
renamed, it is always of one epoch. `last.safetensors` is the same model as a checkpoint that other commands take.
"""

import csv
import io
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import torch
from msgspec import Meta, Struct
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.drawing.charts import draw_curves
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.errors import CheckpointError, TrainingError
from lmpnet_cli.io.checkpoints import load_checkpoint, model_tensors, read_metadata, save_checkpoint, write_tensors
from lmpnet_cli.io.files import write_text
from lmpnet_cli.io.json_input import SchemaError, check, parse_json
from lmpnet_cli.model.lmpnet import LMPNet

BEST, LAST, STATE = "lmpnet.safetensors", "last.safetensors", "last.state"
RESULTS = (BEST, LAST, STATE, "history.csv", "curves.png", "parts.png", "parts.json", "run.json")
# settings of the machine, not of the training: they may differ when a run goes on
_OF_THE_RUN = ("out", "overwrite", "resume", "device", "workers", "data")


class TrainingState:
    """Position, history and best accuracies of one training."""

    def __init__(
        self, out: Path, config: TrainConfig, model: LMPNet, origin: str, fingerprint: str, writes: bool
    ) -> None:
        self.out, self.config, self.model, self.origin, self.writes = out, config, model, origin, writes
        self.fingerprint = fingerprint
        self.phase = "network"
        self.epoch = 0  # whole epochs of this phase
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, float | None] = {"network": None, "replica": None}
        self._momentum: dict[str, Tensor] = {}

    @staticmethod
    def stored_config(out: Path, given: TrainConfig) -> TrainConfig:
        """The settings of the run in `out`; only those of the machine are taken from `given`.

        Raises:
            TrainingError: when there is no run to go on with.
        """
        types = get_type_hints(TrainConfig)
        own = {field.name for field in fields(TrainConfig)} - set(_OF_THE_RUN)
        try:
            options = {
                name: check(value, types[name]) for name, value in _read_state(out).options.items() if name in own
            }
        except SchemaError as error:
            raise CheckpointError(f"{out / STATE} contains invalid settings ({error}).") from error
        return replace(given, **options)

    def load(self) -> None:
        """Takes up the run in `out`: weights, momentum, history and position."""
        header = _read_state(self.out)
        if header.data != self.fingerprint:
            raise TrainingError(
                f"{self.out} was begun with other pictures, classes or splits than this data holds now. "
                "Name the data that the training began with, or train anew with --overwrite."
            )
        try:
            tensors = load_file(self.out / STATE)
            weights = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
            self.model.load_state_dict(weights)
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"{self.out / STATE} does not fit ({reason}). Train again with --overwrite."
            ) from error
        self.phase, self.epoch = header.phase, header.epoch
        self.history = header.history
        self.best = {"network": header.best.network, "replica": header.best.replica}
        self._momentum = {key: value for key, value in tensors.items() if key.startswith("momentum.")}

    def enter(self, phase: str) -> None:
        """A phase begins. The replica learns beside the best network, as the best checkpoint holds it."""
        self.phase, self.epoch, self._momentum = phase, 0, {}
        if phase == "replica":
            best = load_checkpoint(self.out / BEST).network.state_dict()
            self.model.network.load_state_dict(best)
            if self.config.replica_from_network and self.model.replica is not None:
                self.model.replica.load_state_dict(best)

    def restore(self, optimizer: torch.optim.Optimizer) -> None:
        """Gives the optimiser its momentum back."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for index, parameter in enumerate(parameters):
            buffer = self._momentum.get(f"momentum.{index}")
            if buffer is not None:
                if buffer.shape != parameter.shape:
                    raise CheckpointError(f"{self.out / STATE} does not fit. Train again with --overwrite.")
                optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(buffer)

    def finish_epoch(self, row: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Records a whole epoch; the process of rank 0 writes it."""
        self.epoch += 1
        self.history.append(row)
        accuracy = row["val_accuracy"]
        best = self.best[self.phase]
        # without validation images every epoch counts as the best; among equals the later one, trained longer
        improved = accuracy is None or best is None or accuracy >= best
        if improved:
            self.best[self.phase] = accuracy
        if not self.writes:
            return
        if improved:
            self.save_best()
        self._save(self.out / LAST, half=False)
        self.write(optimizer)
        self._write_history()

    def begin(self) -> None:
        """A new training: files of an earlier one go, and even the first epoch can be resumed."""
        if self.writes:
            for name in RESULTS:
                (self.out / name).unlink(missing_ok=True)
        self.write()

    def write(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Writes `last.state`; without an optimiser, as at the very beginning, there is no momentum."""
        if not self.writes:
            return
        tensors = {f"model.{key}": value for key, value in model_tensors(self.model).items()}
        groups = [] if optimizer is None else optimizer.param_groups
        for index, parameter in enumerate(parameter for group in groups for parameter in group["params"]):
            assert optimizer is not None
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
        metadata = {"lmpnet": json.dumps(header)}
        write_tensors(self.out / STATE, tensors, metadata)

    def save_best(self) -> None:
        """Writes `lmpnet.safetensors`."""
        if self.writes:
            self._save(self.out / BEST, half=self.config.half)

    def _save(self, path: Path, half: bool) -> None:
        # before its own phase the replica knows nothing and is left out
        model = self.model if self.phase == "replica" else LMPNet(self.model.spec, self.model.network)
        record = {
            "position": [self.phase, self.epoch],
            "training": self.config.record(),
            "initial_weights": self.origin,
            "validation_accuracy": self.best,
        }
        save_checkpoint(path, model, record, half)

    def _write_history(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
            for row in self.history
        )
        write_text(self.out / "history.csv", text.getvalue())
        save_png(self.out / "curves.png", draw_curves(self.history))


class _Best(Struct):
    network: float | None
    replica: float | None


class _Header(Struct, kw_only=True):
    """What the metadata of `last.state` say."""

    phase: Literal["network", "replica"]
    epoch: Annotated[int, Meta(ge=0)]
    best: _Best
    data: str
    options: dict[str, Any]
    history: list[dict[str, Any]]


def _read_state(out: Path) -> _Header:
    try:
        return check(parse_json(read_metadata(out / STATE).get("lmpnet", "")), _Header)
    except FileNotFoundError as error:
        raise TrainingError(f"There is no training to resume in {out}. Leave --resume out to begin one.") from error
    except (SafetensorError, OSError, SchemaError) as error:
        raise CheckpointError(f"{out / STATE} cannot be read ({error}). Train again with --overwrite.") from error
