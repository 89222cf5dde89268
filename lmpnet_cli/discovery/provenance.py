"""What decided the keypoints of a run: the record in its results, and the comparison of two runs."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Self

from msgspec import Meta

from lmpnet_cli.config import DiscoverConfig, url_of
from lmpnet_cli.data.listing import ListedImage, absolute
from lmpnet_cli.errors import InputError
from lmpnet_cli.inference.predictor import Predictor
from lmpnet_cli.io.coco import FORMAT_VERSION
from lmpnet_cli.io.files import file_sha256
from lmpnet_cli.io.json_input import check, refuse_nan
from lmpnet_cli.io.run_record import versions

MEANING = {
    "lmpnet": "keypoint i is a rank in each image, not a body part",
    "parts": "keypoint i is the same part in every image",
    "landmarks": "keypoint i is the landmark of that name in every image",
    "saliency": "the points that the classifier relies on; keypoint i is a rank in each image",
}


def describe(predictor: Predictor, config: DiscoverConfig) -> dict[str, Any]:
    """Return `info` of `keypoints.json`, without its date: how the keypoints were found."""
    return {
        "description": f"Keypoints found by lmpnet: {MEANING[predictor.method]}.",
        "lmpnet_version": versions()["lmpnet-cli"],
        "format_version": FORMAT_VERSION,
        "method": predictor.method,
        "k": len(predictor.names) or None,
        "thr": predictor.thresholds[0],
        "distance": predictor.options().get("distance"),
        "objects": predictor.options().get("objects", "none"),
        **_boxes(config),
        **_corrections(config),
        **predictor.record(),
        "classes": list(predictor.classes),
        "seed": config.seed,
    }


def _boxes(config: DiscoverConfig) -> dict[str, Any]:
    """Return name and checksum of the file of boxes, where there is one; of a CUB folder its own file."""
    if config.boxes is None:
        return {}
    path = config.boxes / "bounding_boxes.txt" if config.boxes.is_dir() else config.boxes
    return {"boxes": {"name": config.boxes.name, "sha256": file_sha256(path) if path.is_file() else None}}


def _corrections(config: DiscoverConfig) -> dict[str, Any]:
    """Return name and checksum of the file of corrections, where there is one."""
    path = config.corrections
    return {} if path is None else {"corrections": {"name": path.name, "sha256": file_sha256(path)}}


def settings(predictor: Predictor, config: DiscoverConfig) -> dict[str, Any]:
    """Return the options that decide keypoints and are not in `describe`, with the values that were used."""
    shared = {name: getattr(config, name) for name in ("precision", "max_pixels")}
    return {"size": predictor.loader.size, **shared, **predictor.options()}


@dataclass(frozen=True)
class RunImages:
    """The images of a run: paths and URLs as they were passed, the number of images, and a checksum of their names."""

    inputs: list[str]
    count: Annotated[int, Meta(ge=0)]
    names_sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a run is; also the schema of `manifest.json`. A run is resumed only where its manifest is the same.

    Attributes:
        images: the listed images.
        chunk: images per chunk.
        keypoints: names of the keypoints; empty where each image has a number of its own.
        info: `info` of the keypoints.json to be, without its date.
        options: those that decide the results, with the values that were used.
    """

    images: RunImages
    chunk: Annotated[int, Meta(ge=1)]
    keypoints: list[str]
    info: dict[str, Any]
    options: dict[str, Any]

    @classmethod
    def of_run(cls, predictor: Predictor, config: DiscoverConfig, files: Sequence[ListedImage], chunk: int) -> Self:
        """Return the manifest of a run over `files`, in `chunk` images per chunk."""
        inputs = [url_of(path) or str(absolute(path)) for path in config.images]
        images = RunImages(inputs, len(files), names_sha256(file.name for file in files))

        options = config.deciding_options() | settings(predictor, config)
        # floating-point sums depend on these in the last digits
        options |= {"batch_size": config.batch_size, "backend": config.backend_used, "bfloat16": predictor.bfloat16}
        # the drawings of all chunks must be there
        options |= {"overlays": config.overlays, "panels": config.panels}
        if config.backend != "ray":  # its workers choose their devices themselves
            options["device"] = str(predictor.device)

        run = cls(images, chunk, list(predictor.names), describe(predictor, config), options)
        return check(json.loads(json.dumps(asdict(run))), cls)  # lists for tuples, as it will be read back

    def __post_init__(self) -> None:
        refuse_nan(self.info)  # it will be written into keypoints.json

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return -(-self.images.count // self.chunk)

    def differences(self, other: "Manifest") -> list[str]:
        """Return the names of what differs: of options and of entries of `info` by themselves."""
        found = {name for name in ("images", "chunk") if getattr(self, name) != getattr(other, name)}
        for mine, others in ((self.info, other.info), (self.options, other.options)):
            found |= {name for name in mine.keys() | others.keys() if mine.get(name) != others.get(name)}
        return sorted(found)


@dataclass(frozen=True)
class Shard:
    """One of several subsets of a list of images; also the schema of `info.shard` in its keypoints.json.

    Attributes:
        index: from 1 to `of`.
        images: the number of images in the whole list.
        names_sha256: checksum of the names of the whole list; shards of different lists do not belong together.
        options: those of `settings`, which are the same for all shards of a run.
    """

    index: int
    of: int
    images: int
    names_sha256: str
    options: dict[str, Any]

    @property
    def run(self) -> tuple[int, int, str]:
        """What all shards of one run have in common."""
        return self.of, self.images, self.names_sha256


def take_shard(
    files: Sequence[ListedImage], shard: tuple[int, int], options: dict[str, Any]
) -> tuple[list[ListedImage], Shard]:
    """Return every N-th image from the I-th on, so that folders of large and of small images are spread evenly.

    Args:
        shard: I and N.

    Raises:
        InputError: when there are more shards than images.
    """
    index, of = shard
    if of > len(files):
        raise InputError(f"--shard {index}/{of} makes more shards than there are images ({len(files)}). Use fewer.")

    checksum = names_sha256(file.name for file in files)
    return list(files[index - 1 :: of]), Shard(index, of, len(files), checksum, options)


def names_sha256(names: Iterable[str]) -> str:
    """Return the checksum of a list of names, joined by zero bytes, which no name contains."""
    return hashlib.sha256(b"\0".join(map(_encoded, names))).hexdigest()


def _encoded(name: str) -> bytes:
    try:
        return name.encode(errors="surrogateescape")  # file names that are not valid text
    except UnicodeEncodeError:  # not the name of any file, but a damaged document may contain it
        return name.encode(errors="surrogatepass")
