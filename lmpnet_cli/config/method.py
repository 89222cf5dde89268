"""The choice of the method, and what the commands that find keypoints share."""

from pathlib import Path
from typing import Any, Literal

from lmpnet_cli.config.lmpnet import LMPNetConfig, ReadingConfig
from lmpnet_cli.config.options import flag_of, option, options_of, same_as
from lmpnet_cli.config.run import ModelConfig, RunConfig
from lmpnet_cli.config.saliency import SaliencyConfig
from lmpnet_cli.errors import OptionError

MAX_KEYPOINTS, DEFAULT_KEYPOINTS = 100, 5
MAX_POINTS = 1000  # on an image, for the method saliency; the limit of `saliency.nms`
Method = Literal["lmpnet", "parts", "landmarks", "saliency"]
BY_MODEL = ("lmpnet", "parts", "landmarks")  # methods that read the maps of an LMPNet


class MethodConfig(ReadingConfig):
    """The method, the number of keypoints, and how the method lmpnet reads them.

    The method is what `method` says and nothing else. An option that belongs to another method is an error, whatever
    its value; it stays None, and `options()` records it as null.
    """

    method: Method | None = option(
        "lmpnet",
        "How keypoints are found: lmpnet (keypoint i is the i-th found on its image), parts (the same part on every "
        "image), landmarks (those of `lmpnet fit`, by name) or saliency (points that the classifier relies on).",
        filled_in=True,
        decides=True,
    )
    k: int | None = option(
        DEFAULT_KEYPOINTS,
        "Largest number of keypoints per image; with --method parts or landmarks, exactly the model's number of them.",
        shown=f"{DEFAULT_KEYPOINTS}, or that number",
        low=1,
        high=MAX_KEYPOINTS,
        methods=("lmpnet",),
        shared=True,
        decides=True,
    )

    def _without_method(self) -> str | None:
        """Return what the run uses in place of `method`, for a message; None where the method is used."""
        return None

    def _unused(self) -> dict[str, str]:
        """Return the options that this run does not use, each with the reason, the end of a message."""
        if self.method is None:
            return {}
        unused = {}
        for name, described in options_of(self).items():
            if not self._belongs(name):
                owner = " and ".join(f"--method {method}" for method in described.methods)
                unused[name] = (
                    f"belongs to {owner}, but this run uses --method {self.method}; change or remove one of them"
                )
        if self.replica is False:
            unused |= dict.fromkeys(("mask_radius", "fusion"), self._not_with("--no-replica"))
        return unused

    def _belongs(self, name: str) -> bool:
        described = options_of(self)[name]
        return not described.methods or described.shared or self.method in described.methods

    def _fill_in(self) -> None:
        declared = options_of(self)
        if self.method is None and self._without_method() is None:
            self._set("method", declared["method"].default)

        unused = self._unused()
        for name, described in declared.items():
            value = getattr(self, name)
            if name in unused and value is not None:
                raise OptionError(f"{flag_of(name, value)} {unused[name]}.")
            has_default = self.method in described.methods if described.methods else described.filled_in
            if name not in unused and name != "method" and value is None and has_default:
                self._set(name, described.default)

    def method_options(self) -> dict[str, Any]:
        """Return the options of the chosen method by name, `k` among them, to pass on as keyword arguments."""
        declared = options_of(self).items()
        return {name: getattr(self, name) for name, each in declared if each.methods and self._belongs(name)}


class KeypointConfig(ModelConfig, MethodConfig, LMPNetConfig, SaliencyConfig):
    """Options of the commands that find keypoints by any method."""

    k: int | None = same_as(
        MethodConfig,
        "k",
        help="Largest number of keypoints per image. Without it, --method saliency keeps all that --keep leaves. With "
        "--method parts or landmarks, exactly the model's number of them.",
        shown=f"{DEFAULT_KEYPOINTS}; all with --method saliency; that number with --method parts or landmarks",
        high=MAX_POINTS,
    )
    objects: Literal["none", "one", "all"] | None = option(
        "one",
        "Look at the whole image first, then find keypoints in a window around the most prominent object (one) or "
        "around every object (all). none: find keypoints in the whole image, as in the paper.",
        shown="one; all with --boxes",
        methods=BY_MODEL,
        decides=True,
    )
    boxes: Path | None = option(
        None,
        "Take the windows from this file in place of the first look: COCO annotations or results, output of "
        "MegaDetector, a CUB folder, or CSV with the columns file_name, x, y, width, height.",
        methods=BY_MODEL,
        decides=True,
    )
    min_confidence: float | None = option(
        0.2, "Ignore boxes with a lower confidence.", low=0, high=1, methods=BY_MODEL, decides=True
    )
    max_objects: int | None = option(
        20, "Largest number of objects per image.", low=1, high=1000, methods=BY_MODEL, decides=True
    )
    batch_size: int = same_as(RunConfig, "batch_size", help="Images (for saliency, occluded copies) per forward pass.")

    def _unused(self) -> dict[str, str]:
        unused = super()._unused()
        if self.method in BY_MODEL and "objects" not in unused:
            if self.boxes is None:
                unused["min_confidence"] = "needs --boxes"
            elif self.objects == "none":
                unused["boxes"] = self._not_with("--objects none")
            if self.objects != "all":
                unused["max_objects"] = "needs --objects all"
        return unused

    def _fill_in(self) -> None:
        reads_maps = self.method != "saliency" and self._without_method() is None
        if self.boxes is not None and self.objects is None and reads_maps:
            self._set("objects", "all")
        super()._fill_in()

    def _check(self) -> None:
        super()._check()
        if self.checkpoint is not None:
            self._refuse("--checkpoint", "classifier")

    @property
    def objects_at_most(self) -> int:
        """Return the largest number of objects that are looked for on an image; 0 where the whole image is read."""
        if self.objects == "all":
            return self.max_objects or 1
        return int(self.objects == "one")
