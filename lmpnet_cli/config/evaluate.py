"""`lmpnet eval` and `lmpnet salient`."""

from pathlib import Path
from typing import Literal

from lmpnet_cli.config.lmpnet import erasing_distance
from lmpnet_cli.config.method import KeypointConfig, Method
from lmpnet_cli.config.options import INPUT, argument, option, options_of, same_as
from lmpnet_cli.config.run import ReportOption
from lmpnet_cli.errors import OptionError


class AnnotatedConfig(KeypointConfig):
    """Options of the commands that compare keypoints with annotations."""

    data: Path | None = argument(None, "CUB folder, or COCO keypoint file.", shown="the bundled example images")
    images: Path | None = option(
        None, "Folder of the images.", INPUT, shown="beside the annotations, or where COCO, CVAT or FiftyOne have them"
    )
    alpha: float = option(
        0.1,
        "Tolerance: fraction of the image's shorter or the box's longer side.",
        above=0,
        high=1,
    )
    split: Literal["test", "train", "all"] = option("test", "Split of a CUB folder to use.", INPUT)


class EvaluateConfig(ReportOption, AnnotatedConfig):
    """Options of `lmpnet eval`. The results have one row for each `thr`."""

    predictions: Path | None = option(
        None, "Score the keypoints in this COCO file, of any tool, instead of running a model.", INPUT, short="-p"
    )
    thr: tuple[float, ...] | None = erasing_distance((3.0,), "; can be repeated")
    parts: bool = option(True, "Also score the parts, where the model has parts.")
    stability: bool = option(False, "Also score the parts on mirrored and noisy images, in two more passes.")

    def _without_method(self) -> str | None:
        return "--predictions" if self.predictions is not None else None

    def _unused(self) -> dict[str, str]:
        if (other := self._without_method()) is None:
            return super()._unused()
        named = {name for name, each in options_of(self).items() if each.methods} | {"method", "checkpoint", "size"}
        return dict.fromkeys(named, self._not_with(other))

    def _check(self) -> None:
        super()._check()
        if self.thr is not None:
            self._set("thr", tuple(dict.fromkeys(self.thr)))
        if self.thr == ():
            raise OptionError("--thr needs at least one value.")
        if self.stability:
            self._refuse("--stability", "predictions", parts=False, method="saliency", objects="all")


class SaliencyHistogramConfig(AnnotatedConfig):
    """Options of `lmpnet salient`."""

    method: Method | None = same_as(KeypointConfig, "method", default="saliency")
    alpha: float = same_as(AnnotatedConfig, "alpha", help="Tolerance: fraction of the image's shorter side.")
    thr: float | None = erasing_distance()

    def _check(self) -> None:
        super()._check()
        self._refuse("lmpnet salient", "boxes", objects="all")
