"""`lmpnet merge`: one keypoints.json of the shards of a run, or of the chunks of a cluster, as of a run in one go."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from lmpnet_cli.config import MergeConfig, Paths, as_paths, takes_options
from lmpnet_cli.data.listing import real
from lmpnet_cli.discovery.provenance import Shard, names_sha256
from lmpnet_cli.discovery.store import ChunkStore, Skipped, SkippedImage, chunk_name
from lmpnet_cli.errors import InputError, some
from lmpnet_cli.export.report.report import update_report
from lmpnet_cli.io.coco import coco_text, read_keypoints, to_coco
from lmpnet_cli.io.files import write_pieces
from lmpnet_cli.io.json_input import SchemaError, check, read_json, refuse_nan
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import now, write_run
from lmpnet_cli.io.storage import open_folder
from lmpnet_cli.keypoints import Keypoints, by_image, names_in_run
from lmpnet_cli.progress import Progress

RESULTS = ("keypoints.json", "run.json")
OWN_OF_SHARD = ("shard", "date_created")  # entries of `info` in which the shards of one run may differ


@dataclass(frozen=True)
class MergeResult:
    """The keypoints of all shards or chunks, as those of `discover`.

    Attributes:
        skipped: (file name, reason) of unreadable images.
        shards: the number of shards, or of chunks.
        twice: files of shards that were already read from another file, with the same content.
    """

    keypoints: list[Keypoints]
    skipped: Skipped
    shards: int
    twice: list[Path]
    out: Path | None

    @property
    def images(self) -> int:
        """Return the number of images that could be read."""
        return len(by_image(self.keypoints))


@dataclass(frozen=True)
class _ShardFile:
    """A keypoints.json that `lmpnet discover --shard` wrote."""

    path: Path
    shard: Shard
    info: dict[str, Any]
    names: list[str]
    keypoints: list[Keypoints]
    skipped: Skipped

    @property
    def fixed_names(self) -> list[str]:
        """The names of the keypoints; none where their number was left open, and each shard has its own."""
        return [] if self.info.get("k") is None else self.names

    @property
    def options(self) -> dict[str, Any]:
        """What must be the same in all shards of a run."""
        options = {**self.info, **self.shard.options, "keypoints": self.fixed_names}
        return {name: value for name, value in options.items() if name not in OWN_OF_SHARD}


@takes_options(MergeConfig)
def merge(results: Paths, *, progress: Progress | None = None, **options: Any) -> MergeResult:
    """Join the results of `discover --shard 1/N` to `N/N`, or the chunks of `discover --backend ray`.

    Args:
        results: folders, searched in depth, and single `keypoints.json` files; or the folder of a cluster's run, which
            may be remote.
        progress: receives the number of finished files, and warnings.
        **options: listed below; without `out` nothing is written.

    Raises:
        InputError: when a shard or chunk is missing, damaged, or of another run, or a shard is there twice with
            different keypoints.
        OutputError: when `out` cannot be used.
    """
    config = MergeConfig(results=as_paths(results), **options)
    with lock_output(config.out, RESULTS, config.overwrite):
        return _merge(config, progress or Progress())


def _merge(config: MergeConfig, progress: Progress) -> MergeResult:
    if len(config.results) == 1:
        store = ChunkStore(open_folder(config.results[0]))
        if store.begun():
            return _merge_chunks(store, config, progress)
    return _merge_shards(config, progress)


def _merge_shards(config: MergeConfig, progress: Progress) -> MergeResult:
    started = time.perf_counter()
    paths = _list_shard_files(config.results, config.out)
    progress.start("merge", len(paths))

    shards: dict[int, _ShardFile] = {}
    twice = []
    for path in paths:
        file = _read_shard_file(path)
        known = shards.setdefault(file.shard.index, file)
        if known is not file:
            _check_same_content(known, file)
            twice.append(path)
            progress.warn(f"{path} is the same shard {file.shard.index} as {known.path} and is ignored.")
        progress.advance(1)

    _check_complete([file.shard for file in shards.values()])
    first = shards[1]
    for file in shards.values():
        _check_same_options(first, file)

    keypoints = sorted((each for file in shards.values() for each in file.keypoints), key=lambda each: each.file_name)
    skipped = sorted(entry for file in shards.values() for entry in file.skipped)
    _check_names(keypoints, skipped, first.shard.names_sha256)

    result = MergeResult(keypoints, skipped, len(shards), twice, config.out)
    _write(result, first.info, first.fixed_names, [path.as_posix() for path in paths], started)
    return result


def _merge_chunks(store: ChunkStore, config: MergeConfig, progress: Progress) -> MergeResult:
    """Join the chunks of a store, which are in the order of the names already."""
    started = time.perf_counter()
    manifest = store.manifest()
    present = {number for number in store.numbers() if number < manifest.chunks}
    if len(present) < manifest.chunks:
        first = next(number for number in range(manifest.chunks) if number not in present)
        raise InputError(
            f"Chunks missing in {store.folder.address}: {manifest.chunks - len(present)} of {manifest.chunks}, for "
            f"example {chunk_name(first)}. Finish the run with `lmpnet discover --backend ray "
            "--resume`, then merge again."
        )

    keypoints: list[Keypoints] = []
    skipped: Skipped = []
    progress.start("merge", manifest.images.count)
    for number in range(manifest.chunks):
        chunk = store.read(number)
        keypoints += chunk.keypoints
        skipped += chunk.skipped
        progress.advance(len(chunk))
    _check_names(keypoints, skipped, manifest.images.names_sha256)

    result = MergeResult(keypoints, skipped, manifest.chunks, [], config.out)
    _write(result, manifest.info, manifest.keypoints, [store.folder.address], started)
    return result


def _list_shard_files(results: Sequence[Path], out: Path | None) -> list[Path]:
    """Return the keypoints.json files in folders and single ones, each once; that of an earlier merge is left out."""
    earlier = None if out is None else real(out / "keypoints.json")
    found: dict[Path, Path] = {}
    for path in results:
        if not path.exists():
            raise InputError(f"Folder or file {path} not found. Check the spelling and the current folder.")
        for file in sorted(path.rglob("keypoints.json")) if path.is_dir() else [path]:
            if real(file) != earlier:
                found[real(file)] = file

    if not found:
        looked = ", ".join(map(str, results))
        raise InputError(f"No keypoints.json in {looked}. Pass the folders that `lmpnet discover --shard` wrote.")
    return list(found.values())


class _ShardInfo(Struct):
    shard: Shard


class _ShardCategory(Struct):
    keypoints: list[str]


class _ShardDocument(Struct):
    """What a keypoints.json of `discover --shard` has beside its images and annotations."""

    info: dict[str, Any]
    categories: Annotated[list[_ShardCategory], Meta(min_length=1)]
    skipped: list[SkippedImage]


def _read_shard_file(path: Path) -> _ShardFile:
    keypoints = read_keypoints(path)
    try:
        document = check(read_json(path), _ShardDocument)
        shard = check(document.info, _ShardInfo).shard
        refuse_nan(document.info)  # it will be written again
    except SchemaError as error:
        raise InputError(
            f"{path} is not a shard: `lmpnet discover --shard` did not write it ({error}). Remove it from the inputs."
        ) from error

    skipped = [(image.file_name, image.reason) for image in document.skipped]
    return _ShardFile(path, shard, document.info, document.categories[0].keypoints, keypoints, skipped)


def _check_same_content(known: _ShardFile, other: _ShardFile) -> None:
    """Raise InputError unless two files of the same shard hold the same."""
    first, second = (to_coco(file.keypoints, {}, file.names, file.skipped) for file in (known, other))
    if known.shard != other.shard or first != second:
        raise InputError(
            f"{known.path} and {other.path} are both shard {other.shard.index}, with different keypoints. Remove one "
            "of them from the inputs."
        )


def _check_complete(shards: Sequence[Shard]) -> None:
    """Raise InputError unless the shards are all those of one run."""
    if len({shard.run for shard in shards}) > 1:
        raise InputError(
            "These shards belong to different runs: they differ in their number of shards or in the list of images. "
            "Pass the shards of one run only."
        )

    present, of = {shard.index for shard in shards}, shards[0].of
    missing = [str(index) for index in range(1, of + 1) if index not in present]
    if missing:
        raise InputError(
            f"{len(missing)} of {of} shards are missing: {some(missing, 10)}. Run `lmpnet discover --shard I/{of}` for "
            "each of them, with the options of the shards that are there, then merge again."
        )


def _check_same_options(first: _ShardFile, other: _ShardFile) -> None:
    """Raise InputError unless two shards were made with the same options."""
    expected, given = first.options, other.options
    for name in sorted(expected.keys() | given.keys()):
        if expected.get(name) != given.get(name):
            raise InputError(
                f"{first.path} and {other.path} were made with different options: {name} is "
                f"{expected.get(name)!r:.80} and {given.get(name)!r:.80}. Run one of them again with the options of "
                "the other."
            )


def _check_names(keypoints: Sequence[Keypoints], skipped: Skipped, expected: str) -> None:
    """Raise InputError unless the results are those of the images that the run listed."""
    names = sorted([group[0].file_name for group in by_image(keypoints)] + [name for name, _ in skipped])
    if names_sha256(names) != expected:
        raise InputError(
            "The images in these results are not those that the run started with. Start again with `lmpnet discover`."
        )


def _write(
    result: MergeResult, info: dict[str, Any], names: Sequence[str], sources: Sequence[str], started: float
) -> None:
    if result.out is None:
        return

    info = {key: value for key, value in info.items() if key != "shard"} | {"date_created": now()}
    names = names_in_run(names, result.keypoints)
    write_pieces(result.out / "keypoints.json", coco_text(result.keypoints, info, names, result.skipped))

    facts = {"images": result.images, "shards": result.shards, "skipped": len(result.skipped)}
    write_run(result.out, "merge", {"results": list(sources)}, time.perf_counter() - started, **facts)
    update_report(result.out, wanted=False, progress=Progress())  # it would show what was replaced
