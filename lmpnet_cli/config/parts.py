"""`lmpnet parts` and `lmpnet match`."""

from pathlib import Path

from lmpnet_cli.config.method import DEFAULT_KEYPOINTS, MAX_KEYPOINTS
from lmpnet_cli.config.names import NamesOption
from lmpnet_cli.config.options import INPUT, METHOD, OUTPUT, REQUIRED, argument, option, same_as
from lmpnet_cli.config.run import ModelConfig
from lmpnet_cli.errors import InputError, OptionError


class PartsConfig(NamesOption, ModelConfig):
    """Options of `lmpnet parts`. Without `data` nothing is learned: the existing parts lose those of `drop` and get the
    `names`."""

    data: tuple[Path, ...] | None = argument(
        None, "Folders with images, or data sets (only their training split is used)."
    )
    size: int | None = same_as(
        ModelConfig, "size", help="Side of the square network input in pixels; only that of the training is possible."
    )
    k: int | None = option(
        None, "Number of parts.", shown=f"the number of names, or {DEFAULT_KEYPOINTS}", low=1, high=MAX_KEYPOINTS
    )
    names: tuple[str, ...] | None = same_as(
        NamesOption,
        "names",
        help="Names of the parts, separated by commas; without DATA, rename the existing parts.",
        shown="kp1, kp2, ...",
        panel=METHOD,
    )
    drop: tuple[str, ...] | None = option(
        None, "Names of existing parts to remove, separated by commas; not with DATA.", shown="none"
    )
    images: int = option(3000, "Largest number of images to learn from, drawn at random.", INPUT, low=2)
    patches: int = option(12, "Number of examples of each part in parts.png.", OUTPUT, low=1, high=100)

    def _check(self) -> None:
        super()._check()
        self._set("data", self.data or None)
        if self.data is None and self.names is None and self.drop is None:
            raise OptionError(
                "Nothing to do: pass DATA to learn parts, or --names or --drop to rename or remove existing parts."
            )
        if self.data is not None:
            self._refuse("DATA", "drop")
        if self.names is not None:
            self._check_number(self.names)

    def _check_number(self, names: tuple[str, ...]) -> None:
        if len(names) != (self.k or len(names)):
            raise OptionError(f"--names gives {len(names)} names, but --k is {self.k}: they must be equal.")
        if len(names) > MAX_KEYPOINTS:
            raise OptionError(f"--names gives {len(names)} names; at most {MAX_KEYPOINTS} are allowed.")

    @property
    def count(self) -> int:
        """Return the number of parts to learn."""
        return self.k or len(self.names or ()) or DEFAULT_KEYPOINTS


class MatchConfig(ModelConfig):
    """Options of `lmpnet match`."""

    images: tuple[Path, ...] = argument(REQUIRED, "Two to 200 images, or folders with images.")
    columns: int = option(4, "Number of images in a row.", OUTPUT, low=2, high=20)

    def _check(self) -> None:
        super()._check()
        if not self.images:
            raise InputError("No images given: pass two images or more, or a folder with images.")
