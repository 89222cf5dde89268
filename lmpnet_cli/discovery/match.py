"""`lmpnet match`: the same keypoints of several pictures, joined by lines."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.config import MatchConfig
from lmpnet_cli.data.images import Rgb
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.drawing.colors import keypoint_color
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.drawing.grids import GAP, label
from lmpnet_cli.drawing.overlays import disc, fit
from lmpnet_cli.errors import InputError
from lmpnet_cli.inference.lmpnet import LMPNetPredictor
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.io.runtime import seed_everything
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

RESULTS = ("match.png", "run.json")
SIDE = 420  # pixels of a picture in the drawing
MOST = 200  # pictures: the drawing is one, in memory and on the screen
LEGEND = 34  # pixels of a line of names


@dataclass(frozen=True)
class MatchResult:
    """The keypoints of every readable picture and the drawing.

    Attributes:
        names: of the keypoints.
        skipped: (file name, reason) of unreadable pictures.
        picture: (h, w, 3).
    """

    keypoints: list[Keypoints]
    names: tuple[str, ...]
    skipped: list[tuple[str, str]]
    picture: Rgb
    out: Path | None
    seconds: float


def match(images: Any, *, model: LMPNet | None = None, progress: Progress | None = None, **options: Any) -> MatchResult:
    """Finds the keypoints of the vocabulary on pictures and joins those that are the same.

    Args:
        images: two pictures or more, or folders.
        model: a loaded model, in place of a checkpoint.
        **options: the fields of `MatchConfig`; without `out` nothing is written.

    Raises:
        LmpnetError: when fewer than two pictures can be read, the model has no vocabulary, or `out` cannot be used.
    """
    config = MatchConfig(images=images, **options)
    progress = progress or Progress()
    with lock_output(config.out, RESULTS, config.overwrite):
        return _match(config, model, progress)


def _match(config: MatchConfig, model: LMPNet | None, progress: Progress) -> MatchResult:
    files = list_images(config.images, config.follow_links)
    if len(files) > MOST:
        raise InputError(
            f"There are {len(files)} pictures, and one drawing takes {MOST}. Name fewer; `lmpnet discover` writes a "
            "picture with its keypoints for each."
        )
    seed_everything(config.seed)
    predictor = LMPNetPredictor(open_runner(config, model, replica=False), "parts")
    started = time.perf_counter()
    progress.start("match", len(files))
    found: list[Keypoints] = []
    pictures: list[Rgb] = []
    for prepared, predictions in predictor.batches(files, progress, SIDE):
        found += predictions.keypoints()
        pictures += [each.preview for each in prepared if each.preview is not None]
    if len(found) < 2:
        raise InputError(f"There is only one picture to be read ({found[0].file_name}). Name another one.")
    picture = draw_matches(pictures, found, predictor.names, config.columns)
    seconds = time.perf_counter() - started
    result = MatchResult(found, tuple(predictor.names), predictor.loader.skipped, picture, config.out, seconds)
    if config.out:
        save_png(config.out / "match.png", picture)
        facts = {"images": len(found), "names": list(predictor.names), **predictor.record()}
        write_run(config.out, "match", config.options(), seconds, **facts)
    return result


def draw_matches(pictures: list[Rgb], found: list[Keypoints], names: Sequence[str], columns: int) -> Rgb:
    """Pictures in rows; keypoints of one identity have one colour and are joined within a row."""
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    step = SIDE + 3 * GAP
    per_line = max(1, (columns * step) // 130)
    legend = -(-len(names) // per_line) * LEGEND
    canvas = np.full((rows * step + legend, columns * step, 3), 255, np.uint8)
    places: list[NDArray[np.float64]] = []
    for index, (rgb, each) in enumerate(zip(pictures, found, strict=True)):
        top, left = (position * step + GAP for position in divmod(index, columns))
        canvas[top : top + SIDE, left : left + SIDE] = fit(rgb, SIDE)
        places.append(np.array([left, top]) + _in_square(each))
    for index in range(len(found)):
        if index % columns:
            for part, color in enumerate(keypoint_color(part) for part in range(len(names))):
                ends = places[index - 1][part], places[index][part]
                if not np.isnan(ends).any():
                    start, end = ((round(float(x) * 16), round(float(y) * 16)) for x, y in ends)
                    for paint, width in (((0, 0, 0), 4), (color, 2)):
                        cv2.line(canvas, start, end, paint, width, cv2.LINE_AA, 4)
    for place in places:
        for part in range(len(names)):
            if not np.isnan(place[part, 0]):
                disc(canvas, place[part, 0], place[part, 1], 10, str(part + 1), keypoint_color(part))
    for part, name in enumerate(names):
        line, column = divmod(part, per_line)
        x, y = GAP + 14 + column * 130, rows * step + line * LEGEND + LEGEND // 2
        disc(canvas, x, y, 10, str(part + 1), keypoint_color(part))
        label(canvas, (x + 16, y + 5), name)
    return canvas


def _in_square(found: Keypoints) -> NDArray[np.float64]:
    """(k, 2) pixels of a picture fitted into a square."""
    scale = SIDE / max(found.width, found.height)
    size = np.array([max(1, round(found.width * scale)), max(1, round(found.height * scale))])
    xy = (found.xy + 0.5) * size / (found.width, found.height) - 0.5 + (SIDE - size) // 2
    return np.asarray(xy)
