"""What a user knows about keypoints and no run finds out: their names, and which of them are joined."""

from collections.abc import Sequence

from lmpnet_cli.config.options import OUTPUT, Options, flag_of, option
from lmpnet_cli.errors import OptionError


class NamesOption(Options):
    """The option of the commands that give keypoints names."""

    names: tuple[str, ...] | None = option(
        None, "Other names for the keypoints, in their order, separated by commas.", OUTPUT, shown="as in the results"
    )

    def _check(self) -> None:
        super()._check()
        if self.names is not None and not (self.names and all(self.names) and len(set(self.names)) == len(self.names)):
            raise OptionError(f"--names {','.join(self.names)}: give each keypoint its own name, separated by commas.")

    def names_for(self, present: Sequence[str]) -> tuple[str, ...]:
        """Return the names of keypoints that are called `present` so far.

        Raises:
            OptionError: when another number of names was given.
        """
        if self.names is None:
            return tuple(present)
        if len(self.names) != len(present):
            raise OptionError(
                f"--names has {len(self.names)} names, but there are {len(present)} keypoints ({', '.join(present)}). "
                "Give one name per keypoint."
            )
        return self.names


class SkeletonOption(NamesOption):
    """The options of the commands that show keypoints under other names, or joined by lines."""

    skeleton: tuple[str, ...] | None = option(
        None,
        "Pairs of keypoints to join by a line, by name or number, such as beak-crown,crown-wing or 1-2,2-4.",
        OUTPUT,
        shown="as in the results",
    )

    @property
    def needing_parts(self) -> list[str]:
        """Return the options that were given and have a meaning only where index i is the same part in every image."""
        return [flag_of(name) for name in ("names", "skeleton") if getattr(self, name) is not None]
