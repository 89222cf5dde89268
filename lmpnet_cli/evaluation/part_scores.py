"""The section `parts` of metrics.json: is each part of a model the same place of the object in every image?

Each figure names its protocol. Those that need a fit take it from the training split or, where there is none, from the
other images (five folds).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.data.annotations import AnnotatedImage
from lmpnet_cli.data.loader import LoadedImage, rows_by_image
from lmpnet_cli.evaluation.baselines import image_centre, mean_shape, place_shape, random_points
from lmpnet_cli.evaluation.evaluator import Evaluator
from lmpnet_cli.evaluation.object_matching import match_objects
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.part_metrics import (
    Points,
    agreement,
    consistency,
    cross_regression,
    flip_error,
    landmark_regression,
    part_retrieval,
    region_hits,
    visibility,
    voronoi,
)
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.keypoints import Box
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress

NOISE, NOISE_LIMIT = 0.2, 0.25  # EvalProtoPNet: standard deviation and limit, on the normalised image


def evaluate_parts(
    config: EvaluateConfig,
    model: LMPNet,
    images: Sequence[AnnotatedImage],
    progress: Progress,
    task: str,
    change: Callable[[Tensor], Tensor] = lambda pixels: pixels,
    mirrored: bool = False,
) -> PartEvaluator:
    """Run the network alone over annotated images; those without a usable annotation are skipped.

    Args:
        task: what the progress says.
        change: applied to the normalised images.
        mirrored: in place of `change`, mirror the images; positions are then those on the mirror images.
    """
    if mirrored:
        change = _mirror
    runner = open_runner(config, model, replica=False, objects=config.objects_at_most, given=config.boxes is not None)
    part_evaluator = PartEvaluator(model)
    evaluator = Evaluator("parts", part_evaluator.spec.k, {})
    progress.start(task, len(images))

    with torch.inference_mode():
        for loaded, pixels in runner.loader.batches([image.listed for image in images], Progress()):
            for seen, chosen in runner.looks(loaded, pixels):
                output = runner.run(chosen, change)
                rows = _scored_rows(seen, images, evaluator)
                if rows:
                    part_evaluator.add(
                        output,
                        rows,
                        evaluator.ground_truths[-len(rows) :],
                        [images[seen[row].index].class_name for row in rows],
                        [_mirrored(seen[row]) if mirrored else seen[row].window for row in rows],
                    )
            progress.advance(len(loaded))
    return part_evaluator


def _scored_rows(seen: Sequence[LoadedImage], images: Sequence[AnnotatedImage], evaluator: Evaluator) -> list[int]:
    """Add the images of a batch to the evaluator, and return the row of the object that is annotated on each."""
    scored = []
    for rows, entries in rows_by_image(seen):
        image = images[entries[0].index]
        (index,) = match_objects([entry.window for entry in entries], [image])
        if index is not None and evaluator.add(image, (entries[0].width, entries[0].height), {}):
            scored.append(rows[index])
    return scored


def _mirror(images: Tensor) -> Tensor:
    return images.flip(3)


def _mirrored(image: LoadedImage) -> Box | None:
    """Return where the window of an image is on its mirror image."""
    if image.window is None or image.empty:
        return image.window
    x, y, width, height = image.window
    return image.width - x - width, y, width, height


def noise(seed: int) -> Callable[[Tensor], Tensor]:
    """Make the noise of EvalProtoPNet's stability score, drawn on the CPU so that it is the same on every device."""
    generator = torch.Generator().manual_seed(seed)

    def add(images: Tensor) -> Tensor:
        drawn = torch.randn(images.shape, generator=generator) * NOISE
        return images + drawn.clamp(-NOISE_LIMIT, NOISE_LIMIT).to(images)

    return add


def part_scores(test: PartEvaluator, training: PartEvaluator | None, names: Sequence[str]) -> dict[str, Any]:
    """Compute all figures of the parts that need no further pass over the images.

    Args:
        training: of the images that regressions are fitted on; None takes five folds of the test images.
        names: of the landmarks.
    """
    spec = test.spec
    visible = ~np.isnan(test.landmarks[..., 0])
    landmark = np.broadcast_to(np.arange(len(names)), visible.shape)[visible]

    return {
        "k": spec.k,
        "names": list(spec.names),
        "threshold": spec.threshold,
        "learned_from": spec.learned_from,
        "landmark_regression": _regressions(test, training, names),
        "voronoi": _pair("nearest keypoint found (Voronoi)", voronoi(test.visible_xy, test.landmarks)),
        "voronoi_all": _pair("nearest keypoint, found or not (Voronoi)", voronoi(test.xy, test.landmarks)),
        "map_based": _pair("part map at the landmark (map-based)", agreement(landmark, test.labels[visible])),
        "consistency": {
            "protocol": "EvalProtoPNet's rule, 36/224 of the true box, whole images as input",
            "score": _round(consistency(test.boxed(test.visible_xy), test.boxed(test.landmarks))),
        },
        "retrieval": _retrieval(test, names),
        "visibility": _visibility(test, training or test, names),
    }


def _pair(protocol: str, output: tuple[float, float]) -> dict[str, Any]:
    return {"protocol": protocol, "nmi": _round(output[0]), "ari": _round(output[1])}


def _round(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, 2)


def _regressions(test: PartEvaluator, training: PartEvaluator | None, names: Sequence[str]) -> dict[str, Any]:
    """Compute protocol A for the parts and for the trivial predictors."""
    results = {}
    for name, points in _predictors(test, training or test, len(names)).items():
        own = (test.boxed(points(test)), test.boxed(test.landmarks))
        fit = None if training is None else (training.boxed(points(training)), training.boxed(training.landmarks))
        results[name] = cross_regression(*own) if fit is None else landmark_regression(fit, own)

    best = results["keypoints"]
    fitted_on = "the other images, five folds" if training is None else f"{len(training.ground_truths)} training images"
    return {
        "protocol": "A (Huang and Li, PDiscoNet): percent of the true box, all landmarks, micro average",
        "fitted_on": fitted_on,
        "error": _round(best.error),
        "error_of_found": _round(results["keypoints_found"].error),
        "by_landmark": {name: _round(value) for name, value in zip(names, best.by_landmark.tolist(), strict=True)},
        "baselines": {
            name: _round(result.error) for name, result in results.items() if not name.startswith("keypoints")
        },
        "by_class": {} if training is None else _by_class(test, training),
    }


def _predictors(
    test: PartEvaluator, shaped: PartEvaluator, landmarks: int
) -> dict[str, Callable[[PartEvaluator], Points]]:
    """Return the parts and the trivial predictors, each as a function from evaluated images to (N, k, 2) pixels.

    Args:
        shaped: the images that the mean shape is taken from.
    """
    k = test.spec.k
    truths = shaped.ground_truths
    shape = mean_shape([truth.landmarks for truth in truths], [truth.size for truth in truths])
    chosen = np.linspace(0, landmarks - 1, k).round().astype(int)
    random = np.random.default_rng(0)

    return {
        "keypoints": lambda given: given.xy,
        "keypoints_found": lambda given: given.visible_xy,
        "image_midpoint": lambda given: np.array([image_centre(truth, 1) for truth in given.ground_truths]),
        "random": lambda given: np.array([random_points(truth, k, random) for truth in given.ground_truths]),
        "mean_shape": lambda given: np.array([place_shape(shape, truth, k) for truth in given.ground_truths]),
        "true_points": lambda given: given.landmarks[:, chosen],
    }


def _by_class(test: PartEvaluator, training: PartEvaluator) -> dict[str, float | None]:
    """Score CUB's classes 001, 002 and 003, where present: fitted on all three together, tested on each alone."""

    def points_of(given: PartEvaluator, *prefixes: str) -> tuple[Points, Points]:
        own = [(name or "").startswith(prefixes) for name in given.classes]
        return given.boxed(given.xy)[own], given.boxed(given.landmarks)[own]

    fit = points_of(training, "001.", "002.", "003.")
    tests = {prefix: points_of(test, f"{prefix}.") for prefix in ("001", "002", "003")}
    return {
        prefix: _round(landmark_regression(fit, each).error)
        for prefix, each in tests.items()
        if len(fit[0]) and not np.isnan(each[1]).all()
    }


def _retrieval(test: PartEvaluator, names: Sequence[str]) -> dict[str, Any]:
    groups = list(_sides_joined(names))
    numbers = [groups.index(_without_side(name)) for name in names]
    found = part_retrieval(test.boxed(test.visible_xy), test.boxed(test.landmarks), numbers, test.classes)
    return {
        "protocol": "pairs of images of different classes; nearest visible landmark, left and right as one",
        "recall_at_1": _round(found.recall),
        "chance": _round(found.chance),
    }


def _without_side(name: str) -> str:
    return name.removeprefix("left ").removeprefix("right ")


def _sides_joined(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the landmarks, left and right under one name."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(_without_side(name), []).append(index)
    return groups


def _visibility(test: PartEvaluator, shaped: PartEvaluator, names: Sequence[str]) -> dict[str, Any] | None:
    """Compare scores with the annotated visibility of the landmark that each part is nearest to.

    Left and right landmarks count as one, visible where either is.

    Args:
        shaped: the images on which the landmark of each part is found.
    """
    groups = _sides_joined(names)
    nearest = _nearest_landmarks(shaped, groups)
    if not nearest:
        return None

    there = ~np.isnan(test.landmarks[..., 0])
    shown = np.concatenate([there[:, groups[landmark]].any(1) for landmark in nearest.values()])
    scores = np.concatenate([test.scores[:, part] for part in nearest])
    if not shown.any():
        return None

    values = visibility(scores, shown, test.spec.threshold)
    return {
        "protocol": "nearest landmark of each keypoint, left and right as one",
        "landmarks": {test.spec.names[part]: landmark for part, landmark in nearest.items()},
        **{key: value if key == "curve" else _round(value) for key, value in values.items()},
    }


def _nearest_landmarks(shaped: PartEvaluator, groups: dict[str, list[int]]) -> dict[int, str]:
    """Find for each part the group of landmarks that it is nearest to on average, where any is ever visible."""
    keypoints, landmarks = shaped.boxed(shaped.xy), shaped.boxed(shaped.landmarks)
    nearest = {}
    for part in range(shaped.spec.k):
        distances = np.linalg.norm(keypoints[:, part, None] - landmarks, axis=2)  # (N, P)
        means = {name: _mean(distances[:, group]) for name, group in groups.items()}
        known = {name: mean for name, mean in means.items() if mean is not None}
        if known:
            nearest[part] = min(known, key=lambda name: known[name])
    return nearest


def _mean(distances: NDArray[np.float64]) -> float | None:
    """Average over the images the distance to the nearer of a pair of landmarks."""
    shown = ~np.isnan(distances).all(1)
    return float(np.nanmin(distances[shown], axis=1).mean()) if shown.any() else None


def stability_scores(test: PartEvaluator, mirrored: PartEvaluator, noisy: PartEvaluator) -> dict[str, Any]:
    """Score whether parts stay in place on the mirror image, and on their landmarks on the noisy image."""
    widths = np.array([truth.size[0] for truth in test.ground_truths], dtype=np.float64)
    sides = np.array([max(truth.bbox[2:]) if truth.bbox else max(truth.size) for truth in test.ground_truths])

    landmarks = test.boxed(test.landmarks)
    hits, _ = region_hits(test.boxed(test.xy), landmarks)
    again, _ = region_hits(test.boxed(noisy.xy), landmarks)
    return {
        "flip": {
            "protocol": "mean distance to the mirrored keypoint, percent of the longer box side",
            "error": _round(flip_error(test.xy, mirrored.xy, widths, sides)),
        },
        "stability": {
            "protocol": "EvalProtoPNet's rule: landmarks hit are the same under noise, percent of (image, keypoint)",
            "score": _round(100 * float((hits == again).all(2).mean())),
        },
    }
