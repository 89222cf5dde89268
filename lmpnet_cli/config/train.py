"""`lmpnet train`."""

from pathlib import Path, PurePath
from typing import Any, Literal

from lmpnet_cli.config.lmpnet import MAX_RADIUS
from lmpnet_cli.config.method import DEFAULT_KEYPOINTS, MAX_KEYPOINTS
from lmpnet_cli.config.options import INPUT, NETWORK, OUTPUT, RECIPE, REQUIRED, RUN, argument, option, same_as, written
from lmpnet_cli.config.run import CHECKPOINT, RunConfig
from lmpnet_cli.errors import OptionError

# defaults of the options that differ between recipes; replica_epochs None means as many as epochs
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {
        "layer": "-1",
        "size": 448,
        "epochs": 30,
        "replica_epochs": None,
        "replica_from_network": False,
        "learning_rate": 0.01,
        "epsilon_warmup": 0.5,
        "freeze": "none",
        "background": 0.0,
        "val_fraction": 0.1,
    },
    "laptop": {
        "layer": "layer3",
        "size": 224,
        "epochs": 8,
        "replica_epochs": 10,
        "replica_from_network": True,
        "learning_rate": 0.02,
        "epsilon_warmup": 0.4,
        "freeze": "layer2",
        "background": 0.15,
        "val_fraction": 0.05,
    },
}

STATED = "what the file of --init says; no if it says nothing"


def by_recipe(name: str, help: str, panel: str = RECIPE, paper: str | None = None, **details: Any) -> Any:
    """Return a dataclass field for an option whose default depends on the recipe.

    Args:
        paper: what `--help` shows as the default of the paper's recipe, in place of the value.
    """
    default, laptop = (RECIPES[recipe][name] for recipe in ("paper", "laptop"))
    shown = f"{paper or _in_words(default)}; laptop: {_in_words(laptop)}"
    return option(default, help, panel, filled_in=True, shown=shown, **details)


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:.10g}"


class TrainConfig(RunConfig):
    """Options of `lmpnet train`. The help text says where an option is not in the paper.

    An option that is not given has the default of the recipe in `RECIPES`, or else its own default.
    """

    data: tuple[Path, ...] = argument(REQUIRED, "CUB folders, or folders with one sub-folder for each class.")
    batch_size: int = same_as(RunConfig, "batch_size", default=32, help="Images per step, in each process.")

    backbone: str = option("resnet50.tv_in1k", "Name of a timm network.", NETWORK)
    layer: str = by_recipe("layer", "Layer of the feature maps, by name or index; -1 is the last.", NETWORK)
    output_stride: int | None = option(
        None, "Output stride: 32, 16 or 8 (finer maps).", NETWORK, shown="the backbone's"
    )
    stride_in_1x1: bool | None = option(
        None, "Stride in the first 1 x 1 convolutions, as in Caffe's ResNet.", NETWORK, shown=STATED, filled_in=True
    )
    caffe_pooling: bool | None = option(
        None, "Use no padding in the first pooling, as weights of Caffe expect.", NETWORK, shown=STATED, filled_in=True
    )
    init: str = option("pretrained", "Initial weights: pretrained (from timm), none or a safetensors file.", NETWORK)
    network_from: Path | None = option(
        None,
        "Keep the network of this checkpoint: train a replica for it, and learn its --parts.",
        NETWORK,
        shown="none",
        file=CHECKPOINT,
    )
    pooling: Literal["leaky_max", "max", "average"] = option(
        "leaky_max", "Pooling: leaky_max (equation 3), max (equation 2) or average (equation 1).", NETWORK
    )
    epsilon: float = option(0.1, "Weight of the cells that leaky max pooling subtracts.", NETWORK, low=0, high=10)
    size: int = by_recipe("size", "Side of the square network input in pixels.", NETWORK, low=32, high=2048)

    recipe: Literal["paper", "laptop"] = option(
        "paper",
        "Defaults of the options that are not given: paper (the paper's network and input size) or laptop (a smaller "
        "network, partly frozen, for a computer without a GPU).",
        RECIPE,
    )
    epochs: int = by_recipe("epochs", "Epochs of the network.", low=1)
    replica_epochs: int = by_recipe("replica_epochs", "Epochs of the replica; 0 trains none.", paper="--epochs", low=0)
    replica_from_network: bool = by_recipe(
        "replica_from_network", "Start the replica from the trained network (not in the paper)."
    )
    learning_rate: float = by_recipe(
        "learning_rate",
        "Peak learning rate of the backbone for a batch of 64 images; it is scaled to the batch size.",
        above=0,
    )
    head_factor: float = option(1.0, "Learning rate of the classifier, as a multiple of the backbone's.", RECIPE, low=0)
    momentum: float = option(0.9, "Nesterov momentum.", RECIPE, low=0, high=1)
    weight_decay: float = option(5e-4, "Weight decay (L2 penalty).", RECIPE, low=0)
    warmup: float = option(0.05, "Fraction of the epochs over which the learning rate rises.", RECIPE, low=0, high=1)
    # with the full epsilon from the first step on, the loss explodes
    epsilon_warmup: float = by_recipe(
        "epsilon_warmup", "Fraction of the epochs over which epsilon rises from 0 (not in the paper).", low=0, high=1
    )
    label_smoothing: float = option(0.1, "Label smoothing of the cross-entropy.", RECIPE, low=0, high=0.9)
    clip: float = option(5.0, "Clip the gradient to this norm; 0 for no limit.", RECIPE, low=0)
    freeze: str = by_recipe("freeze", "Freeze all layers up to this one, batch norm included; none freezes nothing.")
    stored_maps: int | None = option(
        None,
        "Store the maps of the layers up to --freeze for this many augmented views of each image, and train on them; "
        "further epochs use the same views again (not in the paper).",
        RECIPE,
        shown="none",
        low=1,
    )
    preload: bool = option(
        False,
        "Decode each image once, keep all in the memory of the device, and augment them there: the same crops and "
        "colours, interpolated otherwise. For a GPU, which would wait for the processors.",
        RECIPE,
    )
    mask_radius: float = option(
        1.0, "Mask radius for the replica, in cells of a 14 x 14 grid.", RECIPE, above=0, high=MAX_RADIUS
    )
    # above 0, 60 % of the other images are pasted onto such corners
    background: float = by_recipe(
        "background",
        'Replace this fraction of the training inputs by a background without an object, labelled "none", and paste '
        "most of the others onto backgrounds (not in the paper).",
        low=0,
        high=0.5,
    )
    paste_smallest: float | None = option(
        None,
        "Smallest side of an image that is pasted onto a background, as a fraction of the side of the input (with "
        "--background).",
        RECIPE,
        shown="0.45",
        above=0,
        high=0.9,
    )
    parts: int = option(DEFAULT_KEYPOINTS, "Parts to learn at the end; 0 for none.", RECIPE, low=0, high=MAX_KEYPOINTS)
    val_fraction: float = by_recipe(
        "val_fraction",
        "Fraction of the training images set aside for validation, which are then not trained on; not used where "
        "there is a val/ folder.",
        INPUT,
        low=0,
        high=0.5,
    )

    weight_bits: Literal["32", "16", "8"] = option(
        "32",
        "Bits of a stored weight in lmpnet.safetensors; 8 means whole numbers with a scale for each channel.",
        OUTPUT,
    )
    resume: bool = option(False, "Resume the interrupted training in --out with its stored options.", OUTPUT)
    save_every: float = option(
        0.0, "Write last.state only after epochs that end this many seconds after the last one.", OUTPUT, low=0
    )
    devices: int = option(1, "Number of devices to use on this machine, one process each.", RUN, low=1)
    num_nodes: int = option(1, "Number of machines (with torchrun).", RUN, low=1)

    def __post_init__(self) -> None:
        # before the values are checked, which takes a missing one for an error
        for name, default in RECIPES.get(self.recipe, RECIPES["paper"]).items():
            if getattr(self, name) is None:
                self._set(name, default)
        if self.replica_epochs is None:
            self._set("replica_epochs", self.epochs)
        super().__post_init__()

    def _check(self) -> None:
        super()._check()
        if self.network_from is not None and self.replica_epochs == 0:
            raise OptionError("--network-from trains only a replica, so --replica-epochs must be at least 1.")
        if self.paste_smallest is not None and not self.background:
            raise OptionError("--paste-smallest needs --background above 0, because nothing is pasted without it.")
        if self.stored_maps is None:
            return
        self._refuse("--stored-maps", "preload")
        if self.frozen_layer is None:
            raise OptionError(
                "--stored-maps needs --freeze LAYER, because only frozen layers give the same maps again."
            )
        for name in ("devices", "num_nodes"):
            if getattr(self, name) > 1:
                raise OptionError(f"{written(name, getattr(self, name))} {self._not_with('--stored-maps')}.")

    @property
    def frozen_layer(self) -> str | None:
        """Return the layer up to which the backbone is frozen; None where nothing is frozen."""
        return None if self.freeze == "none" else self.freeze

    @property
    def init_file(self) -> Path | None:
        """Return the file of initial weights; None where they are downloaded or random."""
        return None if self.init in ("pretrained", "none") else Path(self.init)

    @property
    def uses_init(self) -> bool:
        """Return whether a network starts from the initial weights of --init."""
        return self.network_from is None or not self.replica_from_network

    @property
    def reads_init(self) -> bool:
        """Return whether this run reads them: one that resumes has its own weights."""
        return self.uses_init and not self.resume

    def record(self) -> dict[str, Any]:
        """Return the options as a checkpoint stores them: names of data and weights without the folders they are in."""
        kept = {name: value for name, value in self.options().items() if name not in ("out", "overwrite", "resume")}
        return kept | {
            "data": [path.absolute().name for path in self.data],
            "init": PurePath(self.init).name if self.uses_init else None,
            "network_from": self.network_from and self.network_from.name,
        }
