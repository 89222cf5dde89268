"""`lmpnet salient`: which annotated parts does a classifier rely on? (papers.md 2.4, figure 3)

For each class, and over all, how often each part is matched by a detection.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmpnet_cli.config import SaliencyHistogramConfig
from lmpnet_cli.data.annotations import Annotations, read_annotations
from lmpnet_cli.drawing.charts import draw_saliency_histogram
from lmpnet_cli.drawing.files import save_png
from lmpnet_cli.drawing.panels import Panels
from lmpnet_cli.evaluation.evaluator import Evaluator, evaluate_predictor, refuse_nothing, with_points
from lmpnet_cli.inference.predictor import open_predictor
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.io.coco import skipped_entries
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import write_run
from lmpnet_cli.io.runtime import seed_everything
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


def salient(
    data: Any = None, *, model: LMPNet | None = None, progress: Progress | None = None, **options: Any
) -> SaliencyHistogramResult:
    """Counts, class by class, on how many images each annotated part is detected.

    Args:
        data: a CUB folder or a COCO keypoint file; None takes the bundled example pictures.
        model: a loaded model, in place of a checkpoint.
        **options: the fields of `SalientConfig`; without `out` nothing is written.

    Raises:
        LmpnetError: when annotations and pictures do not fit, an option is out of range, or `out` cannot be used.
    """
    config = SaliencyHistogramConfig(data=None if data is None else Path(data), **options)
    progress = progress or Progress()
    with lock_output(config.out, RESULTS, config.overwrite):
        return _salient(config, model, progress)


def _salient(config: SaliencyHistogramConfig, model: LMPNet | None, progress: Progress) -> SaliencyHistogramResult:
    annotations = read_annotations(config.data or bundled_examples(), config.split, config.follow_links)
    images = with_points(annotations)
    seed_everything(config.seed)
    started = time.perf_counter()
    with Panels(config, [image.name for image in images]) as panels:
        predictor = open_predictor(replace(config, iterations=1) if config.method == "lmpnet" else config, model)
        run = evaluate_predictor(config, [config.thr], predictor, images, progress, panels)
        refuse_nothing(run, images)
        document = _count(run, config, annotations) | predictor.record()
        result = SaliencyHistogramResult(
            document, run.skipped, config.out, time.perf_counter() - started, str(predictor.device)
        )
        if config.out:
            chart = draw_saliency_histogram(document)
            panels.commit()
            write_json(config.out / "salient.json", document)
            save_png(config.out / "salient.png", chart)
            facts = {"images": len(run.ground_truths), "device": result.device, **predictor.record()}
            write_run(config.out, "salient", config.options(), result.seconds, **facts)
    return result


def _count(run: Evaluator, config: SaliencyHistogramConfig, annotations: Annotations) -> dict[str, Any]:
    (threshold, found), *_ = run.predictions.items()
    names = annotations.landmark_names
    hits = [
        matched(points, ground_truth.parts, config.alpha * min(ground_truth.size))
        for points, ground_truth in zip(found, run.ground_truths, strict=True)
    ]

    def of(chosen: Sequence[int]) -> dict[str, Any]:
        return _entry(histogram([hits[i] for i in chosen], [run.ground_truths[i].parts for i in chosen]), names)

    classes: dict[str, list[int]] = {}
    for index, image in enumerate(run.images):
        if image.class_name is not None:
            classes.setdefault(image.class_name, []).append(index)
    return {
        "dataset": annotations.name,
        "split": config.split,
        "images": len(run.ground_truths),
        "method": config.method,
        "k": run.k,
        "thr": threshold,
        "alpha": config.alpha,
        "parts": list(names),
        "all": of(range(len(hits))),
        "classes": {name: of(classes[name]) for name in sorted(classes)},
        "left_out_because": dict(+run.left_out) | annotations.left_out,
        "skipped": skipped_entries(run.skipped),
    }


def _entry(counts: Histogram, names: tuple[str, ...]) -> dict[str, Any]:
    best = counts.most_frequent
    return {
        "images": counts.images,
        "most_frequent": None if best is None else names[best],
        "detected": dict(zip(names, counts.detected.tolist(), strict=True)),
        "visible": dict(zip(names, counts.visible.tolist(), strict=True)),
        "rate": {
            name: None if np.isnan(rate) else round(rate, 4)
            for name, rate in zip(names, counts.rates.tolist(), strict=True)
        },
    }
