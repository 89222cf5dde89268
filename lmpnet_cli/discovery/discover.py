"""`lmpnet discover`: keypoints in every image of a folder, of a video, or in memory.

1. The images are listed, and cut into chunks.
2. A predictor loads images and runs its networks, batch by batch; threads draw overlays while the next batch runs.
3. Each finished chunk is stored, so that an interrupted run can be resumed.
4. `keypoints.json` is written last, and the chunks are removed.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from lmpnet_cli.config import DiscoverConfig, Paths, as_paths, takes_options
from lmpnet_cli.data.boxes import with_boxes
from lmpnet_cli.data.corrections import Corrections, read_corrections
from lmpnet_cli.data.listing import ListedImage, absolute, list_images, real
from lmpnet_cli.data.loader import OVERLAY_SIDE, ImageInMemory, LoadedImage, MemoryImage, list_memory_images
from lmpnet_cli.data.video import Video
from lmpnet_cli.discovery.provenance import Manifest, Shard, describe, settings, take_shard
from lmpnet_cli.discovery.store import ChunkQueue, Skipped, can_resume, images_per_chunk, local_store
from lmpnet_cli.drawing.image_writer import ImageWriter
from lmpnet_cli.drawing.overlays import MANY, draw_overlay
from lmpnet_cli.drawing.panels import Panels
from lmpnet_cli.drawing.video_writer import VideoWriter
from lmpnet_cli.errors import InputError, OptionError, OutputError
from lmpnet_cli.export.convert import write_format
from lmpnet_cli.export.formats import FORMATS, Destination, read_document
from lmpnet_cli.export.formats.document import RANKING_METHODS
from lmpnet_cli.export.report.report import update_report
from lmpnet_cli.export.review import REVIEW, images_to_review, write_review
from lmpnet_cli.inference.predictor import Predictions, Predictor, open_predictor
from lmpnet_cli.io.coco import coco_text, skipped_entries
from lmpnet_cli.io.files import write_pieces
from lmpnet_cli.io.output_folder import clear_folder, lock_output
from lmpnet_cli.io.run_record import now, write_run
from lmpnet_cli.io.runtime import takes_turns
from lmpnet_cli.keypoints import Keypoints, by_image, names_in_run
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

CONTACT_SHEET = "overview.jpg"
RESULTS = ("keypoints.json", "overlays", CONTACT_SHEET, "panels", "run.json", "exports", REVIEW, "report.html")


@dataclass(frozen=True)
class DiscoverResult:
    """The keypoints of every object on the readable images, in the order of `keypoints.json`.

    Attributes:
        keypoints: an entry for each object, and one that is `empty` for an image without an object.
        skipped: (file name, reason) of unreadable images.
        names: of the keypoints, in their order; under the method saliency without `k` most images have fewer.
        method: lmpnet (keypoint i is a rank in its image), parts (the same part in all images) or saliency (a rank).
        out: folder of the files, None where none were asked for.
    """

    keypoints: list[Keypoints]
    skipped: Skipped
    names: tuple[str, ...]
    method: str
    out: Path | None
    seconds: float
    device: str

    @property
    def images(self) -> int:
        """Return the number of images that could be read."""
        return len(by_image(self.keypoints))

    @property
    def objects(self) -> dict[str, int]:
        """Return the number of objects, where they were looked for, and of images without one."""
        if not any(each.window for each in self.keypoints):
            return {}
        empty = sum(each.empty for each in self.keypoints)
        return {"objects_found": len(self.keypoints) - empty, "images_without_object": empty}


@takes_options(DiscoverConfig)
def discover(
    images: Paths | ImageInMemory | Sequence[ImageInMemory],
    *,
    model: LMPNet | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> DiscoverResult:
    """Find keypoints in every image.

    Args:
        images: one or several of: folders, searched in depth, and single files; or one video; or images in memory,
            each an (H, W, 3) uint8 RGB array or a PIL image, which results name image_000000.jpg and so on.
        model: a loaded model, in place of a checkpoint.
        progress: receives the number of finished images, and a warning for every skipped one.
        **options: listed below; without `out` nothing is written.

    Raises:
        LmpnetError: when no image can be read, an option is out of range, or `out` cannot be used.
    """
    in_memory = list_memory_images(images)
    config = DiscoverConfig(images=() if in_memory else as_paths(cast("Paths", images)), **options)
    if config.backend == "ray":
        raise OptionError("For backend='ray' call `lmpnet_cli.discover_on_ray`: its results do not fit into a list.")
    if in_memory:
        _check_in_memory(config)

    def resumes() -> bool:
        return config.out is not None and can_resume(config.out, config.resume, config.overwrite)

    with lock_output(config.out, RESULTS, config.overwrite, resumes):
        return _discover(config, in_memory, model, progress or Progress())


def _check_in_memory(config: DiscoverConfig) -> None:
    """Raise OptionError for options that need image files."""
    given = {name: getattr(config, name) for name in ("resume", "report", "export", "corrections")}
    for name, value in given.items():
        if value:
            raise OptionError(f"{name} needs image files: save the images in a folder, or remove {name}.")


def _discover(
    config: DiscoverConfig, in_memory: Sequence[MemoryImage], model: LMPNet | None, progress: Progress
) -> DiscoverResult:
    files = in_memory or _list_files(config, progress)
    for name in config.export:
        FORMATS[name].check([file.name for file in files])
    if config.boxes is not None:
        files = with_boxes(files, config.boxes, config.min_confidence or 0, progress)

    predictor = open_predictor(config, model)
    found_by = predictor.options()
    config.check_room(found_by.get("objects"), found_by.get("max_objects"))  # an ONNX model decides them itself
    config.check_parts(predictor.method)
    corrections: Corrections | None = None
    if config.corrections is not None:
        corrections = read_corrections(config.corrections, files, predictor.names, progress)
        files = corrections.without_bad(files)
    shard: Shard | None = None
    if config.shard_numbers:
        files, shard = take_shard(files, config.shard_numbers, settings(predictor, config))
    started = time.perf_counter()

    queue = _open_queue(config, predictor, files)
    progress.start("discover", len(files))
    progress.advance(len(files) - len(queue.of_missing(files)))
    with _open_drawings(config, files, predictor, queue) as drawings:
        _compute(predictor, files, corrections, queue, drawings, progress)
        drawings.commit()

    seconds = time.perf_counter() - started
    keypoints, device = queue.keypoints, str(predictor.device)
    names = tuple(names_in_run(predictor.names, keypoints))
    result = DiscoverResult(keypoints, queue.skipped, names, predictor.method, config.out, seconds, device)
    if config.out:
        _write_results(config.out, config, predictor, result, files, shard)
        _write_exports(config.out, config, files, progress)
    queue.remove()
    return result


def _list_files(config: DiscoverConfig, progress: Progress) -> Sequence[ListedImage]:
    """Return the frames of a video, or the images of folders and single files, without earlier results in `out`.

    Raises:
        OutputError: when nothing else is left.
    """
    if config.video:
        return Video(config.video, config.every or 1)
    files = list_images(config.images, config.follow_links, progress=progress)
    if config.out is None:
        return files

    results = [config.out / name for name in ("overlays", CONTACT_SHEET, "panels", "exports")]
    excluded = {real(path) for path in results} | {absolute(path) for path in results}
    kept = []
    for file in files:
        paths = (real(file.path), absolute(file.path))  # both: exports may hold links to the images
        if excluded.isdisjoint(parent for path in paths for parent in (path, *path.parents)):
            kept.append(file)
    if not kept:
        raise OutputError(
            f"All input images are results of an earlier run in {config.out}. Choose another --out or other images."
        )
    return kept


def _open_queue(config: DiscoverConfig, predictor: Predictor, files: Sequence[ListedImage]) -> ChunkQueue:
    """Return the chunks of the run, with those of an earlier run that is resumed."""
    names = [file.name for file in files]
    if config.out is None:
        return ChunkQueue(None, Manifest.of_run(predictor, config, files, max(1, len(files))), names, resume=False)

    store = local_store(config.out)
    if isinstance(files, Video) or any(isinstance(file, MemoryImage) for file in files):  # these cannot be resumed
        store.clear()
        return ChunkQueue(None, Manifest.of_run(predictor, config, files, max(1, len(files))), names, resume=False)

    manifest = Manifest.of_run(predictor, config, files, images_per_chunk(config.chunk, predictor.loader.batch_size))
    return ChunkQueue(store, manifest, names, config.resume)


class _Drawings:
    """The overlays (images or a video) and the relevance maps of a run, which threads draw and write.

    Attributes:
        wanted: whether anything is drawn.
    """

    def __init__(self, config: DiscoverConfig, files: Sequence[ListedImage], legend: Sequence[str]) -> None:
        names = [file.name for file in files if not file.refused]
        self.panels = Panels(config, names)
        self.overlays: ImageWriter | VideoWriter
        if isinstance(files, Video):
            self.overlays = VideoWriter(config.out, files, config.overlays, CONTACT_SHEET, legend)
        else:
            self.overlays = ImageWriter(config.out, "overlays", names, config.overlays, CONTACT_SHEET, legend)
        self.wanted = self.overlays.wanted or self.panels.wanted

    def add(self, loaded: Sequence[LoadedImage], found: Sequence[Keypoints], predictions: Predictions) -> None:
        """Queue the drawings of one batch, which holds all objects of its images."""
        previews = {image.name: image.preview for image in loaded}
        for objects in by_image(found):
            preview = previews[objects[0].file_name]
            if preview is not None:
                self.overlays.add(objects[0].file_name, partial(draw_overlay, preview, objects))
        self.panels.add_batch(loaded, found, predictions.relevance)

    def settle(self) -> None:
        """Wait for the queued drawings."""
        self.overlays.settle()
        self.panels.settle()

    def done(self, images: int) -> int:
        """Return for how many of the first `images` readable images all drawings are written."""
        return min([each.done for each in (self.overlays, self.panels) if each.wanted], default=images)

    def commit(self) -> None:
        """Wait for the queued drawings, and replace those of an earlier run by them."""
        self.overlays.commit()
        self.panels.commit()


@contextmanager
def _open_drawings(
    config: DiscoverConfig, files: Sequence[ListedImage], predictor: Predictor, queue: ChunkQueue
) -> Iterator[_Drawings]:
    """Open the drawings behind those of the chunks that are finished; they stay where the run can be resumed."""
    named = predictor.method not in RANKING_METHODS and len(predictor.names) <= MANY  # more are dots without numbers
    drawings = _Drawings(config, files, predictor.names if named else ())
    writers = (drawings.overlays, drawings.panels)
    with ExitStack() as stack:
        for writer in writers:
            # with all chunks finished, an earlier run may have begun to replace drawings
            writer.take_up(queue.drawn_before, committed=not queue.missing)
            stack.enter_context(writer)
        try:
            yield drawings
        finally:
            for writer in writers:
                writer.kept = queue.begun


def _compute(
    predictor: Predictor,
    files: Sequence[ListedImage],
    corrections: Corrections | None,
    queue: ChunkQueue,
    drawings: _Drawings,
    progress: Progress,
) -> None:
    """Compute the missing chunks batch by batch: keypoints go into the queue, images into the drawings."""
    video = files if isinstance(files, Video) else None
    missing = video or queue.of_missing(files)
    if not missing:
        return
    preview = OVERLAY_SIDE if drawings.wanted else None
    readable = queue.drawn_before
    queued = 0  # skipped images that are in the queue

    try:
        for loaded, predictions in predictor.batches(missing, progress, preview):
            found = predictions.keypoints()
            if video:
                found = [
                    replace(each, frame=image.frame, time=image.time) for image, each in zip(loaded, found, strict=True)
                ]
            if corrections:
                found = corrections.applied(found)
            drawings.add(loaded, found, predictions)
            if takes_turns(predictor.device):
                drawings.settle()

            queue.add(found, predictor.loader.skipped[queued:])
            queued, readable = len(predictor.loader.skipped), readable + len(by_image(found))
            queue.write(drawings.done(readable))
            del loaded, predictions  # before the next batch takes as much memory
    except InputError:
        # unreadable images alone are no reason to stop where an earlier run has read others
        if not queue.drawn_before or len(predictor.loader.skipped) < len(missing):
            raise

    # unreadable images at the end have no batch
    queue.add([], predictor.loader.skipped[queued:])
    if video:
        queue.end()
    drawings.settle()
    queue.write(readable)


def _write_results(
    out: Path,
    config: DiscoverConfig,
    predictor: Predictor,
    result: DiscoverResult,
    files: Sequence[ListedImage],
    shard: Shard | None,
) -> None:
    """Write keypoints.json and run.json."""
    info = describe(predictor, config) | {"date_created": now()}
    if isinstance(files, Video):
        info["video"] = files.record
    elif shard:
        info["shard"] = asdict(shard)
    write_pieces(out / "keypoints.json", coco_text(result.keypoints, info, result.names, result.skipped))

    write_run(
        out,
        "discover",
        config.options(),
        result.seconds,
        images=result.images,
        **result.objects,
        skipped=skipped_entries(result.skipped),
        device=result.device,
        precision="bf16" if predictor.bfloat16 else "32",
        input_size=predictor.loader.size,
        method=predictor.method,
        **predictor.record(),
    )


def _write_exports(out: Path, config: DiscoverConfig, files: Sequence[ListedImage], progress: Progress) -> None:
    """Write other formats, the review and the report from keypoints.json, in place of those of an earlier run."""
    clear_folder(out / "exports")
    (out / REVIEW).unlink(missing_ok=True)
    reviewed = None
    if config.export or config.review:
        document = read_document(out / "keypoints.json")  # as `lmpnet convert` would read it
        paths = {file.name: file.path for file in files}
        destination = Destination(out, paths, config.images, link_images=config.link_images, progress=progress)
        for name in config.export:
            write_format(document, name, replace(destination, path=out / "exports" / name))
        if config.review:
            reviewed = images_to_review(document, config.review)
            write_review(out / REVIEW, document, reviewed)
    update_report(out, config.report, progress, reviewed)
