"""`lmpnet train`."""

from pathlib import Path, PurePath
from typing import Any, Literal

from lmpnet_cli.config.lmpnet import MAX_THRESHOLD
from lmpnet_cli.config.method import DEFAULT_KEYPOINTS, MAX_KEYPOINTS
from lmpnet_cli.config.options import INPUT, NETWORK, OUTPUT, RECIPE, REQUIRED, RUN, argument, option, same_as, written
from lmpnet_cli.config.run import RunConfig
from lmpnet_cli.errors import OptionError


class TrainConfig(RunConfig):
    """Options of `lmpnet train`. The help text says where an option is not in the paper."""

    data: tuple[Path, ...] = argument(REQUIRED, "CUB folders, or folders with one sub-folder for each class.")
    batch_size: int = same_as(RunConfig, "batch_size", default=32, help="Images per step, in each process.")

    backbone: str = option("resnet50", "Name of a timm network.", NETWORK)
    layer: str = option("-1", "Layer that the feature maps are taken from, by name or index; -1 is the last.", NETWORK)
    output_stride: int | None = option(
        None, "Output stride: 32, 16 or 8 (finer maps).", NETWORK, shown="the backbone's"
    )
    stride_in_1x1: bool = option(False, "Stride in the first 1 x 1 convolutions, as in Caffe's ResNet.", NETWORK)
    caffe_pooling: bool = option(False, "Use no padding in the first pooling, as weights of Caffe expect.", NETWORK)
    init: str = option("pretrained", "Initial weights: pretrained (from timm), none or a safetensors file.", NETWORK)
    pooling: Literal["leaky_max", "max", "average"] = option(
        "leaky_max", "Pooling: leaky_max (equation 3), max (equation 2) or average (equation 1).", NETWORK
    )
    epsilon: float = option(0.1, "Weight of the cells that leaky max pooling subtracts.", NETWORK, low=0, high=10)
    size: int = option(224, "Side of the square network input in pixels.", NETWORK, low=32, high=2048)

    epochs: int = option(30, "Epochs of the network.", RECIPE, low=1)
    replica_epochs: int | None = option(None, "Epochs of the replica; 0 trains none.", RECIPE, shown="--epochs", low=0)
    replica_from_network: bool = option(False, "Start the replica from the trained network (not in the paper).", RECIPE)
    learning_rate: float = option(0.01, "Peak learning rate of the backbone, times batch size / 64.", RECIPE, above=0)
    head_factor: float = option(1.0, "Learning rate of the classifier, as a multiple of the backbone's.", RECIPE, low=0)
    momentum: float = option(0.9, "Nesterov momentum.", RECIPE, low=0, high=1)
    weight_decay: float = option(5e-4, "Weight decay (L2 penalty).", RECIPE, low=0)
    warmup: float = option(0.05, "Fraction of the epochs over which the learning rate rises.", RECIPE, low=0, high=1)
    # with the full epsilon from the first step on, the loss explodes
    epsilon_warmup: float = option(
        0.5, "Fraction of the epochs over which epsilon rises from 0 (not in the paper).", RECIPE, low=0, high=1
    )
    label_smoothing: float = option(0.1, "Label smoothing of the cross-entropy.", RECIPE, low=0, high=0.9)
    clip: float = option(5.0, "Clip the gradient to this norm; 0 for no limit.", RECIPE, low=0)
    freeze: str | None = option(None, "Freeze all layers up to this one, batch norm included.", RECIPE)
    stored_maps: int | None = option(
        None,
        "Store the maps of the layers up to --freeze for this many augmented views of each image, and train on them; "
        "epochs beyond repeat the views (not in the paper).",
        RECIPE,
        shown="none",
        low=1,
    )
    mask_radius: float = option(
        1.0, "Mask radius for the replica, in cells of a 14 x 14 grid.", RECIPE, low=0, high=MAX_THRESHOLD
    )
    # above 0, 60 % of the other images are pasted onto such corners
    background: float = option(
        0.0, 'Fraction of inputs without an object, labelled "none" (not in the paper).', RECIPE, low=0, high=0.5
    )
    parts: int = option(DEFAULT_KEYPOINTS, "Parts to learn at the end; 0 for none.", RECIPE, low=0, high=MAX_KEYPOINTS)
    val_fraction: float = option(
        0.1, "Fraction of the images for validation, where there is no val/ folder.", INPUT, low=0, high=0.5
    )

    half: bool = option(False, "Store lmpnet.safetensors as float16, half the size.", OUTPUT)
    resume: bool = option(False, "Resume the interrupted training in --out with its stored options.", OUTPUT)
    devices: int = option(1, "Number of devices to use on this machine, one process each.", RUN, low=1)
    num_nodes: int = option(1, "Number of machines (with torchrun).", RUN, low=1)

    def _check(self) -> None:
        super()._check()
        if self.stored_maps is None:
            return
        if self.freeze is None:
            raise OptionError(
                "--stored-maps needs --freeze LAYER, because only frozen layers give the same maps again."
            )
        for name in ("devices", "num_nodes"):
            if getattr(self, name) > 1:
                raise OptionError(f"{written(name, getattr(self, name))} {self._not_with('--stored-maps')}.")

    @property
    def epochs_of_replica(self) -> int:
        """Return the epochs of the replica: as many as the network's, unless given."""
        return self.epochs if self.replica_epochs is None else self.replica_epochs

    def record(self) -> dict[str, Any]:
        """Return the options as a checkpoint stores them: names of data and weights without the folders they are in."""
        kept = {name: value for name, value in self.options().items() if name not in ("out", "overwrite", "resume")}
        return kept | {"data": [path.absolute().name for path in self.data], "init": PurePath(self.init).name}
