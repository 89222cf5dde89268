"""`lmpnet match`: the parts of several images in one drawing, the same part joined by lines."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmpnet_cli.config import MatchConfig, Paths, as_paths, takes_options
from lmpnet_cli.data.images import Rgb
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.drawing.matches import SIDE, draw_matches
from lmpnet_cli.errors import InputError
from lmpnet_cli.inference.lmpnet import LMPNetPredictor
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

RESULTS = ("match.png", "run.json")
MAX_IMAGES = 200  # they are all in one drawing, in memory and on the screen


@dataclass(frozen=True)
class MatchResult:
    """The keypoints of every readable image and the drawing.

    Attributes:
        names: of the keypoints.
        skipped: (file name, reason) of unreadable images.
        drawing: (h, w, 3) pixels.
    """

    keypoints: list[Keypoints]
    names: tuple[str, ...]
    skipped: list[tuple[str, str]]
    drawing: Rgb
    out: Path | None
    seconds: float


@takes_options(MatchConfig)
def match(
    images: Paths, *, model: LMPNet | None = None, progress: Progress | None = None, **options: Any
) -> MatchResult:
    """Find the parts of the most prominent object in each image, and join the same parts by lines.

    Args:
        images: two images or more, or folders.
        model: a loaded model, in place of a checkpoint.
        progress: receives the number of finished images, and a warning for every skipped one.
        **options: listed below; without `out` nothing is written.

    Raises:
        LmpnetError: when fewer than two images can be read, the model has no parts, or `out` cannot be used.
    """
    config = MatchConfig(images=as_paths(images), **options)
    with lock_output(config.out, RESULTS, config.overwrite):
        return _match(config, model, progress or Progress())


def _match(config: MatchConfig, model: LMPNet | None, progress: Progress) -> MatchResult:
    files = list_images(config.images, config.follow_links, progress=progress)
    if len(files) > MAX_IMAGES:
        raise InputError(
            f"{len(files)} images do not fit into one drawing of at most {MAX_IMAGES}. Pass fewer, or use `lmpnet "
            "discover`, which draws each image by itself."
        )
    predictor = LMPNetPredictor(open_runner(config, model, replica=False, objects=1), "parts", objects="one")
    started = time.perf_counter()

    progress.start("match", len(files))
    found: list[Keypoints] = []
    previews: list[Rgb] = []
    for loaded, predictions in predictor.batches(files, progress, SIDE):
        found += predictions.keypoints()
        previews += [each.preview for each in loaded if each.preview is not None]
    if len(found) < 2:
        raise InputError(f"Only one image can be read ({found[0].file_name}). Pass at least two.")

    drawing = draw_matches(previews, found, predictor.names, config.columns)
    seconds = time.perf_counter() - started
    if config.out:
        save_png(config.out / "match.png", drawing)
        facts = {"images": len(found), "names": list(predictor.names), **predictor.record()}
        write_run(config.out, "match", config.options(), seconds, **facts)
    return MatchResult(found, tuple(predictor.names), predictor.loader.skipped, drawing, config.out, seconds)
