"""What a user says about keypoints and no run finds out: their names."""

from collections.abc import Sequence

from lmpnet_cli.config.options import OUTPUT, Options, option
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
