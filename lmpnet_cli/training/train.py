"""`lmpnet train`: train the network to convergence, freeze it, then train the replica on masked images.

1. `train` reads the data, holds out validation images and starts the processes (Lightning Fabric).
2. `initial_model` builds both networks with their initial weights.
3. `trainer.Trainer` runs both phases in each process.
4. Parts are learned for the best model (not in the paper).
"""

import logging
import multiprocessing
import os
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import torch
from lightning.fabric import Fabric
from torch.multiprocessing.spawn import ProcessRaisedException

from lmpnet_cli import errors
from lmpnet_cli.config import PartsConfig, Paths, TrainConfig, as_paths, default_out, takes_options
from lmpnet_cli.config.options import flag_of
from lmpnet_cli.data.datasets import ClassData, hold_out, read_classes
from lmpnet_cli.data.listing import tell_of_junk
from lmpnet_cli.errors import DatasetError, InputError, OptionError
from lmpnet_cli.io.checkpoints import load_checkpoint, read_header
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.io.runtime import fast_bfloat16, resolve_device, seed_everything, seeded
from lmpnet_cli.model.backbone import BackboneSpec, plan
from lmpnet_cli.model.lmpnet import LMPNet, NetworkSpec, build
from lmpnet_cli.model.pretrained import check_pretrained, quiet_libraries
from lmpnet_cli.parts.fit import fit_parts
from lmpnet_cli.parts.learn_parts import write_parts
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.dataset import unreadable
from lmpnet_cli.training.initial_weights import (
    check_initial_weights,
    load_initial_weights,
    provenance,
    stated_options,
    trained_network,
)
from lmpnet_cli.training.stages import StageProgress, title
from lmpnet_cli.training.state import BEST, RESULTS, TrainingState
from lmpnet_cli.training.trainer import Trainer

LIGHTNING = ("lightning.fabric", "lightning.pytorch")  # loggers that report their own defaults
PATIENCE = 30.0  # seconds to wait for other processes after Ctrl-C


@dataclass(frozen=True)
class TrainResult:
    """The results of a training.

    Attributes:
        out: the folder with the files.
        accuracy, replica_accuracy: validation accuracy in [0, 1] of the best epochs; None without validation images.
        epochs: number of complete epochs of both networks.
        skipped: images that could not be read, with the reason.
        complete: False if the run was interrupted.
    """

    out: Path
    accuracy: float | None
    replica_accuracy: float | None
    epochs: int
    seconds: float
    skipped: dict[Path, str]
    complete: bool = True


@takes_options(TrainConfig)
def train(data: Paths, *, progress: Progress | None = None, **options: Any) -> TrainResult:
    """Learn an LMPNet, network and replica, from class-labelled images.

    The caller's random generators and cuDNN settings are the same afterwards.

    Args:
        data: one or several CUB folders and folders with one sub-folder per class.
        progress: receives epochs, batches and messages.
        **options: listed below.

    Raises:
        LmpnetError: if data, options or the output folder cannot be used, or if the training diverges.
    """
    config = TrainConfig(data=as_paths(data), **options)
    out = config.out or default_out("train")

    locks = int(os.environ.get("RANK", "0")) == 0  # of the processes started by torchrun, one locks the folder
    with lock_output(out if locks else None, RESULTS, config.overwrite or config.resume):
        if config.resume:
            config = TrainingState.stored_config(out, config)
        with seeded(config.seed), quiet_libraries(LIGHTNING, logging.WARNING):
            return _train(config, out, progress or Progress())


def _train(config: TrainConfig, out: Path, progress: Progress) -> TrainResult:
    junk: Counter[str] = Counter()
    listed = read_classes(config.data, config.follow_links, junk)
    tell_of_junk(junk, progress)
    for note in listed.notes:
        progress.warn(note)
    config = _as_the_weights_state(config, progress)  # before all images are read
    classes, skipped = _readable(listed, config.max_pixels, progress)
    classes = hold_out(classes, config.val_fraction, config.seed)
    started = time.perf_counter()

    device = resolve_device(config.device)
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index] if device.index is not None else config.devices,
        num_nodes=config.num_nodes,
        strategy=_strategy(config),
        precision=_precision(config, device),
    )
    outcome = _launch(fabric, _Job(config, out, classes, progress))

    if outcome["complete"] and config.parts and fabric.is_global_zero:
        _add_parts(config, out, classes, progress)
    result = TrainResult(out=out, seconds=time.perf_counter() - started, skipped=skipped, **outcome)
    if fabric.is_global_zero:
        _write_run(config, result, classes, outcome)
    return result


def _as_the_weights_state(config: TrainConfig, progress: Progress) -> TrainConfig:
    """Check the network and its initial weights, and take what their file states unless the options say otherwise.

    Raises:
        OptionError: if there is no such network.
        CheckpointError: if the weights are not available, or do not fit the network.
    """
    plan(_backbone_spec(config))
    if config.init == "pretrained" and config.reads_init:
        check_pretrained(config.backbone)

    stated, source = dict.fromkeys(("stride_in_1x1", "caffe_pooling"), False), config.init
    if config.network_from is not None and not config.resume:
        backbone = load_checkpoint(config.network_from).spec.backbone
        stated, source = {name: getattr(backbone, name) for name in stated}, str(config.network_from)
    elif config.init_file is not None:
        stated = stated_options(check_initial_weights(_backbone_spec(config), config.init_file))

    used: dict[str, Any] = {name: value for name, value in stated.items() if getattr(config, name) is None}
    for name, value in used.items():
        if value:
            progress.tell(f"{flag_of(name)} is used, because {source} states that its weights were trained so.")
    return replace(config, **used)


def _launch(fabric: Fabric, job: "_Job") -> dict[str, Any]:
    """Run a job in every process and return the result of the first one."""
    try:
        outcome: dict[str, Any] = fabric.launch(job)
    except KeyboardInterrupt:
        for child in multiprocessing.active_children():  # they must not write once the folder is unlocked
            child.join(PATIENCE)
            child.terminate()
            child.join()
        raise
    except ProcessRaisedException as error:  # it holds the error of another process as text
        raise original_error(error) from error
    return outcome


def original_error(error: ProcessRaisedException) -> Exception:
    """Return the LmpnetError whose traceback is in the text of `error`, or `error` itself."""
    name, _, message = str(error).strip().splitlines()[-1].partition(": ")
    kind = getattr(errors, name.rpartition(".")[2], None)
    return kind(message) if isinstance(kind, type) else error


def _write_run(config: TrainConfig, result: TrainResult, classes: ClassData, outcome: dict[str, Any]) -> None:
    """Write `run.json`."""
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


def _add_parts(config: TrainConfig, out: Path, classes: ClassData, progress: Progress) -> None:
    """Learn parts for the best checkpoint, from the training images only."""
    best = out / BEST
    parts_config = PartsConfig(
        data=config.data,
        checkpoint=best,
        k=config.parts,
        device=config.device,
        precision=config.precision,
        workers=config.workers,
        seed=config.seed,
        max_pixels=config.max_pixels,
    )

    images = [sample.listed for sample in classes.of("train")]
    try:
        write_parts(out, best, fit_parts(parts_config, images, StageProgress(progress, title(config, "parts"))))
    except DatasetError as error:  # the model itself is complete
        progress.warn(f"The model is saved without parts. {error} To learn them later: lmpnet parts DATA -c {best}")


def _strategy(config: TrainConfig) -> str:
    """Return how Fabric starts the processes."""
    world = int(os.environ.get("WORLD_SIZE", "0"))
    if "TORCHELASTIC_RUN_ID" in os.environ or world:
        if world and config.devices * config.num_nodes != world:
            raise OptionError(
                f"torchrun started {world} processes, but --devices times --num-nodes is "
                f"{config.devices * config.num_nodes}. Pass values whose product is {world}."
            )
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
    """Return the data without unreadable images and without classes that have no training image, and what was skipped.

    Raises:
        InputError: if no training image can be read.
        DatasetError: if only one class is left.
    """
    skipped, noted = unreadable(data.samples, max_pixels)
    for note, paths in noted.items():
        progress.warn(f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: {note}.")
    for path, reason in skipped.items():
        progress.warn(f"{path} is skipped: {reason}")

    samples = [sample for sample in data.samples if sample.path not in skipped]
    trained = {sample.class_name for sample in samples if sample.split == "train"}
    if not trained:
        raise InputError(_no_training_images(skipped))
    if len(trained) < 2:
        raise DatasetError(
            f"Only the class {', '.join(trained)} has readable training images, but training needs two classes. Add "
            "images of another class."
        )
    kept = tuple(sample for sample in samples if sample.class_name in trained)
    return ClassData(kept, tuple(sorted(trained)), data.official), skipped


def _no_training_images(skipped: dict[Path, str]) -> str:
    if not skipped:
        return "There are no training images. Check DATA."
    path, reason = next(iter(skipped.items()))
    return f"None of the training images can be read; the first one: {path} ({reason})."


def initial_model(config: TrainConfig, classes: tuple[str, ...]) -> tuple[LMPNet, str]:
    """Build the model before training, and say where its weights come from."""
    spec = NetworkSpec(
        _backbone_spec(config),
        classes,
        config.pooling,
        config.epsilon,
        config.size,
        mask_radius=config.mask_radius,
        reject=config.background > 0,
    )
    seed_everything(config.seed)
    pretrained = config.init == "pretrained" and config.reads_init
    model = build(spec, replica=config.replica_epochs > 0, pretrained=pretrained)

    metadata: dict[str, str] = {}
    for network in (model.network, model.replica):
        if network is None:
            continue
        if config.init_file is not None and config.reads_init:
            metadata = load_initial_weights(network.backbone, config.init_file)
        if config.frozen_layer is not None:
            network.backbone.freeze_through(config.frozen_layer)

    origin = provenance(PurePath(config.init).name, metadata)
    if config.network_from is not None:
        origin = f"network of {config.network_from.name}"
        if not config.resume:  # a training that resumes needs no other file
            origin += f": {read_header(config.network_from).get('initial_weights')}"
            model.network.load_state_dict(trained_network(config.network_from, spec).state_dict())
    return model, origin


def _backbone_spec(config: TrainConfig) -> BackboneSpec:
    return BackboneSpec(
        config.backbone,
        config.layer,
        config.output_stride,
        stride_in_1x1=bool(config.stride_in_1x1),
        caffe_pooling=bool(config.caffe_pooling),
    )


class _Job:
    """The work of each process. It is no dataclass because Fabric looks into its arguments and refuses frozen ones."""

    def __init__(self, config: TrainConfig, out: Path, data: ClassData, progress: Progress) -> None:
        self.config, self.out, self.data, self.progress = config, out, data, progress

    def __call__(self, fabric: Fabric) -> dict[str, Any]:
        model, origin = initial_model(self.config, self.data.classes)
        progress = self.progress if fabric.is_global_zero else Progress()
        return Trainer(fabric, self.config, self.out, self.data, model, origin, progress).run()
