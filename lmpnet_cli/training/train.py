"""`lmpnet train`: the network to convergence, then, with the network frozen, the replica on masked images.

1. `train` reads the data, holds out a validation part and starts the processes (Lightning Fabric).
2. `initial_model` builds both networks with their initial weights.
3. `trainer.Trainer` runs both phases in each process.
4. The best model gets a keypoint vocabulary (not in the paper).
"""

import logging
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric import Fabric
from torch.multiprocessing.spawn import ProcessRaisedException

from lmpnet_cli import errors
from lmpnet_cli.config import PartsConfig, TrainConfig, default_out
from lmpnet_cli.data.datasets import ClassData, hold_out, read_classes
from lmpnet_cli.errors import DatasetError, InputError, OptionError
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.io.runtime import fast_bfloat16, resolve_device, seed_everything
from lmpnet_cli.model.backbone import BackboneSpec, load_initial_weights, provenance
from lmpnet_cli.model.lmpnet import LMPNet, NetworkSpec, build
from lmpnet_cli.parts.fit import fit_parts
from lmpnet_cli.parts.learn_parts import write_parts
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.dataset import unreadable
from lmpnet_cli.training.state import BEST, RESULTS, TrainingState
from lmpnet_cli.training.trainer import Trainer

Phase = Literal["network", "replica"]
PATIENCE = 30.0  # seconds for other processes to end after Ctrl-C


@dataclass(frozen=True)
class TrainResult:
    """Where the results lie and how well the best epochs did.

    Attributes:
        accuracy, replica_accuracy: validation accuracy in [0, 1] of the best epochs; None without validation images.
        skipped: pictures that could not be read, with the reason.
        complete: False when the run was interrupted.
    """

    out: Path
    accuracy: float | None
    replica_accuracy: float | None
    epochs: int
    seconds: float
    skipped: dict[Path, str]
    complete: bool = True


def train(data: Any, *, progress: Progress | None = None, **options: Any) -> TrainResult:
    """Learns an LMPNet, network and replica, from class-labelled images.

    Args:
        data: CUB folders and class folders, one or several.
        progress: told about epochs and batches.
        **options: the fields of `TrainConfig`.

    Raises:
        LmpnetError: for data, options or an output folder that cannot be used, and when the training diverges.
    """
    config = TrainConfig(data=data, **options)
    progress = progress or Progress()
    out = config.out or default_out("train")
    first = int(os.environ.get("RANK", "0")) == 0  # of the processes that torchrun started, one claims the folder
    with lock_output(out if first else None, RESULTS, config.overwrite or config.resume):
        if config.resume:
            config = TrainingState.stored_config(out, config)
        return _train(config, out, progress)


def _train(config: TrainConfig, out: Path, progress: Progress) -> TrainResult:
    classes, skipped = _readable(read_classes(config.data, config.follow_links), config.max_pixels, progress)
    classes = hold_out(classes, config.val_fraction, config.seed)
    started = time.perf_counter()
    for name in ("lightning.fabric", "lightning.pytorch"):  # they announce their defaults
        logging.getLogger(name).setLevel(logging.WARNING)
    device = resolve_device(config.device)
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index] if device.index is not None else config.devices,
        num_nodes=config.num_nodes,
        strategy=_strategy(config),
        precision=_precision(config, device),
    )
    try:
        outcome: dict[str, Any] = fabric.launch(_Job(config, out, classes, progress))
    except KeyboardInterrupt:
        for child in multiprocessing.active_children():  # nothing is written once the folder is free for others
            child.join(PATIENCE)
            child.terminate()
            child.join()
        raise
    except ProcessRaisedException as error:  # an error of another process, as text
        raise _of_a_process(error) from error
    if outcome["complete"] and config.parts and fabric.is_global_zero:
        _end_with_vocabulary(config, out, classes, progress)
    result = TrainResult(out=out, seconds=time.perf_counter() - started, skipped=skipped, **outcome)
    if fabric.is_global_zero:
        _write_run(config, result, classes, outcome)
    return result


def _write_run(config: TrainConfig, result: TrainResult, classes: ClassData, outcome: dict[str, Any]) -> None:
    write_run(
        result.out,
        "train",
        config.options(),
        result.seconds,
        images={split: len(classes.of(split)) for split in ("train", "val", "test")},
        classes=len(classes.classes),
        skipped=skipped_entries((path.as_posix(), reason) for path, reason in result.skipped.items()),
        **outcome,
    )


def _end_with_vocabulary(config: TrainConfig, out: Path, classes: ClassData, progress: Progress) -> None:
    """The best checkpoint gets a vocabulary, learned from the training images alone."""
    best = out / BEST
    settings = PartsConfig(
        data=config.data,
        checkpoint=best,
        k=config.parts,
        device=config.device,
        precision=config.precision,
        workers=config.workers,
        seed=config.seed,
        max_pixels=config.max_pixels,
    )
    pictures = [sample.listed for sample in classes.of("train")]
    try:
        write_parts(out, best, fit_parts(settings, pictures, progress))
    except DatasetError as error:  # the model itself is whole
        progress.warn(f"The model gets no keypoint vocabulary: {error}")


def _of_a_process(error: Exception) -> Exception:
    name, _, message = str(error).strip().splitlines()[-1].partition(": ")
    kind = getattr(errors, name.rpartition(".")[2], None)
    return kind(message) if isinstance(kind, type) else error


def _strategy(config: TrainConfig) -> str:
    world = int(os.environ.get("WORLD_SIZE", "0"))
    if "TORCHELASTIC_RUN_ID" in os.environ or world:
        if world and config.devices * config.num_nodes != world:
            raise OptionError(f"torchrun started {world} processes: --devices times --num-nodes must be {world}.")
        return "ddp"
    if config.num_nodes > 1:
        raise OptionError(
            "--num-nodes above 1 needs torchrun: torchrun --nnodes N --nproc-per-node M -m lmpnet_cli train DATA "
            "--num-nodes N --devices M."
        )
    return "ddp_spawn" if config.devices > 1 else "auto"


def _precision(config: TrainConfig, device: torch.device) -> Any:
    if config.precision == "32" or (config.precision == "auto" and not fast_bfloat16(device)):
        return "32-true"
    return "bf16-mixed"


def _readable(data: ClassData, max_pixels: int, progress: Progress) -> tuple[ClassData, dict[Path, str]]:
    skipped = unreadable(data.samples, max_pixels)
    for path, reason in skipped.items():
        progress.warn(f"{path} is skipped: {reason}")
    samples = tuple(sample for sample in data.samples if sample.path not in skipped)
    if not any(sample.split == "train" for sample in samples):
        raise InputError(_none(skipped))
    trained = {sample.class_name for sample in samples if sample.split == "train"}
    if len(trained) < 2:
        raise DatasetError(f"Only the class {', '.join(trained)} has training images that can be read; two are needed.")
    return ClassData(
        tuple(s for s in samples if s.class_name in trained), tuple(sorted(trained)), data.official
    ), skipped


def _none(skipped: dict[Path, str]) -> str:
    if not skipped:
        return "There are no training images."
    path, reason = next(iter(skipped.items()))
    return f"None of the training images can be read; the first: {path} ({reason})."


def initial_model(config: TrainConfig, classes: tuple[str, ...]) -> tuple[LMPNet, str]:
    """The model before training, and where its weights come from."""
    backbone = BackboneSpec(
        config.backbone, config.layer, config.output_stride, config.stride_in_1x1, config.caffe_pooling
    )
    spec = NetworkSpec(
        backbone,
        classes,
        config.pooling,
        config.epsilon,
        config.size,
        mask_radius=config.mask_radius,
        reject=config.background > 0,
    )
    seed_everything(config.seed)
    model = build(spec, replica=config.epochs_of_replica > 0, pretrained=config.init == "pretrained")
    networks = [network for network in (model.network, model.replica) if network is not None]
    metadata: dict[str, str] = {}
    for network in networks:
        if config.init not in ("pretrained", "none"):
            metadata = load_initial_weights(network.backbone, Path(config.init))
        if config.freeze is not None:
            network.backbone.freeze_through(config.freeze)
    kind = Path(config.init).name if config.init not in ("pretrained", "none") else config.init
    return model, provenance(kind, metadata)


class _Job:
    """What each process does. No dataclass: Fabric looks into those that it passes on and refuses frozen ones."""

    def __init__(self, config: TrainConfig, out: Path, data: ClassData, progress: Progress) -> None:
        self.config, self.out, self.data, self.progress = config, out, data, progress

    def __call__(self, fabric: Fabric) -> dict[str, Any]:
        model, origin = initial_model(self.config, self.data.classes)
        progress = self.progress if fabric.is_global_zero else Progress()
        return Trainer(fabric, self.config, self.out, self.data, model, origin, progress).run()
