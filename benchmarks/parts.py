"""Learn parts of several numbers on the training split of a data set, and score them on its test split.

    python benchmarks/parts.py data/CUB_200_2011 --out docs/results/parts-cub.json

Images pass through the network once; the features that the part heads need are kept in memory.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from program import run_program
from torch import Tensor

from lmpnet_cli.config import PartsConfig
from lmpnet_cli.data.annotations import AnnotatedImage, Annotations, read_annotations
from lmpnet_cli.data.datasets import training_images
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.evaluation.evaluator import Evaluator
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.part_scores import part_scores
from lmpnet_cli.evaluation.pck import GroundTruth, score
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.runtime import fast_bfloat16
from lmpnet_cli.keypoints import Box, keypoint_names
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput
from lmpnet_cli.model.part_head import PartHead, PartHeadSpec
from lmpnet_cli.parts import fit
from lmpnet_cli.progress import Progress

ALPHA = 0.1  # tolerance of greedy PCK, as in the paper
BLOCK = 256  # images that are scored together


class FeaturePartHead(PartHead):
    """A part head that takes the features of cells, (B, directions + 1, H, W), in place of the network's maps."""

    def forward(self, maps: Tensor) -> Tensor:
        return self.shares(maps.permute(0, 2, 3, 1))


@dataclass(frozen=True)
class AnnotatedFeatures:
    """Features of the cells of images with a usable annotation.

    Attributes:
        features: (N, directions + 1, H, W).
        ground_truths, classes, windows: of the same images.
    """

    features: Tensor
    ground_truths: list[GroundTruth]
    classes: list[str | None]
    windows: list[Box | None]


def annotated_features(runner: ModelRunner, reducer: PartHead, images: Sequence[AnnotatedImage]) -> AnnotatedFeatures:
    """Compute the features of annotated images; those without a usable annotation are skipped.

    Args:
        reducer: a part head that projects maps to features.
    """
    evaluator = Evaluator("parts", 1, {})
    features, classes, windows = [], [], []
    with torch.inference_mode():
        for loaded, pixels in runner.loader.batches([image.listed for image in images], Progress()):
            for seen, chosen in runner.looks(loaded, pixels):
                annotated = [images[each.index] for each in seen]
                sizes = [(each.width, each.height) for each in seen]
                kept = [index for index, image in enumerate(annotated) if evaluator.add(image, sizes[index], {})]

                cells = reducer.cells(runner.run(chosen).maps)[kept]
                features.append(cells.permute(0, 3, 1, 2))
                classes += [annotated[index].class_name for index in kept]
                windows += [seen[index].window for index in kept]
    return AnnotatedFeatures(torch.cat(features), evaluator.ground_truths, classes, windows)


def evaluate_part_head(model: LMPNet, part_head: PartHead, given: AnnotatedFeatures) -> PartEvaluator:
    """Find the parts in features that are already computed, beside the annotations of their images.

    Args:
        model: whose maps the features come from.
    """
    on_features = FeaturePartHead(part_head.spec)
    on_features.load_state_dict(part_head.state_dict())
    evaluator = PartEvaluator(LMPNet(model.spec, model.network, part_head=on_features))

    with torch.inference_mode():
        for start in range(0, len(given.features), BLOCK):
            block = slice(start, start + BLOCK)
            features = given.features[block]
            output = LMPNetOutput(features, torch.zeros(len(features), len(model.spec.classes)))
            rows, truths = range(len(features)), given.ground_truths[block]
            evaluator.add(output, rows, truths, given.classes[block], given.windows[block])
    return evaluator


@dataclass(frozen=True)
class Images:
    """The images of a run.

    Attributes:
        learned_from: parts are learned from these, without annotations.
        training: the regressions of the scores are fitted on these.
        test: the parts are scored on these.
    """

    learned_from: list[ListedImage]
    training: list[AnnotatedImage]
    test: list[AnnotatedImage]


def split_images(annotations: Annotations, learn_from: Sequence[Path], hold_out: bool) -> Images:
    """Choose the images of a run.

    Args:
        learn_from: data sets whose training splits parts are learned from.
        hold_out: score every fifth training image in place of the test split, and learn nothing from it.
    """
    training = [image for image in annotations.training if len(image.visible)]
    test = [image for image in annotations.images if len(image.visible)]
    learned_from = training_images(learn_from)
    if hold_out:
        test = training[::5]
        hidden = {image.path for image in test}
        training = [image for image in training if image.path not in hidden]
        learned_from = [image for image in learned_from if image.path not in hidden]
    return Images(learned_from, training, test)


def gather_features(config: PartsConfig, model: LMPNet, images: Sequence[ListedImage]) -> fit.FeatureBank:
    """Learn the object head of a model, and compute the features of its parts, as `lmpnet parts` does."""
    order = np.random.default_rng(0).permutation(len(images))[: config.images]
    if fast_bfloat16(torch.device("cpu")):
        config = replace(config, precision="bf16")
    runner = open_runner(config, model, replica=False, objects=1)
    chosen = [images[index] for index in order]
    model.object_head = fit.look_for_objects(runner, chosen, 0, Progress())
    return fit.gather_features(runner, chosen, 0, Progress())


def main() -> None:
    """Learn, score and write one row for each k and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument(
        "--learn-from", type=Path, nargs="+", help="other data sets whose training splits are learned from"
    )
    parser.add_argument("--k", type=int, nargs="+", default=[4, 5, 8, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hold-out", action="store_true", help="choose settings: score every fifth training image")
    given = parser.parse_args()

    annotations = read_annotations(given.data, "test")
    images = split_images(annotations, given.learn_from or [given.data], given.hold_out)
    config = PartsConfig(data=(given.data,), checkpoint=given.checkpoint, k=1, batch_size=32, device="cpu")
    model = load_checkpoint(given.checkpoint)

    started = time.perf_counter()
    bank = gather_features(config, model, images.learned_from)
    print(f"features of {len(bank.files)} images: {time.perf_counter() - started:.0f} s", flush=True)

    directions = bank.reduction["projection"].shape[1]
    reducer = PartHead(PartHeadSpec((), bank.channels, directions))
    reducer.load_state_dict(bank.reduction, strict=False)
    runner = open_runner(config, model, replica=False, objects=1)
    training = annotated_features(runner, reducer, images.training)
    test = annotated_features(runner, reducer, images.test)
    print(f"annotated images: {time.perf_counter() - started:.0f} s", flush=True)

    results: list[dict[str, Any]] = []
    for k in given.k:
        for seed in given.seeds:
            started = time.perf_counter()
            spec = PartHeadSpec(tuple(keypoint_names(k)), bank.channels, directions)
            part_head = fit.fit_part_head(spec, bank, seed, fit.DEFAULT_RECIPE, Progress())
            seconds = round(time.perf_counter() - started)

            on_test, on_training = (evaluate_part_head(model, part_head, each) for each in (test, training))
            scores = part_scores(on_test, on_training, annotations.landmark_names)
            pck = score(list(on_test.visible_xy), on_test.ground_truths, ALPHA)
            results.append(scores | pck | {"seed": seed, "seconds": seconds})
            print(summary(results[-1]), flush=True)
            write_json(given.out, {"data": annotations.name, "images": len(test.ground_truths), "results": results})


def summary(row: dict[str, Any]) -> str:
    """Return the figures of one row as a line."""
    regression, seen = row["landmark_regression"], row["visibility"]
    return (
        f"k {row['k']} seed {row['seed']}: A {regression['error']} (found {regression['error_of_found']}), "
        f"Voronoi {row['voronoi']['nmi']}/{row['voronoi']['ari']} "
        f"(all {row['voronoi_all']['nmi']}/{row['voronoi_all']['ari']}), "
        f"map {row['map_based']['nmi']}/{row['map_based']['ari']}, "
        f"PCK {row['greedy_pck']['mean']} 1-1 {row['greedy_pck_one_to_one']['mean']}, found {row['found']:.2f}, "
        f"consistent {row['consistency']['score']}, AP {seen['average_precision']} of {seen['visible']}, "
        f"P {seen['precision']} R {seen['recall']} at {row['threshold']}, {row['seconds']} s, "
        f"{regression['baselines']}"
    )


if __name__ == "__main__":
    run_program(main)
