"""The part of `lmpnet eval` that asks whether a keypoint is the same part in every picture.

Each figure names its protocol. Those that need a fit take it from the training split, or, where there is none, from
the other pictures (five folds).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import ModelConfig
from lmpnet_cli.data.annotations import AnnotatedImage
from lmpnet_cli.evaluation.baselines import image_centre, mean_shape, place_shape, random_points
from lmpnet_cli.evaluation.evaluator import Evaluator
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.part_metrics import (
    Points,
    agreement,
    consistency,
    cross_regression,
    flip_error,
    landmark_regression,
    region_hits,
    visibility,
    voronoi,
)
from lmpnet_cli.inference.runner import ModelRunner
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

NOISE, NOISE_LIMIT = 0.2, 0.25  # EvalProtoPNet: standard deviation and limit, on the normalised image


def watch(
    config: ModelConfig,
    model: LMPNet,
    images: Sequence[AnnotatedImage],
    progress: Progress,
    task: str,
    change: Callable[[Tensor], Tensor] = lambda pixels: pixels,
) -> PartEvaluator:
    """Runs the network alone over annotated pictures; those without a usable annotation are left out."""
    assert model.part_head is not None
    runner = ModelRunner(config, model, replica=False)
    part_evaluator = PartEvaluator(model.part_head)
    run = Evaluator("lmpnet", model.part_head.spec.k, {})
    progress.start(task, len(images))
    listed = [image.listed for image in images]
    with torch.inference_mode():
        for pictures, pixels in runner.reader.batches(listed, Progress()):
            own = [(images[each.index], (each.width, each.height)) for each in pictures]
            kept = [index for index, (image, size) in enumerate(own) if run.add(image, size, {})]
            if kept:
                classes = [own[index][0].class_name for index in kept]
                part_evaluator.add(runner.maps(pixels[kept], change).maps, run.ground_truths[-len(kept) :], classes)
            progress.advance(len(pictures))
    return part_evaluator


def noise(seed: int) -> Callable[[Tensor], Tensor]:
    """Adds the noise of EvalProtoPNet's stability score, drawn on the CPU: the same on every device."""
    generator = torch.Generator().manual_seed(seed)

    def add(images: Tensor) -> Tensor:
        drawn = torch.randn(images.shape, generator=generator) * NOISE
        return images + drawn.clamp(-NOISE_LIMIT, NOISE_LIMIT).to(images)

    return add


def part_scores(test: PartEvaluator, training: PartEvaluator | None, names: Sequence[str]) -> dict[str, Any]:
    """All figures of identity that need no further pass.

    Args:
        training: of the pictures that regressions are fitted on; None takes five folds of the others.
        names: of the landmarks.
    """
    spec = test.part_head.spec
    visible = ~np.isnan(test.parts[..., 0])
    landmark = np.broadcast_to(np.arange(len(names)), visible.shape)[visible]
    document: dict[str, Any] = {
        "k": spec.k,
        "names": list(spec.names),
        "threshold": spec.threshold,
        "learned_from": spec.learned_from,
        "landmark_regression": _regressions(test, training, names),
        "voronoi": _pair("nearest keypoint found (Voronoi)", voronoi(test.written, test.parts)),
        "voronoi_all": _pair("nearest keypoint, found or not (Voronoi)", voronoi(test.xy, test.parts)),
        "map_based": _pair("part map at the landmark (map-based)", agreement(landmark, test.labels[visible])),
        "consistency": {
            "protocol": "EvalProtoPNet's rule, 36/224 of the true box, whole pictures as input",
            "score": _round(consistency(test.boxed(test.written), test.boxed(test.parts))),
        },
        "visibility": _visibility(test, training or test, names),
    }
    return document


def _pair(protocol: str, output: tuple[float, float]) -> dict[str, Any]:
    return {"protocol": protocol, "nmi": _round(output[0]), "ari": _round(output[1])}


def _round(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, 2)


def _regressions(test: PartEvaluator, training: PartEvaluator | None, names: Sequence[str]) -> dict[str, Any]:
    """Protocol A for the keypoints and for the trivial predictors."""
    k = test.part_head.spec.k
    shaped = training or test
    shape = mean_shape(
        [ground_truth.parts for ground_truth in shaped.ground_truths],
        [ground_truth.size for ground_truth in shaped.ground_truths],
    )
    chosen = np.linspace(0, len(names) - 1, k).round().astype(int)
    random = np.random.default_rng(0)

    def anywhere(part_evaluator: PartEvaluator) -> Points:
        return np.array([random_points(ground_truth, k, random) for ground_truth in part_evaluator.ground_truths])

    predictors: dict[str, Callable[[PartEvaluator], Points]] = {
        "keypoints": lambda part_evaluator: part_evaluator.xy,
        "keypoints_found": lambda part_evaluator: part_evaluator.written,
        "image_midpoint": lambda part_evaluator: np.array(
            [image_centre(ground_truth, 1) for ground_truth in part_evaluator.ground_truths]
        ),
        "random": anywhere,
        "mean_shape": lambda part_evaluator: np.array(
            [place_shape(shape, ground_truth, k) for ground_truth in part_evaluator.ground_truths]
        ),
        "true_points": lambda part_evaluator: part_evaluator.parts[:, chosen],
    }
    results = {}
    for name, of in predictors.items():
        own = (test.boxed(of(test)), test.boxed(test.parts))
        fit = None if training is None else (training.boxed(of(training)), training.boxed(training.parts))
        results[name] = cross_regression(*own) if fit is None else landmark_regression(fit, own)
    best = results["keypoints"]
    others = "the other pictures, five folds" if training is None else f"{len(training.ground_truths)} training images"
    document = {
        "protocol": "A (Huang and Li, PDiscoNet): percent of the true box, all landmarks, micro average",
        "fitted_on": others,
        "error": _round(best.error),
        "error_of_found": _round(results["keypoints_found"].error),
        "by_landmark": {name: _round(value) for name, value in zip(names, best.by_landmark.tolist(), strict=True)},
        "baselines": {
            name: _round(result.error) for name, result in results.items() if not name.startswith("keypoints")
        },
    }
    return document | {"by_class": {} if training is None else _by_class(test, training)}


def _by_class(test: PartEvaluator, training: PartEvaluator) -> dict[str, float | None]:
    """CUB's classes 001, 002 and 003, where they are: fitted on all three together, tested on each alone."""

    def of(part_evaluator: PartEvaluator, *prefixes: str) -> tuple[Points, Points]:
        own = [(name or "").startswith(prefixes) for name in part_evaluator.classes]
        return part_evaluator.boxed(part_evaluator.xy)[own], part_evaluator.boxed(part_evaluator.parts)[own]

    fit = of(training, "001.", "002.", "003.")
    tests = {prefix: of(test, f"{prefix}.") for prefix in ("001", "002", "003")}
    return {
        prefix: _round(landmark_regression(fit, each).error)
        for prefix, each in tests.items()
        if len(fit[0]) and not np.isnan(each[1]).all()
    }


def _visibility(test: PartEvaluator, shaped: PartEvaluator, names: Sequence[str]) -> dict[str, Any] | None:
    """Scores against annotated visibility of the landmark that each keypoint is nearest to.

    Left and right landmarks count as one, visible where either is. The landmark of each keypoint is found on `shaped`.
    """
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(name.removeprefix("left ").removeprefix("right "), []).append(index)
    keypoints, landmarks = shaped.boxed(shaped.xy), shaped.boxed(shaped.parts)
    columns, nearest = [], {}
    for part in range(test.part_head.spec.k):
        away = np.linalg.norm(keypoints[:, part, None] - landmarks, axis=2)  # (N, P)
        means = {name: _mean(away[:, group]) for name, group in groups.items()}
        known = {name: mean for name, mean in means.items() if mean is not None}
        if known:
            best = min(known, key=lambda name: known[name])
            nearest[test.part_head.spec.names[part]] = best
            columns.append((part, groups[best]))
    if not columns:
        return None
    there = ~np.isnan(test.parts[..., 0])
    shown = np.concatenate([there[:, group].any(1) for _, group in columns])
    scores = np.concatenate([test.scores[:, part] for part, _ in columns])
    if not shown.any():
        return None
    values = visibility(scores, shown, test.part_head.spec.threshold)
    rounded = {key: value if key == "curve" else _round(value) for key, value in values.items()}
    return {"protocol": "nearest landmark of each keypoint, left and right as one", "landmarks": nearest, **rounded}


def _mean(distances: NDArray[np.float64]) -> float | None:
    """Mean over the images of the distance to the nearer of a pair of landmarks."""
    shown = ~np.isnan(distances).all(1)
    return float(np.nanmin(distances[shown], axis=1).mean()) if shown.any() else None


def stability_scores(test: PartEvaluator, mirrored: PartEvaluator, noisy: PartEvaluator) -> dict[str, Any]:
    """Whether keypoints stay on their place when the picture is mirrored, and on their landmarks when it is noisy."""
    widths = np.array([ground_truth.size[0] for ground_truth in test.ground_truths], dtype=np.float64)
    sides = np.array(
        [
            max(ground_truth.bbox[2:]) if ground_truth.bbox else max(ground_truth.size)
            for ground_truth in test.ground_truths
        ]
    )
    landmarks = test.boxed(test.parts)
    hits, _ = region_hits(test.boxed(test.xy), landmarks)
    again, _ = region_hits(test.boxed(noisy.xy), landmarks)
    return {
        "flip": {
            "protocol": "mean distance to the mirrored keypoint, percent of the longer box side",
            "error": _round(flip_error(test.xy, mirrored.xy, widths, sides)),
        },
        "stability": {
            "protocol": "EvalProtoPNet's rule: landmarks hit are the same under noise, percent of (picture, keypoint)",
            "score": _round(100 * float((hits == again).all(2).mean())),
        },
    }
