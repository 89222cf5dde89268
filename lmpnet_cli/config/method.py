"""The choice of the method, and what the commands that find keypoints share."""

from typing import Any, Literal

from lmpnet_cli.config.lmpnet import LMPNetConfig, ReadingConfig
from lmpnet_cli.config.options import flag_of, option, options_of, same_as
from lmpnet_cli.config.run import ModelConfig, RunConfig
from lmpnet_cli.config.saliency import SaliencyConfig
from lmpnet_cli.errors import OptionError

MAX_KEYPOINTS, DEFAULT_KEYPOINTS = 100, 5
MAX_POINTS = 1000  # on an image, for the method saliency; the limit of `saliency.nms`
Method = Literal["lmpnet", "parts", "saliency"]


class MethodConfig(ReadingConfig):
    """The method, the number of keypoints, and how the method lmpnet reads them.

    The method is what `method` says and nothing else. An option that belongs to another method is an error, whatever
    its value; it stays None, and `options()` records it as null.
    """

    method: Method | None = option(
        "lmpnet",
        "How keypoints are found: lmpnet (keypoint i is the i-th found on its image), parts (the same part on every "
        "image) or saliency (points that the classifier relies on).",
        filled_in=True,
        decides=True,
    )
    k: int | None = option(
        DEFAULT_KEYPOINTS,
        "Largest number of keypoints per image; with --method parts, exactly the model's number of parts.",
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
        "--method parts, exactly the model's number of parts.",
        shown=f"{DEFAULT_KEYPOINTS}; all with --method saliency; that number with --method parts",
        high=MAX_POINTS,
    )
    objects: Literal["none", "one"] | None = option(
        "none",
        "one: look at the whole image for the most prominent object, then find its keypoints in a window around it. "
        "none: find keypoints in the whole image, as in the paper.",
        methods=("lmpnet", "parts"),
        decides=True,
    )
    batch_size: int = same_as(RunConfig, "batch_size", help="Images (for saliency, occluded copies) per forward pass.")

    def _check(self) -> None:
        super()._check()
        if self.checkpoint is not None:
            self._refuse("--checkpoint", "classifier")
