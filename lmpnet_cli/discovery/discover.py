"""`lmpnet discover`: keypoints on every image of a folder.

1. A finder reads pictures and runs its networks.
2. Overlays are drawn by threads while the next batch runs; `keypoints.json` is written last.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.listing import ListedImage, absolute, list_images, real
from lmpnet_cli.data.loader import OVERLAY_SIDE
from lmpnet_cli.data.video import Video
from lmpnet_cli.discovery.provenance import describe, settings, what_decides
from lmpnet_cli.discovery.shards import take
from lmpnet_cli.discovery.store import JOURNAL, Journal, may_go_on
from lmpnet_cli.drawing.image_writer import DrawingQueue, ImageWriter
from lmpnet_cli.drawing.overlays import draw_overlay
from lmpnet_cli.drawing.panels import Panels
from lmpnet_cli.drawing.video_writer import VideoWriter
from lmpnet_cli.errors import InputError, OptionError, OutputError
from lmpnet_cli.export.convert import write_format
from lmpnet_cli.export.formats import FORMATS, read_document
from lmpnet_cli.export.report.report import update_report
from lmpnet_cli.inference.predictor import Predictor, open_predictor
from lmpnet_cli.io.coco import coco_text, skipped_entries
from lmpnet_cli.io.files import write_pieces
from lmpnet_cli.io.output_folder import clear_folder, lock_output
from lmpnet_cli.io.run_record import now, write_run
from lmpnet_cli.io.runtime import seed_everything, takes_turns
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

SHEET = "overview.jpg"
RESULTS = ("keypoints.json", "overlays", SHEET, "panels", "run.json", "exports", "report.html")


@dataclass(frozen=True)
class DiscoverResult:
    """The keypoints of every readable image, in the order of `keypoints.json`.

    Attributes:
        skipped: (file name, reason) of unreadable images.
        names: of the keypoints, in their order.
        method: lmpnet (ranks in each image), parts (the same part in every image) or saliency.
        out: folder of the files, None where none were asked for.
    """

    keypoints: list[Keypoints]
    skipped: list[tuple[str, str]]
    names: tuple[str, ...]
    method: str
    out: Path | None
    seconds: float
    device: str


def discover(
    images: Any, *, model: LMPNet | None = None, progress: Progress | None = None, **options: Any
) -> DiscoverResult:
    """Finds keypoints on every image.

    Args:
        images: folders, searched in depth, and single files, one or several.
        model: a loaded model, in place of a checkpoint.
        progress: told about every batch and every skipped picture.
        **options: the fields of `DiscoverConfig`; without `out` nothing is written.

    Raises:
        LmpnetError: when there is nothing to read, an option is out of range, or `out` cannot be used.
    """
    config = DiscoverConfig(images=images, **options)
    if config.backend == "ray":
        raise OptionError("From Python a cluster is `lmpnet_cli.discover_on_ray`: its results do not fit into a list.")
    out = config.out

    def goes_on() -> bool:
        return out is not None and may_go_on(out, config.resume, config.overwrite)

    with lock_output(out, RESULTS, config.overwrite, goes_on):
        return _discover(config, model, progress or Progress())


def _discover(config: DiscoverConfig, model: LMPNet | None, progress: Progress) -> DiscoverResult:
    video = Video(config.video, config.every or 1) if config.video else None
    files: Sequence[ListedImage] = video or _without_own_results(
        list_images(config.images, config.follow_links), config.out
    )
    for name in config.export:
        FORMATS[name].check([file.name for file in files])
    seed_everything(config.seed)
    predictor = open_predictor(config, model)
    shard = None
    if config.shard_numbers:
        files, shard = take(list(files), config.shard_numbers, settings(predictor, config))
    started = time.perf_counter()
    names = [file.name for file in files if not file.refused]
    journal = Journal(None if video else config.out, what_decides(predictor, config, files), config.resume)
    if video and config.out:
        (config.out / JOURNAL).unlink(missing_ok=True)  # of pictures; films are read in one go
    progress.start("discover", len(files))
    progress.advance(journal.images)
    with ExitStack() as stack:
        stack.callback(journal.close)
        panels = Panels(config, names)
        drawings: ImageWriter | VideoWriter = (
            VideoWriter(config.out, video, config.overlays, SHEET)
            if video
            else ImageWriter(config.out, "overlays", names, config.overlays, SHEET)
        )
        for each in (drawings, panels):
            each.take_up(len(journal.keypoints), journal.committed)
            stack.enter_context(each)
            stack.callback(_keep, each, journal)  # before it is left, however that comes about
        _find(config, predictor, files, progress, journal, drawings, panels)
        journal.commit()
        drawings.commit()
        panels.commit()
        seconds = time.perf_counter() - started
        result = DiscoverResult(
            journal.keypoints,
            journal.skipped,
            tuple(predictor.names),
            predictor.method,
            config.out,
            seconds,
            str(predictor.device),
        )
        if config.out:
            more = {"video": video.record} if video else {"shard": asdict(shard)} if shard else {}
            _write(config.out, config, predictor, result, more)
            _hand_on(config.out, config, files, progress)
        journal.remove()
    return result


def _keep(drawings: DrawingQueue, journal: Journal) -> None:
    drawings.kept = journal.kept


def _find(
    config: DiscoverConfig,
    predictor: Predictor,
    files: Sequence[ListedImage],
    progress: Progress,
    journal: Journal,
    drawings: ImageWriter | VideoWriter,
    panels: Panels,
) -> None:
    """Batch by batch, from where the journal ends: keypoints into the journal, pictures into the drawings."""
    video = files if isinstance(files, Video) else None
    rest = files if video else files[journal.images :]
    if not rest:
        return
    shown = OVERLAY_SIDE if drawings.wanted or panels.wanted else None
    begun, size = journal.images, predictor.loader.batch_size
    skipped = 0  # of the rest, those that the journal has already
    try:
        for pictures, predictions in predictor.batches(rest, progress, shown):
            results = predictions.keypoints()
            if video:
                results = [
                    replace(each, frame=picture.frame, time=picture.time)
                    for picture, each in zip(pictures, results, strict=True)
                ]
            for picture, each in zip(pictures, results, strict=True):
                if picture.preview is not None:
                    drawings.add(picture.name, partial(draw_overlay, picture.preview, each))
            if takes_turns(predictor.device):
                drawings.settle()
            panels.add_batch(pictures, results, predictions.relevance)
            # batches without a readable picture are not handed on, and go with the next one
            end = begun + min((pictures[-1].index // size + 1) * size, len(rest))
            new, skipped = predictor.loader.skipped[skipped:], len(predictor.loader.skipped)
            journal.add(end - journal.images, results, new, len(journal.keypoints) + len(results))
            journal.write(min([each.done for each in (drawings, panels) if each.wanted] or [len(journal.keypoints)]))
            del pictures, predictions  # as in `Engine.batches`
    except InputError:
        if not journal.keypoints or len(predictor.loader.skipped) < len(rest):
            raise  # unreadable pictures alone are no reason to stop, where an earlier run has read others
    journal.add(len(files) - journal.images, [], predictor.loader.skipped[skipped:], len(journal.keypoints))
    drawings.settle()
    panels.settle()
    journal.write(len(journal.keypoints))


def _hand_on(out: Path, config: DiscoverConfig, files: Sequence[ListedImage], progress: Progress) -> None:
    """Other formats and the page, from what was written; those of an earlier run go."""
    clear_folder(out / "exports")
    if config.export:
        document = read_document(out / "keypoints.json")  # as `lmpnet convert` would read it
        pictures = {file.name: file.path for file in files}
        for name in config.export:
            write_format(document, name, out / "exports" / name, pictures, inputs=config.images)
    update_report(out, config.report, progress)


def _without_own_results(files: list[ListedImage], out: Path | None) -> list[ListedImage]:
    """Pictures that an earlier run into the same folder has drawn are no input.

    Raises:
        OutputError: when nothing else is left.
    """
    if out is None:
        return files
    names = ("overlays", SHEET, "panels", "exports")
    own = {real(out / name) for name in names} | {absolute(out / name) for name in names}
    kept = []
    for file in files:
        # both: exports hold links to the pictures
        places = (real(file.path), absolute(file.path))
        if own.isdisjoint(parent for place in places for parent in (place, *place.parents)):
            kept.append(file)
    if not kept:
        raise OutputError(f"All images lie among the results in {out}. Choose another --out.")
    return kept


def _write(
    out: Path, config: DiscoverConfig, predictor: Predictor, result: DiscoverResult, more: dict[str, Any]
) -> None:
    info = describe(predictor, config) | {"date_created": now()} | more
    write_pieces(out / "keypoints.json", coco_text(result.keypoints, info, predictor.names, result.skipped))
    write_run(
        out,
        "discover",
        config.options(),
        result.seconds,
        images=len(result.keypoints),
        skipped=skipped_entries(result.skipped),
        device=result.device,
        precision="bf16" if predictor.bfloat16 else "32",
        input_size=predictor.loader.size,
        method=predictor.method,
        **predictor.record(),
    )
