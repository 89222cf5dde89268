"""`lmpnet salient`: the saliency histogram, which landmarks a classifier relies on (poster, figure 3).

For each class, and over all, how often each landmark is matched by a detection.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmpnet_cli.config import SaliencyHistogramConfig, takes_options
from lmpnet_cli.data.annotations import Annotations, read_annotations
from lmpnet_cli.drawing.charts import draw_saliency_histogram
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.drawing.panels import Panels
from lmpnet_cli.evaluation.evaluator import Evaluator, evaluate_predictor, images_with_landmarks, refuse_nothing
from lmpnet_cli.inference.predictor import open_predictor
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress
from lmpnet_cli.saliency.histogram import Histogram, histogram, matched

RESULTS = ("salient.json", "salient.png", "panels", "run.json")


@dataclass(frozen=True)
class SaliencyHistogramResult:
    """The counts.

    Attributes:
        document: the content of `salient.json`.
        skipped: (file name, reason) of images that could not be read.
    """

    document: dict[str, Any]
    skipped: list[tuple[str, str]]
    out: Path | None
    seconds: float
    device: str


@takes_options(SaliencyHistogramConfig)
def salient(
    data: str | Path | None = None,
    *,
    model: LMPNet | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SaliencyHistogramResult:
    """Count, class by class, on how many images each landmark is detected.

    Args:
        data: a CUB folder or a COCO keypoint file; None takes the bundled example images.
        model: a loaded model, in place of a checkpoint.
        **options: listed below; without `out` nothing is written.

    Raises:
        LmpnetError: when annotations and images do not fit, an option is out of range, or `out` cannot be used.
    """
    config = SaliencyHistogramConfig(data=None if data is None else Path(data), **options)
    progress = progress or Progress()
    with lock_output(config.out, RESULTS, config.overwrite):
        return _salient(config, model, progress)


def _salient(config: SaliencyHistogramConfig, model: LMPNet | None, progress: Progress) -> SaliencyHistogramResult:
    data = config.data or bundled_examples()
    annotations = read_annotations(data, config.split, config.follow_links, images=config.images)
    images = images_with_landmarks(annotations)
    started = time.perf_counter()

    with Panels(config, [image.name for image in images]) as panels:
        predictor = open_predictor(config, model)
        evaluator = evaluate_predictor(predictor, images, progress, panels)
        refuse_nothing(evaluator, images)

        document = _count(evaluator, config, annotations) | predictor.record()
        seconds = time.perf_counter() - started
        result = SaliencyHistogramResult(document, evaluator.skipped, config.out, seconds, str(predictor.device))
        if config.out:
            chart = draw_saliency_histogram(document)
            panels.commit()
            write_json(config.out / "salient.json", document)
            save_png(config.out / "salient.png", chart)
            facts = {"images": len(evaluator.ground_truths), "device": result.device, **predictor.record()}
            write_run(config.out, "salient", config.options(), seconds, **facts)
    return result


def _count(evaluator: Evaluator, config: SaliencyHistogramConfig, annotations: Annotations) -> dict[str, Any]:
    (threshold, found), *_ = evaluator.predictions.items()
    truths, names = evaluator.ground_truths, annotations.landmark_names
    hits = [
        matched(points, truth.landmarks, config.alpha * min(truth.size))
        for points, truth in zip(found, truths, strict=True)
    ]

    def count(chosen: Sequence[int]) -> dict[str, Any]:
        return _entry(histogram([hits[i] for i in chosen], [truths[i].landmarks for i in chosen]), names)

    classes: dict[str, list[int]] = {}
    for index, image in enumerate(evaluator.images):
        if image.class_name is not None:
            classes.setdefault(image.class_name, []).append(index)

    return {
        "dataset": annotations.name,
        "split": config.split,
        "images": len(truths),
        "method": config.method,
        "k": evaluator.k,
        "thr": threshold,
        "alpha": config.alpha,
        "landmarks": list(names),
        "all": count(range(len(hits))),
        "classes": {name: count(classes[name]) for name in sorted(classes)},
        "left_out_because": dict(+evaluator.left_out) | annotations.left_out,
        "skipped": skipped_entries(evaluator.skipped),
    }


def _entry(counts: Histogram, names: tuple[str, ...]) -> dict[str, Any]:
    best = counts.most_frequent
    rates = zip(names, counts.rates.tolist(), strict=True)
    return {
        "images": counts.images,
        "most_frequent": None if best is None else names[best],
        "detected": dict(zip(names, counts.detected.tolist(), strict=True)),
        "visible": dict(zip(names, counts.visible.tolist(), strict=True)),
        "rate": {name: None if np.isnan(rate) else round(rate, 4) for name, rate in rates},
    }
