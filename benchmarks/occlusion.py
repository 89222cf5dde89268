"""Compare the occlusion of one image with captum's, with the same patch, stride and network.

    python benchmarks/occlusion.py [IMAGE] [--repeats 3]

captum's `Occlusion` slides the same 16 x 16 occluder with stride 8 over the same 224-pixel input of the bundled model,
and takes its colours from the same random image. It runs at several values of `perturbations_per_eval`, and the fastest
one counts. lmpnet does the same in float32 and in bfloat16. All take turns in this process, and the maps are compared.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from captum.attr import Occlusion
from program import run_program
from torch import Tensor

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.images import read_image, to_input
from lmpnet_cli.inference.classifier import lmpnet_classifier
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.saliency.occlusion import colors_from_image
from lmpnet_cli.saliency.pipeline import coarse_map

PER_EVAL = (1, 8, 16, 32, 64)  # occluded copies in one forward pass of captum


def seconds(command: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Return the seconds of one run, and its result."""
    started = time.perf_counter()
    result = command().cpu()  # waits for a GPU
    return time.perf_counter() - started, result


def measure(
    image: Path, repeats: int = 3, per_eval: tuple[int, ...] = PER_EVAL, device: str = "cpu", stride: int | None = None
) -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal.

    Args:
        per_eval: the values of captum's `perturbations_per_eval` to try.
        stride: of the patches, in pixels; None for the usual one.
    """
    config = DiscoverConfig(images=(image,), method="saliency", device=device)
    patch, stride = config.patch, stride or config.coarse_stride
    assert patch is not None and stride is not None
    classifier = lmpnet_classifier(open_runner(config, replica=False))
    classify, size = classifier.logits, classifier.size

    pixels = torch.from_numpy(to_input(read_image(image).rgb, size).transpose(2, 0, 1).copy())[None].to(device)
    fill = torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    fill = fill.to(device)
    colors = colors_from_image(fill, patch, stride)
    with torch.inference_mode():
        whole = classify(pixels).softmax(1)[0]
    target = whole.argmax()

    def minus_drop(batch: Tensor) -> Tensor:
        # captum computes the drop of this value: the drop of the probability, with increases set to 0
        return (classify(batch).softmax(1)[:, target] - whole[target]).clamp(max=0)

    def by_captum(copies: int) -> Tensor:
        with torch.inference_mode():
            found: Tensor = Occlusion(minus_drop).attribute(
                pixels.float(),
                sliding_window_shapes=(3, patch, patch),
                strides=(3, stride, stride),
                baselines=fill[None].float(),
                perturbations_per_eval=copies,
            )
        return found[0, 0]

    def in_bfloat16(images: Tensor) -> Tensor:
        with torch.autocast(pixels.device.type, torch.bfloat16):
            return classify(images)

    def by_lmpnet(logits: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.inference_mode():
            return coarse_map(
                logits, pixels, target[None], colors[None], stride=stride, batch_size=config.batch_size, fast=True
            )[0]

    # warm up lmpnet, and find the best setting of captum
    by_lmpnet(classify), by_lmpnet(in_bfloat16)
    trial = {copies: seconds(partial(by_captum, copies))[0] for copies in per_eval}
    best = min(trial, key=lambda copies: trial[copies])

    commands = {
        f"captum, {best} per pass": partial(by_captum, best),
        "lmpnet, float32": partial(by_lmpnet, classify),
        "lmpnet, bfloat16": partial(by_lmpnet, in_bfloat16),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    maps: dict[str, Tensor] = {}
    for _ in range(repeats):
        for name, command in commands.items():
            took, maps[name] = seconds(command)
            times[name].append(took)

    (captum, floor), *others = [(name, statistics.median(each)) for name, each in times.items()]
    lines = [
        "## Occlusion",
        "",
        "| | seconds per image | times as fast | largest difference | correlation |",
        "| --- | --- | --- | --- | --- |",
        f"| {captum} | {floor:.1f} | 1 | 0 | 1 |",
    ]
    for name, took in others:
        difference = (maps[name] - maps[captum]).abs().max()
        correlation = np.corrcoef(maps[name].flatten(), maps[captum].flatten())[0, 1]
        lines.append(f"| {name} | {took:.1f} | {floor / took:.2f} | {difference:.1e} | {correlation:.5f} |")
    tried = ", ".join(f"{copies}: {took:.1f}" for copies, took in trial.items())
    lines += ["", f"captum in seconds, by `perturbations_per_eval`: {tried}"]
    lines += ["", f"Largest value of the map: {maps[captum].max():.3f}; {len(colors)} patches."]
    return lines, ", ".join(f"{floor / took:.1f} ({name})" for name, took in others)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", type=Path, default=sorted(bundled_examples().rglob("*.jpg"))[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--per-eval", type=int, nargs="+", default=PER_EVAL, help="captum's settings to try")
    given = parser.parse_args()
    print("\n".join(measure(given.image, given.repeats, tuple(given.per_eval))[0]))


if __name__ == "__main__":
    run_program(main)
