"""`lmpnet merge`: the shards of one run as one result, the same as a run in one go."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmpnet_cli.config import MergeConfig
from lmpnet_cli.data.listing import real
from lmpnet_cli.discovery.provenance import names_sha256
from lmpnet_cli.discovery.ray.parquet import from_parquet
from lmpnet_cli.discovery.ray.run import MANIFEST, read_manifest
from lmpnet_cli.discovery.ray.storage import Store
from lmpnet_cli.discovery.ray.worker import part_name
from lmpnet_cli.discovery.shards import Shard, check_complete, read_shard
from lmpnet_cli.errors import WRONG_SHAPE, InputError
from lmpnet_cli.io.coco import coco_text, read_keypoints, to_coco
from lmpnet_cli.io.files import write_pieces
from lmpnet_cli.io.json_input import read_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import now, write_run
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.progress import Progress

RESULTS = ("keypoints.json", "run.json")
OF_EACH = ("shard", "date_created")  # what the shards of one run may differ in


@dataclass(frozen=True)
class MergeResult:
    """The keypoints of all shards.

    Attributes:
        skipped: (file name, reason) of unreadable images.
        shards: how many there were.
        twice: files of shards that were there already, with the same content.
    """

    keypoints: list[Keypoints]
    skipped: list[tuple[str, str]]
    shards: int
    twice: list[Path]
    out: Path | None


@dataclass(frozen=True)
class _Part:
    path: Path
    shard: Shard
    info: dict[str, Any]
    names: list[str]
    keypoints: list[Keypoints]
    skipped: list[tuple[str, str]]


def merge(results: Any, *, progress: Progress | None = None, **options: Any) -> MergeResult:
    """Joins the results of `discover --shard 1/N` to `N/N`.

    Args:
        results: folders, searched in depth, and single `keypoints.json` files.
        **options: the fields of `MergeConfig`; without `out` nothing is written.

    Raises:
        InputError: when a shard is missing, damaged, or of another run, or is there twice with other keypoints.
        OutputError: when `out` cannot be used.
    """
    config = MergeConfig(results=results, **options)
    progress = progress or Progress()
    with lock_output(config.out, RESULTS, config.overwrite):
        return _merge(config, progress)


def _merge(config: MergeConfig, progress: Progress) -> MergeResult:
    started = time.perf_counter()
    if len(config.results) == 1 and MANIFEST in (store := Store(config.results[0])).names():
        return _merge_blocks(store, config, progress)
    paths = _listed(config.results, config.out)
    progress.start("merge", len(paths))
    parts: dict[int, _Part] = {}
    twice = []
    for path in paths:
        part = _read(path)
        known = parts.setdefault(part.shard.index, part)
        if known is not part:
            _same(known, part)
            twice.append(path)
            progress.warn(f"{path} is shard {part.shard.index} again, with the same keypoints as {known.path}.")
        progress.advance(1)
    check_complete([part.shard for part in parts.values()])
    first = parts[1]
    for part in parts.values():
        _one_run(first, part)
    keypoints = sorted((each for part in parts.values() for each in part.keypoints), key=lambda each: each.file_name)
    skipped = sorted(entry for part in parts.values() for entry in part.skipped)
    _check_names(keypoints, skipped, first.shard.names_sha256)
    result = MergeResult(keypoints, skipped, len(parts), twice, config.out)
    _write(result, first.info, first.names, [path.as_posix() for path in paths], started)
    return result


def _merge_blocks(store: Store, config: MergeConfig, progress: Progress) -> MergeResult:
    """Joins the blocks of a cluster; they are in the order of the names already."""
    started = time.perf_counter()
    manifest = read_manifest(store)
    there = store.names()
    missing = [name for name in map(part_name, range(manifest["blocks"])) if name not in there]
    if missing:
        raise InputError(
            f"Of {manifest['blocks']} blocks in {store.address} {len(missing)} are missing, {missing[0]} first. Go on "
            "with `lmpnet discover --backend ray --resume`, then merge again."
        )
    keypoints: list[Keypoints] = []
    skipped: list[tuple[str, str]] = []
    progress.start("merge", manifest["listed"])
    for name in map(part_name, range(manifest["blocks"])):
        found, unreadable = from_parquet(f"{store.address}/{name}", store.read(name))
        keypoints += found
        skipped += unreadable
        progress.advance(len(found) + len(unreadable))
    _check_names(keypoints, skipped, manifest["names_sha256"])
    result = MergeResult(keypoints, skipped, manifest["blocks"], [], config.out)
    _write(result, manifest["info"], manifest["keypoints"], [store.address], started)
    return result


def _check_names(keypoints: Sequence[Keypoints], skipped: Sequence[tuple[str, str]], expected: str) -> None:
    names = sorted([each.file_name for each in keypoints] + [name for name, _ in skipped])
    if names_sha256(names) != expected:
        raise InputError(
            "The images in these results are not those that the run began with. Begin again with `lmpnet discover`."
        )


def _write(
    result: MergeResult, info: dict[str, Any], names: Sequence[str], sources: Sequence[str], started: float
) -> None:
    if result.out is None:
        return
    info = {key: value for key, value in info.items() if key != "shard"} | {"date_created": now()}
    write_pieces(result.out / "keypoints.json", coco_text(result.keypoints, info, names, result.skipped))
    facts = {"images": len(result.keypoints), "shards": result.shards, "skipped": len(result.skipped)}
    write_run(result.out, "merge", {"results": list(sources)}, time.perf_counter() - started, **facts)


def _listed(results: Sequence[Path], out: Path | None) -> list[Path]:
    own = None if out is None else real(out / "keypoints.json")
    found: dict[Path, Path] = {}
    for path in results:
        if not path.exists():
            raise InputError(f"There is no folder or file {path}. Check the spelling and the current folder.")
        for file in sorted(path.rglob("keypoints.json")) if path.is_dir() else [path]:
            if real(file) != own:  # that of an earlier merge
                found[real(file)] = file
    if not found:
        looked = ", ".join(map(str, results))
        raise InputError(f"No keypoints.json in {looked}. Name the folders that `lmpnet discover --shard` wrote.")
    return list(found.values())


def _read(path: Path) -> _Part:
    keypoints = read_keypoints(path)
    document = read_json(path)
    try:
        json.dumps(document["info"], allow_nan=False)  # as it will be written
        return _Part(
            path,
            read_shard(document["info"]),
            document["info"],
            [str(name) for name in document["categories"][0]["keypoints"]],
            keypoints,
            [(str(entry["file_name"]), str(entry["reason"])) for entry in document["skipped"]],
        )
    except WRONG_SHAPE as error:
        raise InputError(
            f"{path} is no shard: it was not written by `lmpnet discover --shard` ({error!r}). Leave it out."
        ) from error


def _same(known: _Part, other: _Part) -> None:
    one, again = (to_coco(part.keypoints, {}, part.names, part.skipped) for part in (known, other))
    if known.shard != other.shard or one != again:
        raise InputError(
            f"{known.path} and {other.path} are both shard {other.shard.index}, with different keypoints. Leave one "
            "of them out."
        )


def _one_run(first: _Part, part: _Part) -> None:
    one, other = ({**each.info, **each.shard.options} for each in (first, part))
    for key in sorted((one.keys() | other.keys()) - set(OF_EACH)):
        if one.get(key) != other.get(key):
            raise InputError(
                f"{part.path} was made with other options than {first.path}: {key} is {other.get(key)!r:.80}, not "
                f"{one.get(key)!r:.80}. Run one of them again."
            )
    if first.names != part.names:
        raise InputError(f"{part.path} has other keypoints than {first.path}. Run one of them again.")
