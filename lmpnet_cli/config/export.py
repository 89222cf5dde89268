"""`lmpnet export`."""

from pathlib import Path
from typing import Literal

from lmpnet_cli.config.discover import ONNX_SUFFIX, DiscoverConfig
from lmpnet_cli.config.lmpnet import erasing_distance
from lmpnet_cli.config.method import KeypointConfig, MethodConfig
from lmpnet_cli.config.options import OUTPUT, REQUIRED, option, same_as
from lmpnet_cli.config.run import CheckpointConfig, OutputConfig
from lmpnet_cli.errors import OptionError


class ExportConfig(OutputConfig, CheckpointConfig, MethodConfig):
    """Options of `lmpnet export`. The ONNX model finds keypoints as `discover` does with the same options."""

    out: Path = same_as(OutputConfig, "out", default=REQUIRED, help="ONNX file to write, NAME.onnx.")
    method: Literal["lmpnet", "parts", "landmarks"] | None = same_as(
        MethodConfig,
        "method",
        help="How keypoints are found: lmpnet (keypoint i is the i-th found), parts (the same part on every image) or "
        "landmarks (those of `lmpnet fit`, by name).",
    )
    int8: Path | None = option(
        None,
        "Compute with 8 bits, two to three times as fast on processors with VNNI or AMX: folder of images like those "
        "that the model will see, to calibrate it and to check its keypoints.",
        OUTPUT,
        shown="none",
    )
    thr: float | None = erasing_distance()
    objects: Literal["none", "one", "all"] | None = same_as(KeypointConfig, "objects", shown="one")
    max_objects: int | None = same_as(KeypointConfig, "max_objects")

    def _unused(self) -> dict[str, str]:
        return super()._unused() | ({} if self.objects == "all" else {"max_objects": "needs --objects all"})

    def _check(self) -> None:
        super()._check()
        if self.out.suffix != ONNX_SUFFIX or self.out.is_dir():
            raise OptionError(f"--out {self.out} is not the name of an ONNX file: it must end in {ONNX_SUFFIX}.")
        if self.checkpoint is not None and self.checkpoint.suffix == ONNX_SUFFIX:
            raise OptionError(f"{self.checkpoint} is already an ONNX model: pass a checkpoint of `lmpnet train`.")

    @property
    def as_discover(self) -> DiscoverConfig:
        """Return the options of the `discover` run that the ONNX model reproduces."""
        chosen = {"checkpoint": self.checkpoint, "size": self.size, "method": self.method, **self.method_options()}
        return DiscoverConfig(images=(), device="cpu", backend="torch", **chosen)
