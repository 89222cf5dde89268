"""`lmpnet discover` and `lmpnet merge`."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lmpnet_cli.config.checks import between, check_local, check_threshold, one_of, paths, url_of
from lmpnet_cli.config.convert import FORMATS, OF_FILES
from lmpnet_cli.config.keypoints import KeypointConfig
from lmpnet_cli.errors import InputError, OptionError

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True, kw_only=True)
class DiscoverConfig(KeypointConfig):
    """`lmpnet discover`.

    Attributes:
        images: folders, searched in depth, and single files.
        thr: erasing distance in cells of a 14 x 14 grid over the image.
        identity: True takes the keypoints of the model's vocabulary, False those of the paper, ordered by prominence;
            None takes the vocabulary where there is one, unless an option asks for what only the paper's order has.
        every: of a video, take every so many-th frame.
        overlays: draw the pictures with their keypoints.
        report: make one page of the results, too.
        export: formats of `lmpnet convert` to write as well, each into exports/FORMAT.
        engine: what runs the networks: torch, or onnx (onnxruntime on the CPU, which is faster there); None takes onnx
            where the checkpoint is a graph of `lmpnet export`. `discover_on_ray` alone takes ray: a cluster.
        shard: I/N takes every N-th image only, from the I-th on, in the order of their names; `lmpnet merge` makes one
            result of all N.
        chunk: images per chunk, which is written at once and computed again after an interruption; None takes one
            batch, and 1024 images with ray.
        actors: workers with a model each, of ray; None takes one for each GPU, or one for every four processors.
        resume: go on with the run in `out` that was cut off.
    """

    images: tuple[Path, ...]
    thr: float = 3.0
    method: Literal["lmpnet", "parts", "saliency"] = "parts"
    every: int = 1
    overlays: bool = True
    report: bool = False
    export: tuple[str, ...] = ()
    backend: str | None = None
    shard: str | None = None
    chunk: int | None = None
    actors: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "images", paths(self.images))
        object.__setattr__(self, "thr", float(self.thr))
        check_threshold(self.thr)
        _ = self.part
        object.__setattr__(
            self, "export", (self.export,) if isinstance(self.export, str) else tuple(dict.fromkeys(self.export))
        )
        for name in self.export:
            one_of("--export", name, FORMATS)
        between("--every", self.every, 1, 1_000_000)
        self._check_video()
        if self.out is None and (self.report or self.export):
            raise OptionError("--report and --export go into --out: name one.")
        if self.backend is not None:
            one_of("--backend", self.backend, ("torch", "onnx", "ray"))
        if self.backend_used == "onnx":
            self._check_onnx()
        if self.chunk is not None:
            between("--chunk", self.chunk, 1, 1_000_000)
        if self.actors is not None:
            between("--actors", self.actors, 1, 100_000)
        if self.backend == "ray":
            self._check_ray()
        else:
            self._check_local()

    def _check_video(self) -> None:
        if self.video is None:
            if self.every != 1 and self.images:
                raise OptionError(f"--every belongs to a video ({', '.join(VIDEOS)}): name one, or leave it out.")
            return
        if len(self.images) > 1:
            raise OptionError(f"{self.video} is a video: name it alone, and run `lmpnet discover` for each.")
        if self.shard is not None or self.backend == "ray" or self.resume:
            raise OptionError("A video is read in one go: leave --shard, --backend ray and --resume out.")
        if files := [name for name in self.export if name in OF_FILES]:
            raise OptionError(
                f"--export {files[0]} names picture files, which frames are not. Extract them "
                "(ffmpeg -i VIDEO frames/%06d.jpg), and run discover on that folder."
            )

    @property
    def video(self) -> Path | None:
        """The first input that is a video."""
        return next((path for path in self.images if path.suffix.lower() in VIDEOS), None)

    def _check_onnx(self) -> None:
        if self.method == "saliency":
            raise OptionError("--backend onnx runs LMPNets only: leave --method out.")
        if self.precision == "bf16":
            raise OptionError("--backend onnx computes in float32: leave --precision bf16 out.")
        if self.iterations != DiscoverConfig.iterations:
            raise OptionError("--iterations changes maps that a graph does not have: leave it out.")

    def _check_ray(self) -> None:
        numbered = self.device.startswith("cuda:")  # a worker sees its own GPU only
        for flag, given in (
            ("--method", self.method == "saliency"),
            ("--shard", self.shard is not None),
            (f"--device {self.device}", numbered),
        ):
            if given:
                raise OptionError(f"{flag} does not go with --backend ray: leave one of them out.")
        if self.report or self.export:
            raise OptionError(
                "--backend ray makes no --report and no --export: `lmpnet merge` its results, then `lmpnet report` or "
                "`lmpnet convert` them."
            )
        if self.resume and self.overwrite:
            raise OptionError("--resume goes on, --overwrite begins again: leave one of them out.")

    def _check_local(self) -> None:
        for path in (*self.images, *(() if self.out is None else (self.out,))):
            if url := url_of(path):
                raise OptionError(f"{url} is no local place: --backend ray reads and writes it.")
        if self.actors is not None:
            raise OptionError("--actors belongs to --backend ray. Add that, or leave --actors out.")

    @property
    def of_a_worker(self) -> "DiscoverConfig":
        """The options of one worker of a cluster, without what the cluster sees to."""
        own = ("backend", "out", "overlays", "chunk", "actors", "resume", "overwrite")
        defaults = {name: getattr(DiscoverConfig, name) for name in own}
        return replace(self, **(defaults | {"images": (), "overlays": False}))

    @property
    def backend_used(self) -> str:
        """`engine`, or what the checkpoint calls for.

        Raises:
            OptionError: when the checkpoint is a graph and another engine is asked for.
        """
        graph = self.checkpoint is not None and self.checkpoint.suffix == ONNX_SUFFIX
        if graph and self.backend == "torch":
            raise OptionError(f"{self.checkpoint} is a graph, which --backend onnx runs: leave --backend torch out.")
        return self.backend or ("onnx" if graph else "torch")

    @property
    def part(self) -> tuple[int, int] | None:
        """I and N of `shard`.

        Raises:
            OptionError: when it is not of that form.
        """
        if self.shard is None:
            return None
        found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", self.shard)
        index, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= index <= count:
            raise OptionError(f"--shard {self.shard} is no part: write I/N, as 1/4 to 4/4 for four parts.")
        return index, count

    @property
    def of_prominence(self) -> str | None:
        """The first option given that only keypoints ordered by prominence have."""
        if self.method != "lmpnet":
            return f"--method {self.method}"
        if not self.replica:
            return "--no-replica"
        names = ("thr", "filters", "margin", "iterations")
        return next((f"--{name}" for name in names if getattr(self, name) != getattr(DiscoverConfig, name)), None)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """`lmpnet export`; what is not said here is as for `discover`.

    Attributes:
        out: the file, NAME.onnx.
        overwrite: replace it where it is there.
    """

    out: Path
    overwrite: bool = False
    checkpoint: Path | None = None
    k: int | None = None
    thr: float = DiscoverConfig.thr
    method: Literal["lmpnet", "parts", "saliency"] = "parts"
    replica: bool = True
    filters: int = DiscoverConfig.filters
    margin: int = 0
    size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        if self.out.suffix != ONNX_SUFFIX or self.out.is_dir():
            raise OptionError(f"--out {self.out} names no graph file: its name must end in {ONNX_SUFFIX}.")
        check_local(self.out)
        if self.checkpoint is not None and self.checkpoint.suffix == ONNX_SUFFIX:
            raise OptionError(f"{self.checkpoint} is a graph already: name the weights of `lmpnet train`.")
        _ = self.as_discover

    @property
    def as_discover(self) -> DiscoverConfig:
        """The options of the `discover` that the graph stands for."""
        own = ("checkpoint", "k", "thr", "method", "replica", "filters", "margin", "size")
        return DiscoverConfig(images=(), device="cpu", backend="torch", **{name: getattr(self, name) for name in own})


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """`lmpnet merge`.

    Attributes:
        results: folders of `discover`, searched in depth for `keypoints.json`, and single such files.
        out: folder for the results.
        overwrite: replace results that are there.
    """

    results: tuple[Path, ...]
    out: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", paths(self.results))
        if isinstance(self.out, str):
            object.__setattr__(self, "out", Path(self.out))
        if not self.results:
            raise InputError("Name the folders with the shards of `lmpnet discover --shard`.")
        check_local(self.out)
