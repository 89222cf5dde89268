"""`lmpnet discover`: k keypoints on every image of a folder.

1. `Engine.batches` decodes pictures and runs both networks.
2. `find_keypoints` maps a batch to keypoints: no file, no global state, no printing.
3. Overlays are drawn by threads while the next batch runs; `keypoints.json` is written last.
"""

import os
import shutil
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lmpnet_cli.config import DiscoverConfig, KeypointConfig
from lmpnet_cli.errors import OutputError
from lmpnet_cli.images import ListedImage, list_images
from lmpnet_cli.inference import Engine, Prepared
from lmpnet_cli.keypoints import FORMAT_VERSION, Keypoints, cells_to_pixels, dump_coco, to_coco
from lmpnet_cli.lmp.fusion import Detections, ballot, fuse
from lmpnet_cli.lmp.network import LMPNet, PairMaps
from lmpnet_cli.progress import Progress
from lmpnet_cli.rendering import OVERLAY_SIDE, Rgb, contact_sheet, draw_overlay, fit, save_jpeg
from lmpnet_cli.runtime import clear_folder, now, prepare_output, seed_everything, versions, write_run, write_text

RESULTS = ("keypoints.json", "overlays", "overview.jpg", "run.json")
OVERVIEW, OVERVIEW_SIDE = 24, 240  # pictures on the contact sheet, and their size


@dataclass(frozen=True)
class DiscoverResult:
    """The keypoints of every readable image, in the order of `keypoints.json`.

    Attributes:
        skipped: (file name, reason) of unreadable images.
        out: folder of the files, None where none were asked for.
    """

    keypoints: list[Keypoints]
    skipped: list[tuple[str, str]]
    out: Path | None
    seconds: float
    device: str


def find_keypoints(
    pair: PairMaps,
    pictures: Sequence[Prepared],
    config: KeypointConfig,
    thresholds: Sequence[float],
    classes: Sequence[str],
) -> list[list[Keypoints]]:
    """The keypoint branch for a batch: maps of both networks in, keypoints in image pixels out.

    Args:
        pictures: the readable pictures that the maps belong to.
        thresholds: erasing distances in cells of a 14 x 14 grid over the image.

    Returns:
        For each threshold the keypoints of every picture.
    """
    votes = ballot(pair, config.filters, config.margin)
    best = pair.logits[:, : len(classes)].float().softmax(1).max(1)
    labels = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return [
        [
            Keypoints(name, width, height, xy, scores, shares, classes[label], score)
            for (name, width, height, xy, scores, shares), (label, score) in zip(
                _to_pixels(fuse(votes, config.k, threshold, config.iterations), pictures), labels, strict=True
            )
        ]
        for threshold in thresholds
    ]


def _to_pixels(detections: Detections, pictures: Sequence[Prepared]) -> list[tuple[str, int, int, Any, Any, Any]]:
    positions = detections.positions.cpu().double().numpy()
    scores = detections.scores.cpu().double().numpy()
    shares = detections.replica_shares.cpu().double().numpy()
    results = []
    for index, picture in enumerate(pictures):
        size = (picture.width, picture.height)
        xy = cells_to_pixels(positions[index, :, 0], positions[index, :, 1], detections.map_size, size)
        # on pictures smaller than the map a cell centre can lie between the border and the centre of the first pixel
        xy = np.clip(xy, 0, np.array(size) - 1.0)
        results.append((picture.name, *size, xy, scores[index], shares[index]))
    return results


def discover(
    images: Any, *, model: LMPNet | None = None, progress: Progress | None = None, **options: Any
) -> DiscoverResult:
    """Finds k keypoints on every image.

    Args:
        images: folders, searched in depth, and single files, one or several.
        model: a loaded model, in place of a checkpoint.
        progress: told about every batch and every skipped picture.
        **options: the fields of `DiscoverConfig`; without `out` nothing is written.

    Raises:
        LmpnetError: when there is nothing to read, an option is out of range, or `out` cannot be used.
    """
    config = DiscoverConfig(images=images, **options)
    progress = progress or Progress()
    if config.out:
        prepare_output(config.out, RESULTS, config.overwrite)
    files = _without_own_results(list_images(config.images), config.out)
    seed_everything(config.seed)
    engine = Engine(config, model, config.replica)
    started = time.perf_counter()
    found: list[Keypoints] = []
    drawing = bool(config.out) and config.overlays
    progress.start("discover", len(files))
    with _Drawings(config.out if drawing else None, [file.name for file in files]) as drawings:
        for pictures, pair in engine.batches(files, progress, OVERLAY_SIDE if drawing else None):
            results = find_keypoints(pair, pictures, config, [config.thr], engine.model.spec.classes)[0]
            found += results
            drawings.add(pictures, results)
    seconds = time.perf_counter() - started
    result = DiscoverResult(found, engine.skipped, config.out, seconds, str(engine.device))
    if config.out:
        _write(config.out, config, engine, result)
    return result


def _without_own_results(files: list[ListedImage], out: Path | None) -> list[ListedImage]:
    """Pictures that an earlier run into the same folder has drawn are no input.

    Raises:
        OutputError: when nothing else is left.
    """
    if out is None:
        return files
    own = {(out / name).resolve() for name in ("overlays", "overview.jpg")}
    kept = []
    for file in files:
        place = file.path.resolve()
        if own.isdisjoint([place, *place.parents]):
            kept.append(file)
    if not kept:
        raise OutputError(f"All images lie among the results in {out}. Choose another --out.")
    return kept


def _write(out: Path, config: DiscoverConfig, engine: Engine, result: DiscoverResult) -> None:
    info = {
        "description": "Keypoints found by lmpnet: ranks by prominence, not body parts.",
        "lmpnet_version": versions()["lmpnet-cli"],
        "format_version": FORMAT_VERSION,
        "method": config.method,
        "k": config.k,
        "thr": config.thr,
        "checkpoint": engine.checkpoint_record(),
        "classes": list(engine.model.spec.classes),
        "seed": config.seed,
        "date_created": now(),
    }
    document = to_coco(result.keypoints, info, config.k, result.skipped)
    write_text(out / "keypoints.json", dump_coco(document))
    write_run(
        out,
        "discover",
        config.options(),
        result.seconds,
        images=len(result.keypoints),
        skipped=document["skipped"],
        device=result.device,
        precision="bf16" if engine.bfloat16 else "32",
        input_size=engine.size,
        checkpoint=engine.checkpoint_record(),
    )


class _Drawings:
    """Overlays drawn by two threads, with a bounded queue, and the contact sheet at the end.

    They are drawn into a folder aside, which takes the place of an earlier one when all is done: an interrupted run
    leaves what was there.
    """

    def __init__(self, out: Path | None, names: Sequence[str]) -> None:
        self.out = out
        self.paths = overlay_names(names)
        self.aside = None if out is None else out / f".overlays-{os.getpid()}"
        self.pool = ThreadPoolExecutor(2)
        self.waiting: deque[Future[None]] = deque()
        self.sheet: dict[int, Rgb] = {}
        self.count = 0

    def __enter__(self) -> "_Drawings":
        return self

    def add(self, pictures: Sequence[Prepared], results: Sequence[Keypoints]) -> None:
        """Queues one batch."""
        if self.aside is None:
            return
        for picture, result in zip(pictures, results, strict=True):
            self.waiting.append(self.pool.submit(self._draw, picture, result, self.count))
            self.count += 1
        while len(self.waiting) > 2 * len(pictures):
            self.waiting.popleft().result()

    def _draw(self, picture: Prepared, result: Keypoints, number: int) -> None:
        assert picture.preview is not None and self.aside is not None
        overlay = draw_overlay(picture.preview, result)
        save_jpeg(self.aside / self.paths[result.file_name], overlay)
        if number < OVERVIEW:
            self.sheet[number] = fit(overlay, OVERVIEW_SIDE)

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.pool.shutdown(cancel_futures=kind is not None)
        if self.out is None or self.aside is None:
            return
        try:
            if kind is None:
                for future in self.waiting:
                    future.result()
                clear_folder(self.out / "overlays")
                (self.aside / "overlays").rename(self.out / "overlays")
                pictures = [self.sheet[number] for number in sorted(self.sheet)]
                save_jpeg(self.out / "overview.jpg", contact_sheet(pictures, side=OVERVIEW_SIDE))
        finally:
            shutil.rmtree(self.aside, ignore_errors=True)
            if kind is not None and self.out.is_dir() and not any(self.out.iterdir()):
                self.out.rmdir()  # an interrupted run leaves no empty folder


def overlay_names(names: Sequence[str]) -> dict[str, str]:
    """overlays/<same relative path>.jpg; a.png beside a.jpg becomes a.png.jpg, so that both are kept.

    >>> overlay_names(["a.jpg", "a.png", "b.png"])
    {'a.jpg': 'overlays/a.jpg', 'a.png': 'overlays/a.png.jpg', 'b.png': 'overlays/b.jpg'}
    """
    taken = {name for name in names if name.endswith(".jpg")}
    result = {}
    for name in names:
        plain = PurePosixPath(name).with_suffix(".jpg").as_posix()
        target = plain if name == plain or plain not in taken else f"{name}.jpg"
        taken.add(target)
        result[name] = f"overlays/{target}"
    return result
