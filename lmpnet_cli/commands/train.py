"""`lmpnet train DATA`."""

import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_note, print_summary, telling_how_to_go_on
from lmpnet_cli.config import TrainConfig as Config
from lmpnet_cli.config import default_out

NETWORK, RECIPE = "Network", "Recipe"


class Pooling(str, Enum):
    """Equations 1 to 3."""

    leaky_max = "leaky_max"
    max = "max"
    average = "average"


def train(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="CUB folders, or folders with one sub-folder for each class; several are merged by class name, and one named twice counts twice."
        ),
    ],
    out: o.Out = default_out("train"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, with its settings.", rich_help_panel=o.OUTPUT)
    ] = Config.resume,
    overwrite: o.Overwrite = Config.overwrite,
    half: Annotated[
        bool, typer.Option("--half", help="Store the best weights as float16.", rich_help_panel=o.OUTPUT)
    ] = Config.half,
    backbone: Annotated[str, typer.Option(help="Any timm network.", rich_help_panel=NETWORK)] = Config.backbone,
    layer: Annotated[
        str, typer.Option(help="Feature layer, by name or index.", rich_help_panel=NETWORK)
    ] = Config.layer,
    output_stride: Annotated[
        int | None, typer.Option(help="32, 16 or 8 (default: as built).", rich_help_panel=NETWORK)
    ] = Config.output_stride,
    stride_in_1x1: Annotated[
        bool,
        typer.Option("--stride-in-1x1", help="ResNet v1: strides in the 1x1 convolutions.", rich_help_panel=NETWORK),
    ] = Config.stride_in_1x1,
    caffe_pooling: Annotated[
        bool,
        typer.Option(
            "--caffe-pooling", help="First pooling without padding, for Caffe's weights.", rich_help_panel=NETWORK
        ),
    ] = Config.caffe_pooling,
    init: Annotated[
        str, typer.Option(help="pretrained, none, or a safetensors file.", rich_help_panel=NETWORK)
    ] = Config.init,
    pooling: Annotated[Pooling, typer.Option(help="Pooling of equations 3, 2, 1.", rich_help_panel=NETWORK)] = Pooling(
        Config.pooling
    ),
    epsilon: Annotated[float, typer.Option(help="The leak.", rich_help_panel=NETWORK)] = Config.epsilon,
    epsilon_warmup: Annotated[
        float, typer.Option(help="Share of the epochs over which the leak rises from 0.", rich_help_panel=RECIPE)
    ] = Config.epsilon_warmup,
    size: Annotated[
        int, typer.Option(help="Side of the square input in pixels.", rich_help_panel=NETWORK)
    ] = Config.size,
    epochs: Annotated[int, typer.Option(help="Epochs of the network.", rich_help_panel=RECIPE)] = Config.epochs,
    replica_epochs: Annotated[
        int | None,
        typer.Option(help="Epochs of the replica; 0 trains none (default: as --epochs).", rich_help_panel=RECIPE),
    ] = Config.replica_epochs,
    replica_from_network: Annotated[
        bool,
        typer.Option(
            "--replica-from-network",
            help="The replica starts from the trained network (not in the paper).",
            rich_help_panel=RECIPE,
        ),
    ] = Config.replica_from_network,
    learning_rate: Annotated[
        float, typer.Option(help="Peak, at a batch of 64.", rich_help_panel=RECIPE)
    ] = Config.learning_rate,
    head_factor: Annotated[
        float, typer.Option(help="Learning rate of the classifier over that of the backbone.", rich_help_panel=RECIPE)
    ] = Config.head_factor,
    momentum: Annotated[float, typer.Option(help="Nesterov momentum.", rich_help_panel=RECIPE)] = Config.momentum,
    weight_decay: Annotated[float, typer.Option(help="L2 penalty.", rich_help_panel=RECIPE)] = Config.weight_decay,
    warmup: Annotated[
        float, typer.Option(help="Share of the epochs over which the learning rate rises.", rich_help_panel=RECIPE)
    ] = Config.warmup,
    label_smoothing: Annotated[
        float, typer.Option(help="Of the cross-entropy.", rich_help_panel=RECIPE)
    ] = Config.label_smoothing,
    clip: Annotated[
        float, typer.Option(help="Largest gradient norm; 0 for none.", rich_help_panel=RECIPE)
    ] = Config.clip,
    freeze: Annotated[
        str | None, typer.Option(help="Leave the backbone up to this layer as it is.", rich_help_panel=RECIPE)
    ] = Config.freeze,
    mask_radius: Annotated[
        float, typer.Option(help="Mask-out, in cells of a 14 x 14 grid: 1 hides one cell.", rich_help_panel=RECIPE)
    ] = Config.mask_radius,
    background: Annotated[
        float,
        typer.Option(help="Share of inputs without object, labelled none (not in the paper).", rich_help_panel=RECIPE),
    ] = Config.background,
    parts: Annotated[
        int,
        typer.Option(
            help="Keypoints of the vocabulary that the training ends with; 0 learns none.", rich_help_panel=RECIPE
        ),
    ] = Config.parts,
    val_fraction: Annotated[
        float,
        typer.Option(help="Part of the training images held out to choose the best epoch.", rich_help_panel=o.INPUT),
    ] = Config.val_fraction,
    max_pixels: o.MaxPixels = Config.max_pixels,
    follow_links: o.FollowLinks = Config.follow_links,
    device: o.Device = Config.device,
    devices: Annotated[int, typer.Option(help="Processes on this machine.", rich_help_panel=o.RUN)] = Config.devices,
    num_nodes: Annotated[int, typer.Option(help="Machines (with torchrun).", rich_help_panel=o.RUN)] = Config.num_nodes,
    precision: o.Precise = o.Precision(Config.precision),
    batch_size: o.BatchSize = Config.batch_size,
    workers: o.Workers = Config.workers,
    seed: o.Seed = Config.seed,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Learn an LMPNet, network and replica, from class-labelled images.

    \b
    lmpnet train data/CUB
    lmpnet train photos/ --epochs 20 --out runs/herons
    lmpnet train photos/ --out runs/herons --resume
    """
    given = o.plain({key: value for key, value in locals().items() if key not in ("quiet", "json")})
    Config(**given)
    from lmpnet_cli.training.state import STATE
    from lmpnet_cli.training.train import train as run

    with telling_how_to_go_on(out / STATE), ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    summary: dict[str, object] = {
        "epochs": result.epochs,
        "accuracy": _rounded(result.accuracy),
        "replica_accuracy": _rounded(result.replica_accuracy),
        "skipped": len(result.skipped),
        "seconds": round(result.seconds, 2),
        "complete": result.complete,
        "out": out,
    }
    if json:
        print_json(summary)
    elif not quiet:
        _show(summary, out)
    if not result.complete:
        again = shlex.join(["lmpnet", "train", *map(str, data), "--out", str(out), "--resume"])
        print_note(f"Interrupted. {out / 'lmpnet.safetensors'} can be used as it is; to go on: {again}")
        raise typer.Exit(130)


def _rounded(accuracy: float | None) -> float | None:
    return None if accuracy is None else round(accuracy, 4)


def _show(summary: dict[str, object], out: Path) -> None:
    files = ("lmpnet.safetensors", "last.safetensors", "history.csv", "curves.png", "parts.png")
    facts = {
        "epochs": summary["epochs"],
        "validation accuracy": "-" if summary["accuracy"] is None else summary["accuracy"],
        "of the replica": "-" if summary["replica_accuracy"] is None else summary["replica_accuracy"],
        "skipped": o.skipped_line(int(str(summary["skipped"]))),
        "time": f"{summary['seconds']} s",
        "written": ", ".join(str(out / name) for name in files if (out / name).exists()),
        "next": f"lmpnet discover IMAGES -c {out / 'lmpnet.safetensors'}",
    }
    print_summary("train", facts)
