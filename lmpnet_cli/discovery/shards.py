"""Parts of one run, done apart: which images belong to each, and whether all parts are there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.discovery.provenance import names_sha256
from lmpnet_cli.errors import InputError


@dataclass(frozen=True)
class Shard:
    """One of several parts of a list of images.

    Attributes:
        index: from 1 to `of`.
        images: how many the whole list has.
        names_sha256: of the names of the whole list; parts of another list do not belong together.
        options: of `discover`, in which parts of one run must not differ.
    """

    index: int
    of: int
    images: int
    names_sha256: str
    options: dict[str, Any]

    @property
    def whole(self) -> tuple[int, int, str]:
        """The same for all parts of a run."""
        return self.of, self.images, self.names_sha256


def take(
    files: Sequence[ListedImage], part: tuple[int, int], options: dict[str, Any]
) -> tuple[list[ListedImage], Shard]:
    """Every N-th image, from the I-th on, so that folders of large and of small images are spread over all parts.

    Raises:
        InputError: when there are more parts than images.
    """
    index, of = part
    if of > len(files):
        raise InputError(f"--shard {index}/{of} of {len(files)} images: there cannot be more parts than images.")
    return list(files[index - 1 :: of]), Shard(
        index, of, len(files), names_sha256(file.name for file in files), options
    )


def read_shard(info: dict[str, Any]) -> Shard:
    """What `info.shard` of a `keypoints.json` says.

    Raises:
        ValueError, TypeError, KeyError: when it says nothing of that kind.
    """
    given = info["shard"]
    return Shard(
        int(given["index"]), int(given["of"]), int(given["images"]), str(given["names_sha256"]), dict(given["options"])
    )


def check_complete(shards: Sequence[Shard]) -> None:
    """Raises `InputError` unless every part of one run is there."""
    if len({shard.whole for shard in shards}) > 1:
        raise InputError(
            "These shards are not of one run: they differ in their number of parts or in the list of images. Name the "
            "shards of one run only."
        )
    there, of = {shard.index for shard in shards}, shards[0].of
    missing = [str(index) for index in range(1, of + 1) if index not in there]
    if missing:
        named = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise InputError(
            f"Of {of} shards {len(missing)} are missing: {named}. Run `lmpnet discover --shard {missing[0]}/{of}` with "
            "the options of the others, then merge again."
        )
