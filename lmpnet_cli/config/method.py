"""The choice of the method, and what the commands that find keypoints share."""

from dataclasses import dataclass
from typing import Any, Literal

from lmpnet_cli.config.lmpnet import LMPNetConfig
from lmpnet_cli.config.options import Option, Options, documented, flag_of, option, options_of
from lmpnet_cli.config.run import ModelConfig
from lmpnet_cli.config.saliency import SaliencyConfig
from lmpnet_cli.errors import OptionError

MAX_KEYPOINTS, DEFAULT_KEYPOINTS = 100, 5
Method = Literal["lmpnet", "parts", "saliency"]


@documented
@dataclass(frozen=True, kw_only=True)
class MethodConfig(Options):
    """The method and the number of keypoints.

    The method is what `method` says and nothing else. An option that belongs to another method is an error, whatever
    its value; it stays None, and `options()` records it as null.
    """

    method: Method | None = option(
        "lmpnet",
        "How keypoints are found: lmpnet (the paper's order, ranks in each image), parts (the learned parts, the same "
        "in every image) or saliency (the second paper).",
        filled_in=True,
        decides=True,
    )
    k: int | None = option(
        DEFAULT_KEYPOINTS,
        "Number of keypoints on each image.",
        default_text=f"{DEFAULT_KEYPOINTS}; all under --method parts",
        low=1,
        high=MAX_KEYPOINTS,
        methods=("lmpnet", "saliency"),
        shared=True,
        decides=True,
    )

    def _without_method(self) -> str | None:
        """Return what the run uses in place of `method`, for a message; None where the method is used."""
        return None

    def _unused(self) -> dict[str, str]:
        """Return the options that this run does not use, each with what excludes it."""
        if self.method is None:
            return {}
        return {name: f"--method {self.method}" for name in options_of(self) if not self._belongs(name)}

    def _belongs(self, name: str) -> bool:
        described = options_of(self)[name]
        return not described.methods or described.shared or self.method in described.methods

    def _fill_in(self) -> None:
        if self.method is None and self._without_method() is None:
            self._set("method", options_of(self)["method"].default)

        unused = self._unused()
        for name, described in options_of(self).items():
            value = getattr(self, name)
            if name in unused and value is not None:
                raise OptionError(f"{flag_of(name, value)} cannot be combined with {unused[name]}; remove one of them.")
            if name not in unused and value is None and self._has_default(described):
                self._set(name, described.default)

    def _has_default(self, described: Option) -> bool:
        if described.methods:
            return self.method in described.methods
        return described.filled_in and described is not options_of(self)["method"]

    def method_options(self) -> dict[str, Any]:
        """Return the options of the chosen method by name, `k` among them, to pass on as keyword arguments."""
        declared = options_of(self).items()
        return {name: getattr(self, name) for name, each in declared if each.methods and self._belongs(name)}


@documented
@dataclass(frozen=True, kw_only=True)
class KeypointConfig(ModelConfig, MethodConfig, LMPNetConfig, SaliencyConfig):
    """Options of the commands that find keypoints by any method."""

    def _check(self) -> None:
        super()._check()
        if self.classifier is not None and self.checkpoint is not None:
            raise OptionError("--classifier cannot be combined with --checkpoint; remove one of them.")
