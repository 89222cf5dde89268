"""`lmpnet train`."""

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from lmpnet_cli.config.lmpnet import MAX_THRESHOLD
from lmpnet_cli.config.method import DEFAULT_KEYPOINTS, MAX_KEYPOINTS
from lmpnet_cli.config.options import (
    INPUT,
    OUTPUT,
    REQUIRED,
    RUN,
    argument,
    documented,
    of_network,
    of_recipe,
    option,
    same_as,
)
from lmpnet_cli.config.run import RunConfig


@documented
@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """Options of `lmpnet train`. The help text says where an option is not in the paper."""

    data: tuple[Path, ...] = argument(
        REQUIRED,
        "CUB folders, or folders with one sub-folder for each class; several are merged by class name, and a folder "
        "that is passed twice counts twice.",
    )
    batch_size: int = same_as(RunConfig, "batch_size", default=32, help="Images in one step, for each process.")

    backbone: str = of_network("resnet50", "Name of a timm network.")
    layer: str = of_network("-1", "Layer that the feature maps are taken from, by name or index.")
    output_stride: int | None = of_network(None, "Output stride of the backbone: 32, 16 or 8.", default_text="as built")
    stride_in_1x1: bool = of_network(
        False, "Put the strides into the 1 x 1 convolutions, as in the first version of ResNet."
    )
    caffe_pooling: bool = of_network(False, "First pooling without padding, as for weights of Caffe.")
    init: str = of_network(
        "pretrained", "Initial weights: pretrained (those of timm), none (random) or a safetensors file."
    )
    pooling: Literal["leaky_max", "max", "average"] = of_network(
        "leaky_max", "Pooling: leaky_max (equation 3), max (equation 2) or average (equation 1)."
    )
    epsilon: float = of_network(0.1, "Weight of the values below the maximum in leaky max pooling.", low=0, high=10)
    size: int = of_network(224, "Side of the square network input in pixels.", low=32, high=2048)

    epochs: int = of_recipe(30, "Epochs of the network.", low=1)
    replica_epochs: int | None = of_recipe(
        None, "Epochs of the replica; 0 trains no replica.", default_text="as --epochs", low=0
    )
    replica_from_network: bool = of_recipe(
        False, "Start the replica from the trained network, not from the initial weights (not in the paper)."
    )
    learning_rate: float = of_recipe(
        0.01, "Peak learning rate of the backbone for a batch of 64 images; scaled with the batch.", above=0
    )
    head_factor: float = of_recipe(1.0, "Learning rate of the classifier divided by that of the backbone.", low=0)
    momentum: float = of_recipe(0.9, "Nesterov momentum.", low=0, high=1)
    weight_decay: float = of_recipe(5e-4, "Weight decay (L2 penalty).", low=0)
    warmup: float = of_recipe(0.05, "Share of the epochs during which the learning rate rises.", low=0, high=1)
    # with the full epsilon from the first step on, the loss explodes
    epsilon_warmup: float = of_recipe(
        0.5, "Share of the epochs during which epsilon rises from 0 (not in the paper).", low=0, high=1
    )
    label_smoothing: float = of_recipe(0.1, "Label smoothing of the cross-entropy.", low=0, high=0.9)
    clip: float = of_recipe(5.0, "Largest norm of the gradient; 0 for no limit.", low=0)
    freeze: str | None = of_recipe(
        None, "Keep the backbone up to this layer, batch norm included, at its initial weights.", default_text="none"
    )
    mask_radius: float = of_recipe(
        1.0,
        "Radius of the mask that hides the first keypoint from the replica, in cells of a 14 x 14 grid; 1 hides one "
        "cell.",
        low=0,
        high=MAX_THRESHOLD,
    )
    background: float = of_recipe(
        0.0,
        'Share of inputs that show an image corner without an object, labelled "none"; above 0, 60 % of the other '
        "images are pasted onto such corners (not in the paper).",
        low=0,
        high=0.5,
    )
    parts: int = of_recipe(
        DEFAULT_KEYPOINTS,
        "Number of parts to learn at the end of the training; 0 learns none.",
        low=0,
        high=MAX_KEYPOINTS,
    )
    val_fraction: float = option(
        0.1,
        "Share of the training images held out to choose the best epoch, where there is no val/ folder.",
        panel=INPUT,
        low=0,
        high=0.5,
    )

    half: bool = option(False, "Store the best weights as float16.", panel=OUTPUT)
    resume: bool = option(False, "Resume the interrupted training in --out, with its options.", panel=OUTPUT)
    devices: int = option(1, "Number of processes on this machine.", panel=RUN, low=1)
    num_nodes: int = option(1, "Number of machines (with torchrun).", panel=RUN, low=1)

    @property
    def epochs_of_replica(self) -> int:
        """Return the epochs of the replica: as many as the network's, unless given."""
        return self.epochs if self.replica_epochs is None else self.replica_epochs

    def record(self) -> dict[str, Any]:
        """Return the options as a checkpoint stores them: names of data and weights without the folders they are in."""
        kept = {name: value for name, value in self.options().items() if name not in ("out", "overwrite", "resume")}
        return kept | {"data": [path.absolute().name for path in self.data], "init": PurePath(self.init).name}
