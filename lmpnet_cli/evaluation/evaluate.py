"""`lmpnet eval`: keypoints against annotations, with the trivial baselines in the same table."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.data.annotations import AnnotatedImage, Annotations, read_annotations
from lmpnet_cli.data.images import image_size
from lmpnet_cli.data.listing import UnreadableImage
from lmpnet_cli.drawing.charts import draw_metrics
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.drawing.panels import Panels
from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.evaluation.baselines import (
    image_centre,
    leave_one_out_shapes,
    mean_shape,
    place_shape,
    random_points,
)
from lmpnet_cli.evaluation.evaluator import (
    Evaluator,
    evaluate_predictions,
    evaluate_predictor,
    refuse_nothing,
    with_points,
)
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.part_scores import noise, part_scores, stability_scores, watch
from lmpnet_cli.evaluation.pck import Points, score
from lmpnet_cli.export.report.report import page
from lmpnet_cli.inference.predictor import Predictor, open_predictor
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.io.runtime import seed_everything
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

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
    with lock_output(config.out, RESULTS, config.overwrite):
        return _evaluate(config, model, progress)


def _evaluate(config: EvaluateConfig, model: LMPNet | None, progress: Progress) -> EvaluateResult:
    annotations = read_annotations(config.data or bundled_examples(), config.split, config.follow_links)
    images = with_points(annotations)
    seed_everything(config.seed)
    started = time.perf_counter()
    part_evaluator: PartEvaluator | None = None
    with Panels(config, [image.name for image in images]) as panels:
        # how the keypoints were made, for the record
        origin: dict[str, Any]
        if config.predictions:
            run = evaluate_predictions(config.predictions, images, annotations.listed, progress)
            device, origin = "none", {"predictions": config.predictions.as_posix()}
        else:
            # positions do not depend on the inner iterations, and nothing else is scored
            once = replace(config, iterations=1) if config.method == "lmpnet" else config
            predictor = open_predictor(once, model)
            part_evaluator = _witness(config, predictor)
            run = evaluate_predictor(config, config.thr or [None], predictor, images, progress, panels, part_evaluator)
            device, origin = str(predictor.device), predictor.record()
        refuse_nothing(run, images)
        metrics = _metrics(run, config, annotations) | origin
        if part_evaluator is not None:
            assert predictor.model is not None
            metrics["identity"] = _identity(config, predictor.model, part_evaluator, run, annotations, progress)
        result = EvaluateResult(metrics, run.skipped, config.out, time.perf_counter() - started, device)
        if config.out:
            chart = draw_metrics(metrics)
            panels.commit()
            write_json(config.out / "metrics.json", metrics)
            save_png(config.out / "metrics.png", chart)
            facts = {"images": len(run.ground_truths), "device": device, **origin}
            write_run(config.out, "eval", config.options(), result.seconds, **facts)
            page(config.out, config.report, progress)
    return result


def _witness(config: EvaluateConfig, predictor: Predictor) -> PartEvaluator | None:
    """Who watches the keypoints of the vocabulary, where there is one and it is not left out.

    Raises:
        CheckpointError: when the vocabulary was asked for and the model has none.
    """
    part_head = predictor.model.part_head if predictor.model is not None else None
    if part_head is None and config.stability:
        raise CheckpointError("The model has no keypoint vocabulary to score. `lmpnet parts DATA` makes one.")
    return None if part_head is None or not config.parts else PartEvaluator(part_head)


def _identity(
    config: EvaluateConfig,
    model: LMPNet,
    part_evaluator: PartEvaluator,
    run: Evaluator,
    annotations: Annotations,
    progress: Progress,
) -> dict[str, Any]:
    """Greedy PCK of the vocabulary's keypoints, and whether each is the same part everywhere."""
    names = annotations.landmark_names
    training = None
    if config.split == "test" and annotations.training:
        shown = [image for image in annotations.training if len(image.visible)]
        training = watch(config, model, shown, progress, "training images")
    row = score(list(part_evaluator.written), run.ground_truths, config.alpha, config.seed)
    document = {
        **part_scores(part_evaluator, training if training and training.ground_truths else None, names),
        **row,
        "part_recall": dict(zip(names, row["part_recall"], strict=True)),
    }
    if config.stability:
        mirrored = watch(config, model, run.images, progress, "mirrored", lambda images: images.flip(3))
        noisy = watch(config, model, run.images, progress, "with noise", noise(config.seed))
        document |= stability_scores(part_evaluator, mirrored, noisy)
    return document


def _metrics(run: Evaluator, config: EvaluateConfig, annotations: Annotations) -> dict[str, Any]:
    return {
        "dataset": annotations.name,
        "split": config.split,
        "images": len(run.ground_truths),
        "left_out": len(annotations.images) - len(run.ground_truths) - len(run.skipped),
        "left_out_because": dict(+run.left_out) | annotations.left_out,
        "skipped": skipped_entries(run.skipped),
        "method": run.method,
        "k": run.k,
        "alpha": config.alpha,
        "map_size": list(run.map_size) if any(run.map_size) else None,
        **run.classification(),
        "entropy": run.entropy(),
        "results": [
            {"thr": threshold, **_row(points, run, config, annotations.landmark_names)}
            for threshold, points in run.predictions.items()
        ],
        **_baselines(run, config, annotations),
    }


def _row(points: list[Points], run: Evaluator, config: EvaluateConfig, names: tuple[str, ...]) -> dict[str, Any]:
    row = score(points, run.ground_truths, config.alpha, config.seed)
    return row | {"part_recall": dict(zip(names, row["part_recall"], strict=True))}


def _baselines(run: Evaluator, config: EvaluateConfig, annotations: Annotations) -> dict[str, Any]:
    """The trivial predictors on the same pictures, and where the mean shape comes from."""
    random = np.random.default_rng(config.seed)
    sizes = [ground_truth.size for ground_truth in run.ground_truths]
    # with another split the pictures that are scored would shape what they are compared with
    shape = _shape(annotations.training) if config.split == "test" else None
    # without training pictures each picture gets the mean shape of the others
    own = [ground_truth.parts for ground_truth in run.ground_truths]
    shapes = [shape] * len(sizes) if shape is not None else leave_one_out_shapes(own, sizes)
    predictors: dict[str, list[Points]] = {
        "image_centre": [image_centre(ground_truth, run.k) for ground_truth in run.ground_truths],
        "random": [random_points(ground_truth, run.k, random) for ground_truth in run.ground_truths],
        "mean_shape": [
            place_shape(each, ground_truth, run.k) for each, ground_truth in zip(shapes, run.ground_truths, strict=True)
        ],
    }
    return {
        "baselines": {
            name: _row(points, run, config, annotations.landmark_names) for name, points in predictors.items()
        },
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
