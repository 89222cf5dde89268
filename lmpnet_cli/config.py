"""One frozen dataclass for each command: the only place where a default stands.

Each checks its own ranges, with messages that name the option.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lmpnet_cli.errors import OptionError

MAX_KEYPOINTS = 100
MAX_THRESHOLD = 20.0  # the diagonal of the 14 x 14 grid
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every command shares.

    Attributes:
        out: folder for the results; None writes nothing (Python only).
        overwrite: replace results that are there.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, 32 or bf16. `auto` is 32 and, in training, bf16 where that is faster.
        batch_size: images in one forward pass (for each process, in training).
        workers: decoding processes; None decides by the number of processors, 0 decodes in the main process.
        seed: of everything that is left to chance.
    """

    out: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    precision: Literal["auto", "32", "bf16"] = "auto"
    batch_size: int = 16
    workers: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _between("--batch-size", self.batch_size, 1, 65536)
        _between("--seed", self.seed, 0, MAX_SEED)
        if self.workers is not None:
            _between("--workers", self.workers, 0, 256)
        _one_of("--precision", self.precision, ("auto", "32", "bf16"))

    def options(self) -> dict[str, Any]:
        """All fields with plain values, for `run.json`."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class ModelConfig(RunConfig):
    """What the commands share that use a trained model.

    Attributes:
        checkpoint: None takes the bundled model.
        size: side of the network input in pixels; None takes the one of the training.
        max_pixels: larger pictures are skipped and named.
    """

    checkpoint: Path | None = None
    size: int | None = None
    max_pixels: int = 500_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None:
            _between("--size", self.size, 32, 2048)
        _at_least("--max-pixels", self.max_pixels, 1)


@dataclass(frozen=True, kw_only=True)
class KeypointConfig(ModelConfig):
    """The keypoint branch.

    Attributes:
        k: keypoints to look for on each image.
        replica: False leaves the replica out: half the time, and no second look; not in the paper.
        filters: strongest filters kept of each network, on each image; more than there are keeps all.
        margin: outermost rows and columns of map cells without a vote, where padding answers; not in the paper.
        iterations: inner iterations of Algorithm 1; they change its maps, never positions or scores.
        method: lmpnet.
    """

    k: int = 5
    replica: bool = True
    filters: int = 512
    margin: int = 0
    iterations: int = 5
    method: Literal["lmpnet"] = "lmpnet"

    def __post_init__(self) -> None:
        super().__post_init__()
        _between("--k", self.k, 1, MAX_KEYPOINTS)
        _at_least("--iterations", self.iterations, 1)
        _at_least("--filters", self.filters, 1)
        _between("--margin", self.margin, 0, 64)
        _one_of("--method", self.method, ("lmpnet",))


@dataclass(frozen=True, kw_only=True)
class DiscoverConfig(KeypointConfig):
    """`lmpnet discover`.

    Attributes:
        images: folders, searched in depth, and single files.
        thr: erasing distance in cells of a 14 x 14 grid over the image.
        overlays: draw the pictures with their keypoints.
    """

    images: tuple[Path, ...]
    thr: float = 3.0
    overlays: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "images", paths(self.images))
        object.__setattr__(self, "thr", float(self.thr))
        check_threshold(self.thr)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(KeypointConfig):
    """`lmpnet eval`.

    Attributes:
        data: CUB folder or COCO keypoint file; None takes the bundled example pictures.
        thr: one or several erasing distances; one row of results for each, without repetitions.
        alpha: tolerance as a share of the shorter image side (or longer box side).
        split: which part of a data set with an official split is scored.
        predictions: a COCO file of keypoints, of any tool, to score in place of a model's; k and thr are the file's.
    """

    data: Path | None = None
    predictions: Path | None = None
    thr: tuple[float, ...] = (3.0,)
    alpha: float = 0.1
    split: Literal["test", "train", "all"] = "test"

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.thr
        given = given if isinstance(given, Sequence) else (given,)
        object.__setattr__(self, "thr", tuple(dict.fromkeys(map(float, given))))
        if not self.thr:
            raise OptionError("--thr needs a value: name one erasing distance or several.")
        for threshold in self.thr:
            check_threshold(threshold)
        if not 0 < self.alpha <= 1:
            raise OptionError(
                f"--alpha {self.alpha} is out of range: it is a share of the image side, above 0, at most 1."
            )
        _one_of("--split", self.split, ("test", "train", "all"))


@dataclass(frozen=True, kw_only=True)
class VisualizeConfig(ModelConfig):
    """`lmpnet viz-filters`.

    Attributes:
        images: folders and files; None takes the bundled example pictures.
        rows, columns: tiles down (images by rank) and across (filters by rank).
        tile: side of one image in the grid, in pixels.
        replica: show the replica's filters instead of the network's.
        layer: a layer of the network before its last; None takes the maps that make the keypoints.
        compare: further checkpoints, whose filters are shown below those of the first in `comparison.png`.
    """

    images: tuple[Path, ...] | None = None
    rows: int = 6
    columns: int = 8
    tile: int = 80
    replica: bool = False
    layer: str | None = None
    compare: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images is not None:
            object.__setattr__(self, "images", paths(self.images))
        object.__setattr__(self, "compare", paths(self.compare))
        for flag, value, top in (
            ("--rows", self.rows, 100),
            ("--columns", self.columns, 100),
            ("--tile", self.tile, 512),
        ):
            _between(flag, value, 16 if flag == "--tile" else 1, top)


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
    half: bool = False
    resume: bool = False
    devices: int = 1
    num_nodes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "data", paths(self.data))
        _one_of("--pooling", self.pooling, ("leaky_max", "max", "average"))
        for flag, value, low in (
            ("--epochs", self.epochs, 1),
            ("--replica-epochs", self.epochs_of_replica, 0),
            ("--devices", self.devices, 1),
            ("--num-nodes", self.num_nodes, 1),
            ("--size", self.size, 32),
            ("--head-factor", self.head_factor, 0),
            ("--weight-decay", self.weight_decay, 0),
            ("--clip", self.clip, 0),
        ):
            _at_least(flag, value, low)
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
            _between(flag, share, 0, top)
        if not 0 < self.learning_rate < float("inf"):
            raise OptionError(f"--learning-rate {self.learning_rate} is out of range: a finite number above 0.")

    @property
    def epochs_of_replica(self) -> int:
        """Epochs of the replica: as many as the network's, unless given."""
        return self.epochs if self.replica_epochs is None else self.replica_epochs


def default_out(command: str) -> Path:
    """Where the command line writes when --out is not given."""
    return Path("results") / command


def check_threshold(threshold: float) -> None:
    """Raises `OptionError` unless the erasing distance is above 0 and within the grid."""
    if not 0 < threshold <= MAX_THRESHOLD:
        raise OptionError(
            f"--thr {threshold:g} is out of range: a distance in cells of a 14 x 14 grid, above 0 and at most "
            f"{MAX_THRESHOLD:g}."
        )


def paths(given: Any) -> tuple[Path, ...]:
    """One path or several, as a tuple."""
    return (Path(given),) if isinstance(given, str | Path) else tuple(Path(entry) for entry in given)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.as_posix()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _at_least(flag: str, value: float, low: float) -> None:
    if not value >= low:  # NaN is out of range, too
        raise OptionError(f"{flag} {value:g} is out of range: it must be at least {low:g}.")


def _between(flag: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise OptionError(f"{flag} {value:.10g} is out of range: it must lie between {low:g} and {high:.10g}.")


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise OptionError(f"{flag} {value} is unknown: choose one of {', '.join(allowed)}.")
