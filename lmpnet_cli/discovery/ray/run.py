"""`discover --backend ray`: images of any folder or bucket, on all machines of a Ray cluster.

The images are cut into chunks. Workers compute them and write them into one `ChunkStore`, whose folder is the result:
`lmpnet merge` makes a keypoints.json of it. A resumed run computes the chunks that are missing. A chunk that Ray gives
to a second worker, because the first was killed, is written again under its own name.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmpnet_cli import errors
from lmpnet_cli.config import DiscoverConfig, Paths, as_paths, takes_options, url_of
from lmpnet_cli.data.boxes import boxes_of
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.discovery.provenance import Manifest
from lmpnet_cli.discovery.ray.resources import join, load_ray, place_workers
from lmpnet_cli.discovery.ray.storage import THREADS, SourceImage, list_sources
from lmpnet_cli.discovery.ray.worker import Worker, chunk_row
from lmpnet_cli.discovery.store import ChunkStore, chunk_name, cut_into_chunks, images_per_chunk
from lmpnet_cli.errors import InputError, LmpnetError, OptionError, OutputError
from lmpnet_cli.inference.predictor import Predictor, open_predictor
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.onnx_file import first_look_path
from lmpnet_cli.io.run_record import now, versions
from lmpnet_cli.io.storage import open_folder, reason
from lmpnet_cli.progress import Progress

CHUNK = 1024  # images per chunk
ATTEMPTS = 3  # for a chunk whose worker is lost
COUNTS = ("images", "found", "skipped")


@dataclass(frozen=True)
class ClusterResult:
    """What all chunks hold together.

    Attributes:
        images: the number of images that could be read.
        found: the number of keypoints found in them.
        skipped: the number of images that could not be read.
        chunks: the number of chunks.
        done_before: the number of chunks of an earlier run, which this one did not repeat.
    """

    images: int
    found: int
    skipped: int
    names: tuple[str, ...]
    method: str
    chunks: int
    done_before: int
    out: Path
    seconds: float


@takes_options(DiscoverConfig)
def discover_on_ray(images: Paths, *, progress: Progress | None = None, **options: Any) -> ClusterResult:
    """Find keypoints in every image, on all machines of a Ray cluster, or on the processors of this one.

    Args:
        images: a local folder that all workers see, or the address of a remote one, such as s3://bucket/folder.
        progress: receives the number of finished images.
        **options: listed below.

    Raises:
        LmpnetError: when a folder cannot be reached, an option cannot be used, or a worker fails repeatedly.
    """
    config = DiscoverConfig(images=as_paths(images), **(options | {"backend": "ray"}))
    if config.out is None:
        raise OptionError("--backend ray needs a folder for its chunks: pass --out.")
    # workers have current folders of their own
    out = config.out if url_of(config.out) else config.out.absolute()
    config = replace(config, out=out)
    progress = progress or Progress()
    ray = load_ray()
    started = time.perf_counter()

    sources = list_sources(config.images, config.follow_links, progress)
    if config.boxes is not None:
        names = [source.name for source in sources]
        boxes = boxes_of(names, config.boxes, config.min_confidence or 0, progress)
        sources = [source._replace(boxes=boxes[source.name]) for source in sources]
    predictor = open_predictor(replace(config.worker_config, device="cpu"))  # it does not run, but describes the run
    manifest = _manifest(config, predictor, sources)
    chunks = cut_into_chunks(sources, manifest.chunk)

    store = ChunkStore(open_folder(out))
    done = _begin(store, manifest, chunks, config)
    progress.start("discover", len(sources))
    progress.advance(sum(len(chunks[number]) for number in done))

    counts = list(done.values())
    rows = [chunk_row(number, chunk) for number, chunk in enumerate(chunks) if number not in done]
    for row in _compute(ray, rows, config) if rows else ():
        counts.append({name: row[name] for name in COUNTS})
        progress.advance(len(chunks[row["number"]]))

    totals = {name: sum(each[name] for each in counts) for name in COUNTS}
    _check_complete(store, manifest, totals)
    seconds = time.perf_counter() - started
    store.complete(manifest, {**totals, "date_created": now(), "seconds": round(seconds, 2), "versions": versions()})
    return ClusterResult(
        **totals,
        names=tuple(predictor.names),
        method=predictor.method,
        chunks=len(chunks),
        done_before=len(done),
        out=out,
        seconds=seconds,
    )


def _manifest(config: DiscoverConfig, predictor: Predictor, sources: Sequence[SourceImage]) -> Manifest:
    files = [ListedImage(Path(source.path), source.name) for source in sources]
    chunk = images_per_chunk(config.chunk or CHUNK, predictor.loader.batch_size)
    return Manifest.of_run(predictor, config, files, chunk)


def _begin(
    store: ChunkStore, manifest: Manifest, chunks: Sequence[Sequence[SourceImage]], config: DiscoverConfig
) -> dict[int, dict[str, int]]:
    """Begin a run in the store, or resume the one in it; return what the finished chunks hold, by their number.

    Raises:
        OutputError: when the folder holds a run, and neither --resume nor --overwrite is given.
        InputError: when the run to resume is another one.
    """
    begun, numbers = store.begun(), store.numbers()
    if config.overwrite or not (begun or numbers):
        store.begin(manifest)
        return {}
    where = store.folder.address
    if not begun:
        raise OutputError(
            f"{where} already holds {chunk_name(numbers[0])}. Choose another --out, or replace it with --overwrite."
        )
    if not config.resume:
        raise OutputError(
            f"{where} already holds a run with {len(numbers)} of {store.manifest().chunks} chunks. Add --resume to "
            "continue it, or --overwrite to start again."
        )
    store.check_same(manifest)

    def counts_of(number: int) -> dict[str, int] | None:
        chunk = store.intact(number, [source.name for source in chunks[number]])
        return None if chunk is None else chunk.counts

    numbers = [number for number in numbers if number < len(chunks)]
    with ThreadPoolExecutor(THREADS) as pool:
        counts = dict(zip(numbers, pool.map(counts_of, numbers), strict=True))
    return {number: each for number, each in counts.items() if each is not None}


def _compute(ray: Any, rows: list[dict[str, Any]], config: DiscoverConfig) -> Iterator[dict[str, Any]]:
    """Have the workers compute chunks; yield what each holds, in the order in which they are finished."""
    joined = not ray.is_initialized()
    try:
        if joined:
            join(ray)
        yield from _map_rows(ray, rows, config)
    except LmpnetError:
        raise
    except Exception as error:  # Ray has many, for workers that were lost and for what they did not expect
        raise InputError(
            f"A worker failed: {reason(error)}. Complete chunks are kept: run the command again with --resume."
        ) from error
    finally:
        if joined:
            ray.shutdown()


def _map_rows(ray: Any, rows: list[dict[str, Any]], config: DiscoverConfig) -> Iterator[dict[str, Any]]:
    checkpoint = config.checkpoint or bundled_checkpoint()
    files = [path for path in (checkpoint, first_look_path(checkpoint)) if path.is_file()]
    weights = [(path.name, path.read_bytes()) for path in files]
    workers, resources = place_workers(ray, config)
    arguments = {"config": config, "weights": weights, "cores": resources["num_cpus"]}
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Worker,
        fn_constructor_kwargs=arguments,
        max_task_retries=ATTEMPTS,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
        **resources,
    )

    for row in data.iter_rows():
        if row["error"]:
            kind, _, message = row["error"].partition(": ")
            raise getattr(errors, kind)(message)
        yield row


def _check_complete(store: ChunkStore, manifest: Manifest, totals: dict[str, int]) -> None:
    """Raise an error unless all chunks are in the store and any image could be read."""
    missing = set(range(manifest.chunks)) - set(store.numbers())
    if missing:
        raise OutputError(
            f"{len(missing)} of {manifest.chunks} chunks are not in {store.folder.address}: on the workers, that path "
            "is another folder. Use an --out that all machines share."
        )
    if not totals["images"]:
        raise InputError(
            f"None of the {totals['skipped']} images can be read; {chunk_name(0)} in {store.folder.address} lists the "
            "reasons."
        )
