"""`lmpnet eval`: keypoints against annotations, with the trivial baselines in the same table.

The maps of an image are computed once; every threshold clusters them anew.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.annotations import AnnotatedImage, Annotations, read_annotations
from lmpnet_cli.bundled import bundled_examples
from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.datasets import cub_root
from lmpnet_cli.discovery import find_keypoints
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.images import ListedImage, UnreadableImage, image_size
from lmpnet_cli.inference import Engine
from lmpnet_cli.lmp.network import LMPNet, PairMaps
from lmpnet_cli.metrics import (
    Points,
    Scene,
    feature_map_entropy,
    image_centre,
    leave_one_out_shapes,
    mean_shape,
    place_shape,
    random_points,
    score,
)
from lmpnet_cli.progress import Progress
from lmpnet_cli.runtime import prepare_output, seed_everything, write_json, write_run

RESULTS = ("metrics.json", "run.json")


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
    if config.out:
        prepare_output(config.out, RESULTS, config.overwrite)
    annotations = read_annotations(config.data or bundled_examples(), config.split)
    images = [image for image in annotations.images if len(image.visible)]
    if not images:
        raise DatasetError(f"None of the {len(annotations.images)} annotated pictures has a visible keypoint.")
    seed_everything(config.seed)
    engine = Engine(config, model, config.replica)
    started = time.perf_counter()
    run = _Run(config, engine, images)
    run.collect(progress)
    metrics = {
        "dataset": annotations.name,
        "split": config.split,
        "images": len(run.scenes),
        "left_out": len(annotations.images) - len(images),
        "skipped": [{"file_name": name, "reason": reason} for name, reason in engine.skipped],
        "method": config.method,
        "k": config.k,
        "alpha": config.alpha,
        "map_size": list(run.map_size),
        **run.classification(),
        "entropy": run.entropy(),
        "results": [
            {"thr": threshold, **score(run.predictions[threshold], run.scenes, config.alpha, config.seed)}
            for threshold in config.thr
        ],
        **run.baselines(_training_shape(config)),
        "checkpoint": engine.checkpoint_record(),
    }
    result = EvaluateResult(metrics, engine.skipped, config.out, time.perf_counter() - started, str(engine.device))
    if config.out:
        write_json(config.out / "metrics.json", metrics)
        write_run(
            config.out,
            "eval",
            config.options(),
            result.seconds,
            images=len(run.scenes),
            device=result.device,
            precision="bf16" if engine.bfloat16 else "32",
            checkpoint=engine.checkpoint_record(),
        )
    return result


class _Run:
    """What one pass over the pictures gathers."""

    def __init__(self, config: EvaluateConfig, engine: Engine, images: Sequence[AnnotatedImage]) -> None:
        self.config, self.engine, self.images = config, engine, images
        self.predictions: dict[float, list[Points]] = {threshold: [] for threshold in config.thr}
        self.scenes: list[Scene] = []
        self.parts: list[Points] = []  # (P, 2) for each scene, NaN where not visible
        self.map_size = (0, 0)
        self.hits: dict[str, list[bool]] = {"accuracy": [], "replica_accuracy": []}
        self._entropies: list[float] = []

    def collect(self, progress: Progress) -> None:
        classes = self.engine.model.spec.classes
        files = [ListedImage(image.path, image.name) for image in self.images]
        progress.start("eval", len(files))
        for pictures, pair in self.engine.batches(files, progress):
            own = [self.images[picture.index] for picture in pictures]
            self.map_size = (pair.maps.shape[2], pair.maps.shape[3])
            self.scenes += [
                Scene(image.visible, (picture.width, picture.height), image.bbox)
                for image, picture in zip(own, pictures, strict=True)
            ]
            self.parts += [image.parts for image in own]
            for threshold in self.config.thr:
                found = find_keypoints(pair, pictures, self.config, threshold, classes)
                self.predictions[threshold] += [keypoints.xy for keypoints in found]
            self._entropies += feature_map_entropy(pair.maps).nanmean(1).tolist()
            self._classify(pair, own)

    def _classify(self, pair: PairMaps, images: Sequence[AnnotatedImage]) -> None:
        classes = self.engine.model.spec.classes
        for name, logits in (("accuracy", pair.logits), ("replica_accuracy", pair.replica_logits)):
            if logits is not None:
                predicted = logits[:, : len(classes)].argmax(1).tolist()
                self.hits[name] += [
                    classes[label] == image.class_name
                    for label, image in zip(predicted, images, strict=True)
                    if image.class_name in classes
                ]

    def classification(self) -> dict[str, float | None]:
        """Share of pictures whose class is predicted, among those of a class that the model knows; None without any."""
        return {name: round(float(np.mean(hits)), 4) if hits else None for name, hits in self.hits.items()}

    def entropy(self) -> float | None:
        """Mean entropy of the network's maps over filters and pictures, in nats; maps that are zero are left out."""
        known = [value for value in self._entropies if not np.isnan(value)]
        return round(float(np.mean(known)), 4) if known else None

    def baselines(self, shape: NDArray[np.float64] | None) -> dict[str, object]:
        """The trivial predictors on the same pictures, and where the mean shape comes from.

        Args:
            shape: mean shape of the training split; None takes, for each picture, that of the other scored pictures.
        """
        k, alpha, seed = self.config.k, self.config.alpha, self.config.seed
        random = np.random.default_rng(seed)
        sizes = [scene.size for scene in self.scenes]
        shapes = [shape] * len(sizes) if shape is not None else leave_one_out_shapes(self.parts, sizes)
        predictors: dict[str, list[Points]] = {
            "image_centre": [image_centre(scene, k) for scene in self.scenes],
            "random": [random_points(scene, k, random) for scene in self.scenes],
            "mean_shape": [place_shape(own, scene, k) for own, scene in zip(shapes, self.scenes, strict=True)],
        }
        return {
            "baselines": {name: score(points, self.scenes, alpha, seed) for name, points in predictors.items()},
            "mean_shape_of": "the other scored images" if shape is None else "the training split",
        }


def _training_shape(config: EvaluateConfig) -> NDArray[np.float64] | None:
    """Mean position of the parts over the training split, as a share of the image."""
    data = config.data or bundled_examples()
    if config.split != "test" or not data.is_dir() or cub_root(data) is None:
        return None
    try:
        training: Annotations = read_annotations(data, "train")
    except DatasetError:
        return None  # everything is test, as in the example pictures
    parts, sizes = [], []
    for image in training.images:
        try:
            sizes.append(image_size(image.path))
        except UnreadableImage:
            continue
        parts.append(image.parts)
    return mean_shape(parts, sizes) if parts else None
