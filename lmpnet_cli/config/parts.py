"""`lmpnet parts` and `lmpnet match`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmpnet_cli.config.checks import at_least, between, paths
from lmpnet_cli.config.keypoints import DEFAULT_KEYPOINTS, MAX_KEYPOINTS
from lmpnet_cli.config.run import ModelConfig
from lmpnet_cli.errors import InputError, OptionError


@dataclass(frozen=True, kw_only=True)
class PartsConfig(ModelConfig):
    """`lmpnet parts`.

    Attributes:
        data: folders with pictures like those that keypoints will be looked for on; of data sets with splits the
            training part. None learns nothing and only gives `names` to the vocabulary that is there.
        k: keypoints; None takes as many as there are names, or 5.
        names: of the keypoints, in their order; None calls them kp1 to kpk.
        images: at most so many pictures are learned from, drawn by the seed.
        patches: pictures of each keypoint in `parts.png`.
    """

    data: tuple[Path, ...] | None = None
    k: int | None = None
    names: tuple[str, ...] | None = None
    images: int = 3000
    patches: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data is not None:
            object.__setattr__(self, "data", paths(self.data) or None)
        if self.k is not None:
            between("--k", self.k, 1, MAX_KEYPOINTS)
        at_least("--images", self.images, 2)
        between("--patches", self.patches, 1, 100)
        if self.names is not None:
            object.__setattr__(self, "names", _names(self.names))
            between("number of --names", len(self.names or ()), 1, MAX_KEYPOINTS)
            if self.k is not None and len(self.names or ()) != self.k:
                raise OptionError(f"--names gives {len(self.names or ())} names for --k {self.k} keypoints.")
        if self.data is None and self.names is None:
            raise OptionError(
                "There is nothing to do: give DATA to learn a vocabulary, or --names to name the one that is there."
            )

    @property
    def keypoints(self) -> int:
        """How many."""
        return self.k or len(self.names or ()) or DEFAULT_KEYPOINTS


def _names(given: Any) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (given.split(",") if isinstance(given, str) else given))
    if not all(names) or len(set(names)) < len(names):
        raise OptionError(f"--names {','.join(names)}: every keypoint needs a name of its own, with commas between.")
    return names


@dataclass(frozen=True, kw_only=True)
class MatchConfig(ModelConfig):
    """`lmpnet match`.

    Attributes:
        images: two pictures or more, or folders with them.
        columns: pictures in a row.
    """

    images: tuple[Path, ...]
    columns: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "images", paths(self.images))
        between("--columns", self.columns, 2, 20)
        if not self.images:
            raise InputError("Name two pictures or more, or a folder with them.")
