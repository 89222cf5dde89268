"""`lmpnet train`."""

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from lmpnet_cli.config.checks import MAX_THRESHOLD, at_least, between, one_of, paths
from lmpnet_cli.config.keypoints import DEFAULT_KEYPOINTS, MAX_KEYPOINTS
from lmpnet_cli.config.run import RunConfig
from lmpnet_cli.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """`lmpnet train`. Options that the paper does not have say so.

    Attributes:
        data: CUB folders and class folders, merged by class name.
        backbone, layer, output_stride, stride_in_1x1, caffe_pooling: as in `BackboneSpec`.
        init: `pretrained` (timm's weights), `none` (random), or a safetensors file.
        pooling, epsilon: leaky max, max or average.
        epsilon_warmup: share of the epochs over which epsilon rises from 0 to its value; not in the paper, but with the
            full epsilon from the first step the loss explodes.
        size: side of the square input in pixels.
        epochs, replica_epochs: of the network and of its replica; 0 replica epochs train no replica.
        replica_from_network: the replica starts from the trained network, not from the initial weights; not in the
            paper.
        learning_rate: peak for the backbone, at a batch of 64 images; scaled with the batch.
        head_factor: learning rate of the classifier over that of the backbone.
        freeze: leave the backbone up to and including this layer, batch norm included, as it was initialised.
        mask_radius: attention mask-out, cells of a 14 x 14 grid: 1 hides the first keypoint's cell.
        val_fraction: part of the training images held out to choose the best epoch, where there is no val/ folder.
        background: share of inputs that show an image corner and no object, labelled "none"; where it is above 0,
            60 % of all other pictures are pasted onto such corners. Not in the paper.
        vocabulary: keypoints of the vocabulary that the training ends with; 0 learns none.
        half: store the weights as float16.
        resume: continue the run in `out`.
        devices, num_nodes: processes on this machine, and machines.
    """

    data: tuple[Path, ...]
    batch_size: int = 32
    backbone: str = "resnet50"
    layer: str = "-1"
    output_stride: int | None = None
    stride_in_1x1: bool = False
    caffe_pooling: bool = False
    init: str = "pretrained"
    pooling: Literal["leaky_max", "max", "average"] = "leaky_max"
    epsilon: float = 0.1
    epsilon_warmup: float = 0.5
    size: int = 224
    epochs: int = 30
    replica_epochs: int | None = None
    replica_from_network: bool = False
    learning_rate: float = 0.01
    head_factor: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.05
    label_smoothing: float = 0.1
    clip: float = 5.0
    freeze: str | None = None
    mask_radius: float = 1.0
    val_fraction: float = 0.1
    background: float = 0.0
    parts: int = DEFAULT_KEYPOINTS
    half: bool = False
    resume: bool = False
    devices: int = 1
    num_nodes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "data", paths(self.data))
        one_of("--pooling", self.pooling, ("leaky_max", "max", "average"))
        for flag, value, low in (
            ("--epochs", self.epochs, 1),
            ("--replica-epochs", self.epochs_of_replica, 0),
            ("--devices", self.devices, 1),
            ("--num-nodes", self.num_nodes, 1),
            ("--head-factor", self.head_factor, 0),
            ("--weight-decay", self.weight_decay, 0),
            ("--clip", self.clip, 0),
        ):
            at_least(flag, value, low)
        between("--parts", self.parts, 0, MAX_KEYPOINTS)
        between("--size", self.size, 32, 2048)
        for flag, share, top in (
            ("--epsilon", self.epsilon, 10.0),
            ("--epsilon-warmup", self.epsilon_warmup, 1.0),
            ("--momentum", self.momentum, 1.0),
            ("--warmup", self.warmup, 1.0),
            ("--label-smoothing", self.label_smoothing, 0.9),
            ("--val-fraction", self.val_fraction, 0.5),
            ("--background", self.background, 0.5),
            ("--mask-radius", self.mask_radius, MAX_THRESHOLD),
        ):
            between(flag, share, 0, top)
        if not 0 < self.learning_rate < float("inf"):
            raise OptionError(f"--learning-rate {self.learning_rate} is out of range: a finite number above 0.")

    @property
    def epochs_of_replica(self) -> int:
        """Epochs of the replica: as many as the network's, unless given."""
        return self.epochs if self.replica_epochs is None else self.replica_epochs

    def record(self) -> dict[str, Any]:
        """The options as a checkpoint keeps them, which is handed on: what was named, not where it lay."""
        kept = {name: value for name, value in self.options().items() if name not in ("out", "overwrite", "resume")}
        return kept | {"data": [path.absolute().name for path in self.data], "init": PurePath(self.init).name}
