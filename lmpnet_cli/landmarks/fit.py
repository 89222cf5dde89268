"""`lmpnet fit`: learn named landmarks from a few annotated images, on the frozen maps of a model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.config import CHECKPOINT, FitConfig, Paths, as_paths, takes_options
from lmpnet_cli.data.annotations import AnnotatedImage, read_annotations
from lmpnet_cli.data.datasets import cub_root
from lmpnet_cli.data.left_right import flip_indices, sides_without_partner
from lmpnet_cli.drawing.charts import draw_landmarks
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.inference.runner import ModelRunner, open_learning_runner
from lmpnet_cli.inference.windows import WiderWindows
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.checkpoints import attach_heads
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.keypoints import box_or_image, positions_in_image
from lmpnet_cli.landmarks.cross_validation import FOLDS, CrossValidation, cross_validate
from lmpnet_cli.landmarks.examples import AnnotatedFeatures, gather
from lmpnet_cli.landmarks.learning import learn_weights
from lmpnet_cli.landmarks.scores import mean_shape_in_boxes, named_scores, placed
from lmpnet_cli.model.landmark_head import LandmarkHead, LandmarkHeadSpec
from lmpnet_cli.progress import Progress

CHART, DOCUMENT = "fit.png", "fit.json"
RESULTS = (CHECKPOINT, CHART, DOCUMENT, "run.json")
FEW = 10  # images: with fewer, the cross-validated figures are only a rough guide
RARE = 3  # images: a landmark that is visible on fewer can hardly be learned


@dataclass(frozen=True)
class FitResult:
    """Learned landmarks.

    Attributes:
        names: of the landmarks.
        images: number of images that they were learned from.
        document: the content of `fit.json`.
        skipped: (file name, reason) of images that could not be read.
        out: the output folder; None if nothing was written.
    """

    names: tuple[str, ...]
    images: int
    document: dict[str, Any]
    skipped: list[tuple[str, str]]
    out: Path | None
    seconds: float


@takes_options(FitConfig)
def fit(data: Paths, *, progress: Progress | None = None, **options: Any) -> FitResult:
    """Learn named landmarks from annotated images, for an existing model.

    Args:
        data: one or several COCO keypoint files, or CUB folders, of which only the training split is used. The last
            annotation of an image counts.
        progress: receives the number of images done and messages.
        **options: listed below; without `out` nothing is written.

    Raises:
        LmpnetError: if there is nothing to learn from, an option is invalid, or `out` cannot be used.
    """
    config = FitConfig(data=as_paths(data), **options)
    progress = progress or Progress()
    started = time.perf_counter()
    with lock_output(config.out, RESULTS, config.overwrite):
        runner = open_model(config)
        names, images = _annotated(config, progress)
        swapped = _swapped(names, progress)

        gathered = gather(runner, images, swapped, progress)
        if gathered.missed:
            progress.warn(f"No object was found on {gathered.missed} annotated images; they are left out.")
        head, checked = _learn(names, gathered, config, progress)
        document = _described(head, checked, gathered, runner)
        _advise(document, progress)

        seconds = time.perf_counter() - started
        if config.out:
            _write(config, head, document, seconds)
    return FitResult(head.spec.names, len(gathered.images), document, list(runner.skipped), config.out, seconds)


def open_model(config: FitConfig) -> ModelRunner:
    """Open the network that provides the features, with windows as wide as `discover` will use."""
    runner = open_learning_runner(config, "landmarks")
    assert runner.finder is not None  # one object is looked for
    runner.finder = WiderWindows(runner.finder, LandmarkHeadSpec.margin)
    return runner


def _annotated(config: FitConfig, progress: Progress) -> tuple[tuple[str, ...], list[AnnotatedImage]]:
    """Return the names of the landmarks, and the images to learn from, drawn by the seed.

    Raises:
        DatasetError: when no image has a visible landmark.
    """
    names, every = _joined(config, progress)
    images = draw_images(every, config.images, config.seed)
    if not images:
        raise DatasetError(f"{_listed(config.data)}: no image has a visible landmark. Annotate at least one.")

    shown = _shown(images)
    unseen = [name for name, count in zip(names, shown, strict=True) if not count]
    if unseen:
        progress.warn(f"Not learned, since no image shows them: {', '.join(unseen)}.")
    kept = [index for index, count in enumerate(shown) if count]
    chosen = [replace(image, landmarks=image.landmarks[kept]) for image in images]
    return tuple(names[index] for index in kept), chosen


def _joined(config: FitConfig, progress: Progress) -> tuple[tuple[str, ...], list[AnnotatedImage]]:
    """Return the names of the landmarks, and the images of all files; the last annotation of an image counts.

    Raises:
        DatasetError: when the files name other landmarks.
    """
    names: tuple[str, ...] = ()
    images: dict[Path, AnnotatedImage] = {}
    for data in config.data:
        annotations = read_annotations(data, "all", config.follow_links, images=config.image_folder)
        for reason, count in annotations.left_out.items():
            progress.warn(f"{data}: left out {count} {reason}.")

        own = annotations.landmark_names
        names = names or own
        if set(own) != set(names):
            only = [name for name in (*names, *own) if (name in names) != (name in own)]
            raise DatasetError(
                f"{config.data[0]} and {data} do not have the same landmarks ({', '.join(only)}: only in one of them). "
                "Give them the same names."
            )
        order = [own.index(name) for name in names]
        chosen = annotations.training or annotations.images
        if data.is_dir() and cub_root(data) and not annotations.training:
            progress.warn(f"{data} has no training images, so all its images are learned from.")
        images |= {image.path: replace(image, landmarks=image.landmarks[order]) for image in chosen}
    return names, list(images.values())


def _listed(data: Sequence[Path]) -> str:
    return ", ".join(map(str, data))


def draw_images(images: Sequence[AnnotatedImage], count: int, seed: int) -> list[AnnotatedImage]:
    """Return at most `count` images with a visible landmark, drawn by the seed, in their order."""
    usable = [image for image in images if len(image.visible)]
    order = np.random.default_rng(seed).permutation(len(usable))[:count]
    return [usable[index] for index in sorted(order.tolist())]


def _shown(images: Sequence[AnnotatedImage]) -> list[int]:
    """Return for each landmark the number of images that show it."""
    counts: list[int] = (~np.isnan([image.landmarks[:, 0] for image in images])).sum(0).tolist()
    return counts


def _swapped(names: Sequence[str], progress: Progress) -> list[int]:
    """Return which landmark is in the place of each on a mirror image; point out sides without a partner."""
    swapped = flip_indices(names)
    alone = sides_without_partner(names, swapped)
    if alone:
        progress.warn(
            f"{', '.join(alone)}: a side without a partner of the other side. On mirror images, from which lmpnet also "
            "learns, it keeps its name."
        )
    return swapped


def _learn(
    names: tuple[str, ...], gathered: AnnotatedFeatures, config: FitConfig, progress: Progress
) -> tuple[LandmarkHead, CrossValidation | None]:
    """Learn the head from all images, and its thresholds by cross-validation; none with a single image."""
    count = len(gathered.images)
    channels, directions = gathered.reducer.get_buffer("projection").shape
    learned_from = {"images": count, "seed": config.seed, "data": [data.name for data in config.data]}
    spec = LandmarkHeadSpec(names, channels, directions, learned_from=learned_from)
    head = LandmarkHead(spec).eval()
    head.load_state_dict(gathered.reducer.state_dict(), strict=False)

    folds = min(FOLDS, count) if count > 1 else 0
    progress.start("learn landmarks", folds + 1, "fits")
    checked = cross_validate(gathered.examples, head, config.seed, progress.advance) if folds else None
    learn_weights(gathered.examples, head)
    progress.advance(1)
    if checked is not None:
        head.get_buffer("threshold").copy_(checked.threshold)
    return head, checked


def _described(
    head: LandmarkHead, checked: CrossValidation | None, gathered: AnnotatedFeatures, runner: ModelRunner
) -> dict[str, Any]:
    """Return the content of `fit.json`."""
    names = head.spec.names
    document = {
        "k": head.spec.k,
        "names": list(names),
        "images": len(gathered.images),
        "visible_on": dict(zip(names, _shown(gathered.images), strict=True)),
        "files": [image.name for image in gathered.images],
        "without_object": gathered.missed,
        "skipped": skipped_entries(runner.skipped),
        "threshold": dict(zip(names, np.round(head.get_buffer("threshold").tolist(), 4).tolist(), strict=True)),
        "cross_validation": None,
    }
    if checked is None:
        return document

    landmarks = np.array([image.landmarks for image in gathered.images])
    boxes = _boxes(gathered)
    sides = boxes[:, 2:].max(1)
    found = _pixels(checked, gathered)
    folds = np.arange(len(boxes)) % checked.folds
    shapes = [mean_shape_in_boxes(landmarks[folds != fold], boxes[folds != fold]) for fold in range(checked.folds)]
    shaped = np.stack([placed(shapes[fold], box[None])[0] for fold, box in zip(folds, boxes, strict=True)])
    return document | {
        "cross_validation": {
            "folds": checked.folds,
            "landmarks": named_scores(found, landmarks, sides, names),
            "mean_shape": named_scores(shaped, landmarks, sides, names),
        }
    }


def _boxes(gathered: AnnotatedFeatures) -> NDArray[np.float64]:
    """Return the annotated boxes, (N, 4) pixels; the whole image where there is none."""
    known = zip(gathered.images, gathered.sizes, strict=True)
    return np.array([box_or_image(image.bbox, size) for image, size in known], dtype=np.float64)


def _pixels(checked: CrossValidation, gathered: AnnotatedFeatures) -> NDArray[np.float64]:
    """Return the (N, k, 2) pixels of the cross-validated landmarks; NaN where the score is below the threshold."""
    located = checked.located
    positions = located.positions.masked_fill((located.scores < checked.threshold)[..., None], np.nan)
    map_size = gathered.examples.map_size
    places = zip(positions.double().numpy(), gathered.sizes, gathered.windows, strict=True)
    return np.stack([positions_in_image(each, map_size, size, window) for each, size, window in places])


def _advise(document: dict[str, Any], progress: Progress) -> None:
    """Say honestly where the images are too few."""
    images, checked = document["images"], document["cross_validation"]
    if checked is None:
        progress.warn("Learned from one image, so nothing could be checked. Annotate at least 10 images.")
        return
    if images < FEW:
        progress.warn(f"Learned from {images} images; the cross-validated figures are only a rough guide.")
    rare = [f"{name} ({count})" for name, count in document["visible_on"].items() if count < RARE]
    if rare:
        progress.warn(f"Visible on fewer than {RARE} images: {', '.join(rare)}. Annotate more images that show them.")

    own, shape = (checked[key]["by_landmark"] for key in ("landmarks", "mean_shape"))
    unlearned = [name for name in own if (own[name]["pck"] or 0) <= (shape[name]["pck"] or 0)]
    if unlearned:
        progress.warn(
            f"Found no better than by their mean position: {', '.join(unlearned)}. Annotate more images, or check "
            "whether they were always set on the same spot."
        )


def _write(config: FitConfig, head: LandmarkHead, document: dict[str, Any], seconds: float) -> None:
    assert config.out is not None
    if document["cross_validation"]:
        save_png(config.out / CHART, draw_landmarks(document))
    else:
        (config.out / CHART).unlink(missing_ok=True)  # of an earlier run
    write_json(config.out / DOCUMENT, document)
    attach_heads(config.checkpoint or bundled_checkpoint(), config.out / CHECKPOINT, landmark_head=head)
    facts = {"names": list(head.spec.names), "images": document["images"], "skipped": document["skipped"]}
    write_run(config.out, "fit", config.options(), seconds, **facts)
