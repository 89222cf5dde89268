"""Learn parts of several sizes on the training split of a data set, and score them on its test split.

    python benchmarks/parts.py data/CUB_200_2011 --out docs/results/parts-cub.json

Images pass through the network once; the features that the part heads need are kept in memory.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from lmpnet_cli.config import EvaluateConfig, PartsConfig
from lmpnet_cli.data.annotations import AnnotatedImage, read_annotations
from lmpnet_cli.data.datasets import training_images
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.evaluation.evaluator import Evaluator
from lmpnet_cli.evaluation.part_evaluator import PartEvaluator
from lmpnet_cli.evaluation.part_scores import part_scores
from lmpnet_cli.evaluation.pck import score
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.runtime import fast_bfloat16
from lmpnet_cli.keypoints import keypoint_names
from lmpnet_cli.model.part_head import PartHead, PartHeadSpec
from lmpnet_cli.parts import fit
from lmpnet_cli.progress import Progress


def annotated_cells(
    runner: ModelRunner, reducer: PartHead, images: list[AnnotatedImage]
) -> tuple[torch.Tensor, Evaluator, list[str | None]]:
    """Return features, ground truth and classes of the images with a usable annotation."""
    run = Evaluator("lmpnet", 1, {})
    cells, classes = [], []
    with torch.inference_mode():
        for loaded, pixels in runner.reader.batches([ListedImage(i.path, i.name) for i in images], Progress()):
            own = [(images[each.index], (each.width, each.height)) for each in loaded]
            kept = [index for index, (image, size) in enumerate(own) if run.add(image, size, {})]
            cells.append(reducer.cells(runner.maps(pixels).maps)[kept])
            classes += [own[index][0].class_name for index in kept]
    return torch.cat(cells), run, classes


def part_evaluator(part_head: PartHead, given: tuple[torch.Tensor, Evaluator, list[str | None]]) -> PartEvaluator:
    """Return an evaluator that receives features instead of maps."""

    class Reader(SimpleNamespace):
        def __call__(self, cells: torch.Tensor) -> torch.Tensor:
            return part_head.shares(cells)

    cells, run, classes = given
    made = PartEvaluator(Reader(spec=part_head.spec))  # type: ignore[arg-type]
    with torch.inference_mode():
        for start in range(0, len(cells), 256):
            part = slice(start, start + 256)
            made.add(cells[part], run.ground_truths[part], classes[part])
    return made


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
    training = [image for image in annotations.training if len(image.visible)]
    test = [image for image in annotations.images if len(image.visible)]
    learned_from = training_images(given.learn_from or [given.data])
    if given.hold_out:
        test = training[::5]
        hidden = {image.path for image in test}
        training = [image for image in training if image.path not in hidden]
        learned_from = [image for image in learned_from if image.path not in hidden]
    config = PartsConfig(data=given.data, checkpoint=given.checkpoint, k=1, batch_size=32)
    model = load_checkpoint(given.checkpoint)
    fast = replace(config, precision="bf16" if fast_bfloat16(torch.device("cpu")) else "32")
    order = np.random.default_rng(0).permutation(len(learned_from))[: config.images]
    started = time.perf_counter()
    runner = open_runner(fast, model, replica=False)
    bank = fit.gather_features(runner, [learned_from[i] for i in order], 0, Progress())
    print(f"features of {len(bank.files)} images: {time.perf_counter() - started:.0f} s", flush=True)
    directions = bank.reduction["projection"].shape[1]
    reducer = PartHead(PartHeadSpec((), bank.channels, directions))
    reducer.load_state_dict(bank.reduction, strict=False)
    runner = open_runner(EvaluateConfig(batch_size=32, checkpoint=given.checkpoint), model, replica=False)
    shown, scored = (annotated_cells(runner, reducer, images) for images in (training, test))
    print(f"annotated images: {time.perf_counter() - started:.0f} s", flush=True)
    results: list[dict[str, Any]] = []
    for k in given.k:
        for seed in given.seeds:
            started = time.perf_counter()
            spec = PartHeadSpec(tuple(keypoint_names(k)), bank.channels, directions)
            made = fit.fit_part_head(spec, bank, seed, fit.DEFAULT_RECIPE, Progress())
            seconds = time.perf_counter() - started
            one, other = part_evaluator(made, scored), part_evaluator(made, shown)
            row = score(list(one.written), one.ground_truths, 0.1)
            entry = (
                part_scores(one, other, annotations.landmark_names) | row | {"seed": seed, "seconds": round(seconds)}
            )
            results.append(entry)
            show(entry)
            write_json(given.out, {"data": annotations.name, "images": len(one.ground_truths), "results": results})


def show(entry: dict[str, Any]) -> None:
    """Print the figures of one row as a line."""
    regression, seen = entry["landmark_regression"], entry["visibility"]
    print(
        f"k {entry['k']} seed {entry['seed']}: A {regression['error']} (found {regression['error_of_found']}), "
        f"Voronoi {entry['voronoi']['nmi']}/{entry['voronoi']['ari']} "
        f"(all {entry['voronoi_all']['nmi']}/{entry['voronoi_all']['ari']}), "
        f"map {entry['map_based']['nmi']}/{entry['map_based']['ari']}, "
        f"PCK {entry['greedy_pck']['mean']} 1-1 {entry['greedy_pck_one_to_one']['mean']}, found {entry['found']:.2f}, "
        f"consistent {entry['consistency']['score']}, AP {seen['average_precision']} of {seen['visible']}, "
        f"P {seen['precision']} R {seen['recall']} at {entry['threshold']}, {entry['seconds']} s, "
        f"{regression['baselines']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
