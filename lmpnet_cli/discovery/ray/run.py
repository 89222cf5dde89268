"""`discover --backend ray`: pictures of any folder or bucket, on all machines of a Ray cluster.

The pictures are cut into blocks. Each worker takes block after block and writes each as one Parquet file, whole or not
at all. `manifest.json` says what the run is; a run that was cut off goes on with the blocks that have no file yet. A
block that Ray gives to a second worker, since the first was killed, is written again under its own name.
"""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmpnet_cli import errors
from lmpnet_cli.config import DiscoverConfig, url_of
from lmpnet_cli.discovery.provenance import describe, names_sha256, settings
from lmpnet_cli.discovery.ray.parquet import summary
from lmpnet_cli.discovery.ray.resources import join, load_ray, place_workers
from lmpnet_cli.discovery.ray.storage import THREADS, Store, list_places, reason
from lmpnet_cli.discovery.ray.worker import Worker, part_name
from lmpnet_cli.errors import WRONG_SHAPE, InputError, LmpnetError, OptionError, OutputError
from lmpnet_cli.inference.predictor import open_predictor
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.json_input import parse_json
from lmpnet_cli.io.run_record import now, versions
from lmpnet_cli.progress import Progress

MANIFEST = "manifest.json"
OF_A_RUN = ("format_version", "info", "options", "listed", "names_sha256", "block", "blocks", "keypoints")
FORMAT_VERSION = 1
TRIES = 3  # of a block whose worker was lost
COUNTS = ("images", "found", "skipped")


@dataclass(frozen=True)
class ClusterResult:
    """What all blocks hold together.

    Attributes:
        images: that could be read.
        found: keypoints on them.
        skipped: pictures that could not be read.
        blocks: how many files there are.
        done_before: those of an earlier run, which this one did not repeat.
    """

    images: int
    found: int
    skipped: int
    names: tuple[str, ...]
    method: str
    blocks: int
    done_before: int
    out: Path
    seconds: float


def discover_on_ray(images: Any, *, progress: Progress | None = None, **options: Any) -> ClusterResult:
    """Finds keypoints on every image, on all machines of a Ray cluster, or the processors of this one.

    Args:
        images: a local folder that all workers see, or the address of a remote one, such as s3://bucket/folder.
        **options: the fields of `DiscoverConfig`.

    Raises:
        LmpnetError: when a place cannot be reached, an option cannot be used, or a worker fails again and again.
    """
    config = DiscoverConfig(images=images, **(options | {"backend": "ray"}))
    if config.out is None:
        raise OptionError("--backend ray writes its results block by block: name a folder for them with --out.")
    # workers have current folders of their own
    out = config.out if url_of(config.out) else config.out.absolute()
    config = replace(config, out=out)
    progress = progress or Progress()
    ray = load_ray()
    started = time.perf_counter()
    store = Store(out)
    places = list_places(config.images, config.follow_links)
    for _, name in places:
        if not name.isprintable() or name.encode(errors="replace").decode() != name:
            raise InputError(
                f"The name {name!r} cannot be written into Parquet files. Rename it, or use --backend torch."
            )
    weights = config.checkpoint or bundled_checkpoint()
    predictor = open_predictor(replace(config.worker_config, device="cpu"))  # here it only says what it is
    blocks = [places[start : start + config.chunk] for start in range(0, len(places), config.chunk)]
    manifest = {
        "format_version": FORMAT_VERSION,
        "info": describe(predictor, config),
        "options": settings(predictor, config),
        "listed": len(places),
        "names_sha256": names_sha256(name for _, name in places),
        "block": config.chunk,
        "blocks": len(blocks),
        "keypoints": list(predictor.names),
    }
    done = _begin(store, manifest, config)
    totals = {key: sum(each[key] for each in done.values()) for key in COUNTS}
    progress.start("discover", len(places))
    progress.advance(sum(len(blocks[number]) for number in done))
    rows: list[dict[str, Any]] = [
        {"number": number, "addresses": [each[0] for each in block], "names": [each[1] for each in block]}
        for number, block in enumerate(blocks)
        if number not in done
    ]
    for row in _worked(ray, rows, config, (weights.name, weights.read_bytes())) if rows else ():
        totals = {key: totals[key] + row[key] for key in COUNTS}
        progress.advance(len(blocks[row["number"]]))
    lost = {part_name(number) for number in range(len(blocks))} - set(store.names())
    if lost:
        raise OutputError(
            f"{len(lost)} of {len(blocks)} blocks are not in {store.address}: the workers have another folder of that "
            "name. Name an --out that all machines share."
        )
    if not totals["images"]:
        raise InputError(f"None of the {len(places)} images can be read; {part_name(0)} holds the reasons.")
    seconds = time.perf_counter() - started
    facts = {"complete": True, "date_created": now(), "seconds": round(seconds, 2), **totals, "versions": versions()}
    store.write(MANIFEST, json.dumps(manifest | facts, indent=2).encode())
    return ClusterResult(
        **totals,
        names=tuple(predictor.names),
        method=predictor.method,
        blocks=len(blocks),
        done_before=len(done),
        out=out,
        seconds=seconds,
    )


def read_manifest(store: Store) -> dict[str, Any]:
    """What a run says of itself.

    Raises:
        InputError: when it is none of this version.
    """
    try:
        manifest = parse_json(store.read(MANIFEST))
        if manifest["format_version"] == FORMAT_VERSION:
            return {key: manifest[key] for key in OF_A_RUN}
    except WRONG_SHAPE as error:
        raise InputError(f"{store.address}/{MANIFEST} cannot be read ({error!r:.200}).") from error
    raise InputError(f"{store.address}/{MANIFEST} was written by another version of lmpnet.")


def _begin(store: Store, manifest: dict[str, Any], config: DiscoverConfig) -> dict[int, dict[str, int]]:
    """The blocks that are done, with what they hold; the manifest is there afterwards."""
    there = store.names()
    # those written aside are of workers that were killed
    parts = [name for name in there if re.fullmatch(r"part-\d{6,}\.parquet", name)]
    aside = [name for name in there if re.fullmatch(r"\.(part-\d{6,}\.parquet|manifest\.json)\.\d+", name)]
    if MANIFEST in there and not config.overwrite:
        known = read_manifest(store)
        if not config.resume:
            raise OutputError(
                f"{store.address} already holds a run with {len(parts)} of {known['blocks']} blocks. Add --resume to "
                "go on with it, or --overwrite to begin again."
            )
        differing = [key for key in OF_A_RUN if known[key] != manifest[key]]
        if differing:
            raise OutputError(
                f"The run in {store.address} was of other images or options ({', '.join(differing)} differ). Repeat it "
                "as it was, choose another --out, or begin again with --overwrite."
            )
        numbers = [number for number in range(manifest["blocks"]) if part_name(number) in there]

        def counts_of(number: int) -> dict[str, int] | None:
            with store.opened(part_name(number)) as file:
                return summary(file)

        with ThreadPoolExecutor(THREADS) as pool:
            summaries = dict(zip(numbers, pool.map(counts_of, numbers), strict=True))
        return {number: counts for number, counts in summaries.items() if counts is not None}
    if parts and not config.overwrite:
        raise OutputError(f"{store.address} already holds {parts[0]}. Choose another --out, or add --overwrite.")
    store.remove([name for name in there if name in (MANIFEST, *parts, *aside)])
    store.write(MANIFEST, json.dumps(manifest | {"complete": False}, indent=2).encode())
    return {}


def _worked(ray: Any, rows: list[dict[str, Any]], config: DiscoverConfig, weights: tuple[str, bytes]) -> Any:
    """Yields what each block holds, in the order in which they are done."""
    began = not ray.is_initialized()
    try:
        if began:
            join(ray)
        workers, resources = place_workers(ray, config)
        data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Worker,
            fn_constructor_kwargs={"config": config, "weights": weights, "cores": resources["num_cpus"]},
            max_task_retries=TRIES,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
            **resources,
        )
        for row in data.iter_rows():
            if row["error"]:
                kind, _, message = row["error"].partition(": ")
                raise getattr(errors, kind)(message)
            yield row
    except LmpnetError:
        raise
    except Exception as error:  # Ray has many, for workers that were lost and for what they did not expect
        raise InputError(f"A worker failed: {reason(error)}. What is done stays: go on with --resume.") from error
    finally:
        if began:
            ray.shutdown()
