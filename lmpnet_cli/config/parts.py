"""`lmpnet parts` and `lmpnet match`."""

from dataclasses import dataclass
from pathlib import Path

from lmpnet_cli.config.method import DEFAULT_KEYPOINTS, MAX_KEYPOINTS
from lmpnet_cli.config.options import INPUT, OUTPUT, REQUIRED, argument, documented, option
from lmpnet_cli.config.run import ModelConfig
from lmpnet_cli.errors import InputError, OptionError


@documented
@dataclass(frozen=True, kw_only=True)
class PartsConfig(ModelConfig):
    """Options of `lmpnet parts`. Without `data` nothing is learned: the existing parts get the `names`."""

    data: tuple[Path, ...] | None = argument(
        None, "Folders with images to learn from, of data sets the training split; no labels are needed."
    )
    k: int | None = option(
        None, "Number of parts.", default_text=f"the number of names, or {DEFAULT_KEYPOINTS}", low=1, high=MAX_KEYPOINTS
    )
    names: tuple[str, ...] | None = option(
        None,
        "Names of the parts, separated by commas; without DATA they rename the existing parts.",
        default_text="kp1, kp2, ...",
        commas=True,
    )
    images: int = option(3000, "Largest number of images to learn from, drawn at random by --seed.", panel=INPUT, low=2)
    patches: int = option(12, "Number of examples of each part in parts.png.", panel=OUTPUT, low=1, high=100)

    def _check(self) -> None:
        super()._check()
        self._set("data", self.data or None)
        if self.data is None and self.names is None:
            raise OptionError("Nothing to do: pass DATA to learn parts, or --names to name the existing parts.")
        if self.names is not None:
            self._set("names", tuple(name.strip() for name in self.names))
            self._check_names(self.names)

    def _check_names(self, names: tuple[str, ...]) -> None:
        if not names or not all(names) or len(set(names)) < len(names):
            raise OptionError(f"--names {','.join(names)}: give each part its own name, separated by commas.")
        if len(names) > MAX_KEYPOINTS or (self.k is not None and len(names) != self.k):
            allowed = f"--k is {self.k}" if self.k is not None else f"at most {MAX_KEYPOINTS} are allowed"
            raise OptionError(f"--names gives {len(names)} names, but {allowed}.")

    @property
    def count(self) -> int:
        """Return the number of parts to learn."""
        return self.k or len(self.names or ()) or DEFAULT_KEYPOINTS


@documented
@dataclass(frozen=True, kw_only=True)
class MatchConfig(ModelConfig):
    """Options of `lmpnet match`."""

    images: tuple[Path, ...] = argument(REQUIRED, "Two images or more, or folders with images.")
    columns: int = option(4, "Number of images in a row.", panel=OUTPUT, low=2, high=20)

    def _check(self) -> None:
        super()._check()
        if not self.images:
            raise InputError("No images given: pass two images or more, or a folder with images.")
