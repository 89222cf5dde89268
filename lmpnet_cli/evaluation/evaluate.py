"""`lmpnet eval`: score keypoints against annotations, with the trivial baselines in the same table."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmpnet_cli.config import EvaluateConfig, takes_options
from lmpnet_cli.data.annotations import AnnotatedImage, Annotations, read_annotations
from lmpnet_cli.data.boxes import boxes_of
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
    images_with_landmarks,
    refuse_nothing,
)
from lmpnet_cli.evaluation.landmark_scores import landmark_scores, refuse_other_names
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.part_scores import evaluate_parts, noise, part_scores, stability_scores
from lmpnet_cli.evaluation.pck import Points, score
from lmpnet_cli.export.report.report import update_report
from lmpnet_cli.inference.predictor import Predictor, open_predictor
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
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


@takes_options(EvaluateConfig)
def evaluate(
    data: str | Path | None = None,
    *,
    model: LMPNet | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> EvaluateResult:
    """Score keypoints against annotations.

    Args:
        data: a CUB folder or a COCO keypoint file; None takes the bundled example images.
        model: a loaded model, in place of a checkpoint.
        **options: listed below; without `out` nothing is written.

    Raises:
        LmpnetError: when annotations and images do not fit, an option is out of range, or `out` cannot be used.
    """
    config = EvaluateConfig(data=None if data is None else Path(data), **options)
    progress = progress or Progress()
    with lock_output(config.out, RESULTS, config.overwrite):
        return _evaluate(config, model, progress)


def _evaluate(config: EvaluateConfig, model: LMPNet | None, progress: Progress) -> EvaluateResult:
    every_object = config.objects == "all"
    data = config.data or bundled_examples()
    annotations = read_annotations(data, config.split, config.follow_links, every_object, config.images)
    if config.boxes is not None:
        annotations = _with_boxes(annotations, config.boxes, config, progress)
    images = images_with_landmarks(annotations)
    started = time.perf_counter()

    with Panels(config, [image.name for image in images]) as panels:
        if config.predictions:
            evaluator = evaluate_predictions(config.predictions, images, annotations.listed, progress)
            refuse_nothing(evaluator, images)
            device, origin = "none", {"predictions": config.predictions.as_posix()}
            metrics = _metrics(evaluator, config, annotations) | origin
        else:
            predictor = open_predictor(config, model)
            if predictor.method == "landmarks":
                refuse_other_names(predictor.names, annotations.landmark_names)
            part_evaluator = _part_evaluator(config, predictor)
            evaluator = evaluate_predictor(predictor, images, progress, panels, part_evaluator)
            refuse_nothing(evaluator, images)
            device, origin = str(predictor.device), predictor.record()
            metrics = _metrics(evaluator, config, annotations) | origin
            if predictor.method == "landmarks":
                metrics["landmarks"] = _landmarks(config, predictor, evaluator, annotations)
            if part_evaluator is not None:
                metrics["parts"] = _parts(config, part_evaluator, evaluator, annotations, progress)

        result = EvaluateResult(metrics, evaluator.skipped, config.out, time.perf_counter() - started, device)
        if config.out:
            _write(config.out, config, result, panels, origin, len(evaluator.ground_truths))
            update_report(config.out, config.report, progress)
    return result


def _with_boxes(annotations: Annotations, path: Path, config: EvaluateConfig, progress: Progress) -> Annotations:
    """Return the annotations with the boxes of `--boxes` beside their images, those of training included."""
    names = dict.fromkeys(image.name for image in (*annotations.images, *annotations.training))
    boxes = boxes_of(list(names), path, config.min_confidence or 0, progress)

    def add(images: tuple[AnnotatedImage, ...]) -> tuple[AnnotatedImage, ...]:
        return tuple(replace(image, given=boxes[image.name]) for image in images)

    return replace(annotations, images=add(annotations.images), training=add(annotations.training))


def _write(
    out: Path, config: EvaluateConfig, result: EvaluateResult, panels: Panels, origin: dict[str, Any], images: int
) -> None:
    chart = draw_metrics(result.metrics)
    panels.commit()
    write_json(out / "metrics.json", result.metrics)
    save_png(out / "metrics.png", chart)
    write_run(out, "eval", config.options(), result.seconds, images=images, device=result.device, **origin)


def _part_evaluator(config: EvaluateConfig, predictor: Predictor) -> PartEvaluator | None:
    """Return what evaluates the parts of the model, where it has any and they are wanted.

    Raises:
        CheckpointError: when their stability was asked for and the model has none.
    """
    model = predictor.model
    if model is None or model.part_head is None:
        if config.stability:
            raise CheckpointError("The model has no parts to score. Learn them with `lmpnet parts DATA`.")
        return None

    return PartEvaluator(model) if config.parts else None


def _parts(
    config: EvaluateConfig,
    part_evaluator: PartEvaluator,
    evaluator: Evaluator,
    annotations: Annotations,
    progress: Progress,
) -> dict[str, Any]:
    """Score the parts of the model: greedy PCK, and whether each is the same place in every image."""
    model, names = part_evaluator.model, annotations.landmark_names
    training = None
    if config.split == "test" and annotations.training:
        shown = [image for image in annotations.training if len(image.visible)]
        training = evaluate_parts(config, model, shown, progress, "training images")

    row = _row(list(part_evaluator.visible_xy), evaluator, config, names)
    usable = training if training and training.ground_truths else None
    document = {**part_scores(part_evaluator, usable, names), **row}

    if config.stability:
        images = evaluator.images
        mirrored = evaluate_parts(config, model, images, progress, "mirror images", mirrored=True)
        noisy = evaluate_parts(config, model, images, progress, "noisy images", noise(config.seed))
        document |= stability_scores(part_evaluator, mirrored, noisy)
    return document


def _landmarks(
    config: EvaluateConfig, predictor: Predictor, evaluator: Evaluator, annotations: Annotations
) -> dict[str, Any]:
    """Score the landmarks by name; the mean shape comes from the training split where the test split is scored."""
    return landmark_scores(
        next(iter(evaluator.predictions.values())),
        predictor.names,
        evaluator.ground_truths,
        annotations.landmark_names,
        annotations.training if config.split == "test" else (),
        config.alpha,
    )


def _metrics(evaluator: Evaluator, config: EvaluateConfig, annotations: Annotations) -> dict[str, Any]:
    names = annotations.landmark_names
    scored = len(evaluator.ground_truths)
    return {
        "dataset": annotations.name,
        "split": config.split,
        "images": len({image.name for image in evaluator.images}),
        "left_out": len(annotations.images) - scored - len(evaluator.skipped),
        "left_out_because": dict(+evaluator.left_out) | annotations.left_out,
        "skipped": skipped_entries(evaluator.skipped),
        "method": evaluator.method,
        "objects": config.objects,
        **_objects(evaluator, config),
        "distance": config.distance,
        "k": evaluator.k,
        "alpha": config.alpha,
        "map_size": list(evaluator.map_size) if any(evaluator.map_size) else None,
        **evaluator.classification(),
        "entropy": evaluator.entropy(),
        "results": [
            {"thr": threshold, **_row(points, evaluator, config, names)}
            for threshold, points in evaluator.predictions.items()
        ],
        **_baselines(evaluator, config, annotations),
    }


def _objects(evaluator: Evaluator, config: EvaluateConfig) -> dict[str, int]:
    """Return how many objects are annotated, and how many found ones are not, where every object is scored."""
    if config.objects != "all":
        return {}
    return {"annotated_objects": len(evaluator.ground_truths), "unmatched_objects": evaluator.unmatched}


def _row(points: list[Points], evaluator: Evaluator, config: EvaluateConfig, names: tuple[str, ...]) -> dict[str, Any]:
    row = score(points, evaluator.ground_truths, config.alpha, config.seed)
    return row | {"landmark_recall": dict(zip(names, row["landmark_recall"], strict=True))}


def _baselines(evaluator: Evaluator, config: EvaluateConfig, annotations: Annotations) -> dict[str, Any]:
    """Score the trivial predictors on the same images, and tell where the mean shape comes from."""
    random = np.random.default_rng(config.seed)
    truths, k = evaluator.ground_truths, evaluator.k

    # with another split the scored images would shape what they are compared with
    shape = _mean_shape(annotations.training) if config.split == "test" else None
    # without training images each image gets the mean shape of the others
    shapes = (
        [shape] * len(truths)
        if shape is not None
        else leave_one_out_shapes([truth.landmarks for truth in truths], [truth.size for truth in truths])
    )

    predictors: dict[str, list[Points]] = {
        "image_centre": [image_centre(truth, k) for truth in truths],
        "random": [random_points(truth, k, random) for truth in truths],
        "mean_shape": [place_shape(each, truth, k) for each, truth in zip(shapes, truths, strict=True)],
    }
    rows = {name: _row(points, evaluator, config, annotations.landmark_names) for name, points in predictors.items()}
    return {"baselines": rows, "mean_shape_of": "the other scored images" if shape is None else "the training split"}


def _mean_shape(training: Sequence[AnnotatedImage]) -> Points | None:
    """Compute the mean position of the landmarks over the training split, as a share of the image; None without any."""
    landmarks, sizes = [], []
    for image in training:
        try:
            sizes.append(image_size(image.listed.readable))
        except UnreadableImage:
            continue
        landmarks.append(image.landmarks)
    return mean_shape(landmarks, sizes) if landmarks else None
