"""Give the keypoints of a document what a user knows about them and no run finds out: names and a skeleton."""

from collections.abc import Sequence
from dataclasses import replace

from lmpnet_cli.config.names import SkeletonOption
from lmpnet_cli.errors import OptionError
from lmpnet_cli.export.formats import Document
from lmpnet_cli.progress import Progress


def with_names(document: Document, config: SkeletonOption, progress: Progress) -> Document:
    """Return the document with the names and the skeleton that the options give its keypoints.

    Args:
        progress: is warned where the names are those that the keypoints have, in another order.

    Raises:
        OptionError: when the keypoints are ranks, have another number, or are not those of the skeleton.
    """
    if document.is_ranked and (given := config.needing_parts):
        raise OptionError(
            f"{given[0]} needs parts, but with --method {document.method} index i is a rank in each image. "
            "Run `lmpnet discover` with --method parts first."
        )

    names = config.names_for(document.names)
    if names != document.names and sorted(names) == sorted(document.names):
        progress.warn(
            f"--names gives the names {', '.join(document.names)} to other keypoints: {', '.join(names)}. If they were "
            "right before, remove --names."
        )
    if config.skeleton is None:
        return replace(document, names=names)

    edges = [_edge(pair, names) for pair in config.skeleton]
    each_once = {frozenset(edge): edge for edge in edges}  # in whatever direction
    return replace(document, names=names, skeleton=tuple(each_once.values()))


def _edge(pair: str, names: Sequence[str]) -> tuple[int, int]:
    """Return the numbers of two keypoints, counted from 1, that are written with a hyphen between them.

    Names may have hyphens themselves. Therefore the pair is read with each hyphen as the one between the keypoints.
    """
    number_of = {str(number): number for number in range(1, len(names) + 1)}
    number_of |= {name: number for number, name in enumerate(names, start=1)}  # a name such as 2 means itself

    splits = [(pair[:at].strip(), pair[at + 1 :].strip()) for at, sign in enumerate(pair) if sign == "-"]
    edges = {(number_of[start], number_of[end]) for start, end in splits if {start, end} <= number_of.keys()}
    readings = [(start, end) for start, end in edges if start != end]
    if len(readings) == 1:
        return readings[0]
    if readings:
        numbers = " or ".join(f"{start}-{end}" for start, end in sorted(readings))
        raise OptionError(
            f"--skeleton {pair} can be read in several ways: write the numbers of its keypoints, {numbers}."
        )
    raise OptionError(
        f"--skeleton {pair} is not a pair of two keypoints: write NAME-NAME, or numbers such as 1-2. The keypoints are "
        f"{', '.join(names)}."
    )
