"""`lmpnet eval`: keypoints against annotations, with the trivial baselines in the same table."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmpnet_cli.annotations import AnnotatedImage, Annotations, read_annotations
from lmpnet_cli.baselines import (
    image_centre,
    leave_one_out_shapes,
    mean_shape,
    place_shape,
    random_points,
)
from lmpnet_cli.bundled import bundled_examples
from lmpnet_cli.charts import draw_metrics
from lmpnet_cli.claims import claim
from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.finders import Finder, open_finder
from lmpnet_cli.identity_evaluation import identity_scores, noise, stability_scores, watch
from lmpnet_cli.images import image_size
from lmpnet_cli.keypoints import skipped_entries
from lmpnet_cli.listing import UnreadableImage
from lmpnet_cli.lmp.network import LMPNet
from lmpnet_cli.measurement import Measurement, measure_finder, measure_predictions, refuse_nothing, with_points
from lmpnet_cli.metrics import Points, score
from lmpnet_cli.panels import Panels
from lmpnet_cli.progress import Progress
from lmpnet_cli.rendering import save_png
from lmpnet_cli.reporting import page
from lmpnet_cli.runtime import seed_everything, write_json, write_run
from lmpnet_cli.witness import Witness

RESULTS = ("metrics.json", "metrics.png", "panels", "run.json", "report.html")


@dataclass(frozen=True)
class EvaluateResult:
    """The scores.

    Attributes:
        metrics: the content of `metrics.json`.
        skipped: (file name, reason) of images that could not be read.
    """

    metrics: dict[str, Any]
    skipped: list[tuple[str, str]]
    out: Path | None
    seconds: float
    device: str


def evaluate(
    data: Any = None, *, model: LMPNet | None = None, progress: Progress | None = None, **options: Any
) -> EvaluateResult:
    """Scores keypoints against annotations.

    Args:
        data: a CUB folder or a COCO keypoint file; None takes the bundled example pictures.
        model: a loaded model, in place of a checkpoint.
        **options: the fields of `EvaluateConfig`; without `out` nothing is written.

    Raises:
        LmpnetError: when annotations and pictures do not fit, an option is out of range, or `out` cannot be used.
    """
    config = EvaluateConfig(data=None if data is None else Path(data), **options)
    progress = progress or Progress()
    with claim(config.out, RESULTS, config.overwrite):
        return _evaluate(config, model, progress)


def _evaluate(config: EvaluateConfig, model: LMPNet | None, progress: Progress) -> EvaluateResult:
    annotations = read_annotations(config.data or bundled_examples(), config.split, config.follow_links)
    images = with_points(annotations)
    seed_everything(config.seed)
    started = time.perf_counter()
    witness: Witness | None = None
    with Panels(config, [image.name for image in images]) as panels:
        # how the keypoints were made, for the record
        origin: dict[str, Any]
        if config.predictions:
            run = measure_predictions(config.predictions, images, annotations.listed, progress)
            device, origin = "none", {"predictions": config.predictions.as_posix()}
        else:
            # positions do not depend on the inner iterations, and nothing else is scored
            finder = open_finder(replace(config, iterations=1), model)
            witness = _witness(config, finder)
            run = measure_finder(config, config.thr, finder, images, progress, panels, witness)
            device, origin = str(finder.device), finder.record()
        refuse_nothing(run, images)
        metrics = _metrics(run, config, annotations) | origin
        if witness is not None:
            assert finder.model is not None
            metrics["identity"] = _identity(config, finder.model, witness, run, annotations, progress)
        result = EvaluateResult(metrics, run.skipped, config.out, time.perf_counter() - started, device)
        if config.out:
            chart = draw_metrics(metrics)
            panels.commit()
            write_json(config.out / "metrics.json", metrics)
            save_png(config.out / "metrics.png", chart)
            facts = {"images": len(run.scenes), "device": device, **origin}
            write_run(config.out, "eval", config.options(), result.seconds, **facts)
            page(config.out, config.report, progress)
    return result


def _witness(config: EvaluateConfig, finder: Finder) -> Witness | None:
    """Who watches the keypoints of the vocabulary, where there is one and it is not left out.

    Raises:
        CheckpointError: when the vocabulary was asked for and the model has none.
    """
    vocabulary = finder.model.vocabulary if finder.model is not None else None
    if vocabulary is None and (config.identity or config.stability):
        raise CheckpointError("The model has no keypoint vocabulary to score. `lmpnet vocabulary DATA` makes one.")
    return None if vocabulary is None or config.identity is False else Witness(vocabulary)


def _identity(
    config: EvaluateConfig,
    model: LMPNet,
    witness: Witness,
    run: Measurement,
    annotations: Annotations,
    progress: Progress,
) -> dict[str, Any]:
    """Greedy PCK of the vocabulary's keypoints, and whether each is the same part everywhere."""
    names = annotations.part_names
    training = None
    if config.split == "test" and annotations.training:
        shown = [image for image in annotations.training if len(image.visible)]
        training = watch(config, model, shown, progress, "training images")
    row = score(list(witness.written), run.scenes, config.alpha, config.seed)
    document = {
        **identity_scores(witness, training if training and training.scenes else None, names),
        **row,
        "part_recall": dict(zip(names, row["part_recall"], strict=True)),
    }
    if config.stability:
        mirrored = watch(config, model, run.images, progress, "mirrored", lambda images: images.flip(3))
        noisy = watch(config, model, run.images, progress, "with noise", noise(config.seed))
        document |= stability_scores(witness, mirrored, noisy)
    return document


def _metrics(run: Measurement, config: EvaluateConfig, annotations: Annotations) -> dict[str, Any]:
    return {
        "dataset": annotations.name,
        "split": config.split,
        "images": len(run.scenes),
        "left_out": len(annotations.images) - len(run.scenes) - len(run.skipped),
        "left_out_because": dict(+run.left_out) | annotations.left_out,
        "skipped": skipped_entries(run.skipped),
        "method": run.method,
        "k": run.k,
        "alpha": config.alpha,
        "map_size": list(run.map_size) if any(run.map_size) else None,
        **run.classification(),
        "entropy": run.entropy(),
        "results": [
            {"thr": threshold, **_row(points, run, config, annotations.part_names)}
            for threshold, points in run.predictions.items()
        ],
        **_baselines(run, config, annotations),
    }


def _row(points: list[Points], run: Measurement, config: EvaluateConfig, names: tuple[str, ...]) -> dict[str, Any]:
    row = score(points, run.scenes, config.alpha, config.seed)
    return row | {"part_recall": dict(zip(names, row["part_recall"], strict=True))}


def _baselines(run: Measurement, config: EvaluateConfig, annotations: Annotations) -> dict[str, Any]:
    """The trivial predictors on the same pictures, and where the mean shape comes from."""
    random = np.random.default_rng(config.seed)
    sizes = [scene.size for scene in run.scenes]
    # with another split the pictures that are scored would shape what they are compared with
    shape = _shape(annotations.training) if config.split == "test" else None
    # without training pictures each picture gets the mean shape of the others
    own = [scene.parts for scene in run.scenes]
    shapes = [shape] * len(sizes) if shape is not None else leave_one_out_shapes(own, sizes)
    predictors: dict[str, list[Points]] = {
        "image_centre": [image_centre(scene, run.k) for scene in run.scenes],
        "random": [random_points(scene, run.k, random) for scene in run.scenes],
        "mean_shape": [place_shape(each, scene, run.k) for each, scene in zip(shapes, run.scenes, strict=True)],
    }
    return {
        "baselines": {name: _row(points, run, config, annotations.part_names) for name, points in predictors.items()},
        "mean_shape_of": "the other scored images" if shape is None else "the training split",
    }


def _shape(training: Sequence[AnnotatedImage]) -> Points | None:
    """Mean position of the parts over the training split, as a share of the image; None without readable pictures."""
    parts, sizes = [], []
    for image in training:
        try:
            sizes.append(image_size(image.listed.readable))
        except UnreadableImage:
            continue
        parts.append(image.parts)
    return mean_shape(parts, sizes) if parts else None
