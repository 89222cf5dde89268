"""`lmpnet discover`."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lmpnet_cli.config.convert import OF_FILES, ONE_OBJECT, WITH_IMAGES, ExportedImagesOption, FormatName
from lmpnet_cli.config.lmpnet import ReadingConfig, erasing_distance
from lmpnet_cli.config.method import KeypointConfig
from lmpnet_cli.config.options import INPUT, OUTPUT, RAY, REQUIRED, RUN, argument, option, options_of, url_of
from lmpnet_cli.config.run import ReportOption
from lmpnet_cli.errors import OptionError

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
ONNX_SUFFIX = ".onnx"
# options that are fixed in an ONNX model: each may be given if it agrees with the model
FIXED_IN_ONNX = ("method", "k", "thr", "size", "objects", "max_objects", *options_of(ReadingConfig))


class DiscoverConfig(ExportedImagesOption, ReportOption, KeypointConfig):
    """Options of `lmpnet discover`.

    Where `checkpoint` is an exported ONNX model (`onnx_model` is True), the model fixes the options in `FIXED_IN_ONNX`:
    those that were not given stay None, `method` among them, and those that were given must agree with the model.
    """

    images: tuple[Path, ...] = argument(REQUIRED, "Folders, searched recursively, and single files; or one video.")
    thr: float | None = erasing_distance()
    every: int | None = option(
        1, "Process every N-th frame of a video.", INPUT, low=1, high=10**6, filled_in=True, decides=True
    )
    corrections: Path | None = option(
        None,
        "Keep the keypoints of the images in this file, the corrections.json of a report, and skip those marked bad.",
        INPUT,
        decides=True,
    )
    overlays: bool = option(True, "Draw the keypoints over each image, into overlays/.", OUTPUT)
    export: tuple[FormatName, ...] = option((), "Also write this format into exports/; can be repeated.", OUTPUT)
    review: int | None = option(
        None,
        "Also list the N images most worth correcting in review.csv, and in the report (--method parts or landmarks).",
        OUTPUT,
        low=1,
        high=10**6,
    )
    resume: bool = option(False, "Resume the interrupted run in --out, with the same images and options.", OUTPUT)
    backend: Literal["torch", "onnx", "ray"] | None = option(
        None, "Runtime: torch, onnx or ray (cluster).", RUN, shown="torch; onnx for an ONNX model"
    )
    shard: str | None = option(None, "I/N: process only shard I of N, which is every N-th image.", RUN)
    chunk: int | None = option(
        None,
        "Images per chunk; --resume skips the complete chunks.",
        RUN,
        shown="one batch; 1024 on ray",
        low=1,
        high=10**6,
    )
    actors: int | None = option(
        None,
        "Number of Ray workers, each with its own model.",
        RAY,
        shown="depends on GPUs and processors",
        low=1,
        high=10**5,
    )

    @property
    def onnx_model(self) -> bool:
        """Return whether the checkpoint is an exported ONNX model."""
        return self.checkpoint is not None and self.checkpoint.suffix == ONNX_SUFFIX

    @property
    def backend_used(self) -> str:
        """Return `backend`, or the one that the checkpoint needs where none was given."""
        return self.backend or ("onnx" if self.onnx_model else "torch")

    @property
    def video(self) -> Path | None:
        """Return the first input that is a video."""
        return next((path for path in self.images if path.suffix.lower() in VIDEOS), None)

    @property
    def shard_numbers(self) -> tuple[int, int] | None:
        """Return I and N of `shard`.

        Raises:
            OptionError: when it does not have that form.
        """
        if self.shard is None:
            return None

        found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", self.shard)
        index, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= index <= count:
            raise OptionError(f"Invalid --shard {self.shard}: use I/N with I from 1 to N, for example 1/4.")
        return index, count

    @property
    def worker_config(self) -> "DiscoverConfig":
        """Return the options of one worker of a cluster, without those that the cluster itself handles."""
        handled = ("backend", "out", "chunk", "actors", "resume", "overwrite")
        declared = options_of(self)
        return replace(self, images=(), overlays=False, **{name: declared[name].default for name in handled})

    def _without_method(self) -> str | None:
        return "an ONNX model" if self.onnx_model else None

    def _unused(self) -> dict[str, str]:
        unused = super()._unused()
        if self.method is None:  # the ONNX model knows it
            named = {name for name, each in options_of(self).items() if each.methods}
            usable = {*FIXED_IN_ONNX, "boxes", "min_confidence"}
            unused = dict.fromkeys(named.difference(usable), self._not_with("an ONNX model"))
        if self.backend_used == "onnx":
            # an ONNX model has positions, but not the maps of Algorithm 1
            unused["iterations"] = self._not_with("--backend onnx")
        if self.backend != "ray":
            unused["actors"] = "needs --backend ray"
        if self.video is None:
            unused["every"] = "applies only to videos; remove it"
        return unused

    def _check(self) -> None:
        super()._check()
        self._set("export", tuple(dict.fromkeys(self.export)))
        if self.out is None and (self.report or self.export):
            raise OptionError("--report and --export need an output folder: pass --out.")
        if self.review is not None:
            self._check_review()
        if self.link_images and not set(self.export).intersection(WITH_IMAGES):
            raise OptionError(
                f"--link-images needs an export that contains images: --export {' or --export '.join(WITH_IMAGES)}."
            )

        self.check_room(self.objects, self.max_objects)
        self.check_parts(self.method)
        _ = self.shard_numbers  # checks its form
        if self.video is not None:
            self._check_video(self.video)

        if self.onnx_model and self.backend == "torch":
            raise OptionError(f"--backend torch cannot run the ONNX model {self.checkpoint}; remove --backend.")
        if self.backend_used == "onnx" or self.onnx_model:
            self._refuse("--backend onnx", method="saliency", precision="bf16")
        if self.backend == "ray":
            self._check_ray()
        elif url := next(filter(None, map(url_of, self.images)), None):
            raise OptionError(f"{url} is not a local path: only --backend ray reads remote folders.")

    def check_room(self, objects: str | None, max_objects: int | None) -> None:
        """Raise `OptionError` where several objects of an image are looked for, and an export has room for only one."""
        crowded = [name for name in self.export if name in ONE_OBJECT]
        if crowded and objects == "all" and max_objects != 1:
            looked_for = "--boxes" if self.boxes else "--objects all"
            raise OptionError(
                f"--export {crowded[0]} has room for one object per image, and {looked_for} looks for several. Add "
                f"--objects one, or remove --export {crowded[0]}."
            )

    def check_parts(self, method: str | None) -> None:
        """Raise `OptionError` where there are corrections, and keypoint i is a rank in each image, not a part."""
        if self.corrections is not None and method in ("lmpnet", "saliency"):
            raise OptionError(
                f"--corrections cannot be combined with --method {method}, whose keypoints are ranks in each image: "
                "use --method parts."
            )

    def _may_be_remote(self) -> bool:
        return self.backend == "ray"

    def _check_review(self) -> None:
        if self.method not in ("parts", "landmarks"):
            raise OptionError("--review needs keypoints that are the same in every image: add --method parts.")
        self._refuse("--review", "shard")
        if self.out is None:
            raise OptionError("--review needs an output folder: pass --out.")

    def _check_video(self, video: Path) -> None:
        if len(self.images) > 1:
            raise OptionError(f"{video} is a video: pass it alone, and run `lmpnet discover` once for each video.")
        self._refuse("a video", "shard", "resume", "boxes", "corrections", "review", backend="ray")
        if files := [name for name in self.export if name in OF_FILES]:
            raise OptionError(
                f"--export {files[0]} needs image files, and the frames of a video have none. Extract the frames "
                "(ffmpeg -i VIDEO frames/%06d.jpg) and run `lmpnet discover` on that folder."
            )

    def _check_ray(self) -> None:
        self._refuse("--backend ray", "shard", "corrections", "review", method="saliency")
        if self.device.startswith("cuda:"):  # a worker sees only its own GPU
            self._refuse("--backend ray", device=self.device)
        if self.overwrite:
            self._refuse("--overwrite", "resume")
        if self.report or self.export:
            raise OptionError(
                "--report and --export cannot be combined with --backend ray: run `lmpnet merge` on its results, then "
                "`lmpnet report` or `lmpnet convert`."
            )
