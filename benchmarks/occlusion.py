"""Compare the occlusion of one image with captum's, with the same patch, stride and network.

    python benchmarks/occlusion.py [IMAGE] [--repeats 3]

captum's `Occlusion` slides the same 16 x 16 occluder with stride 8 over the same 224-pixel input of the bundled model,
filled from one image of random colours. It runs at several values of `perturbations_per_eval`, and the fastest one
counts. lmpnet does the same in float32 and in bfloat16. All are timed in turn in this process, and the maps are
compared.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from captum.attr import Occlusion
from torch import Tensor

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.images import read_image, to_input
from lmpnet_cli.inference.saliency import SaliencyPredictor
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.saliency.occlusion import colors_from_image
from lmpnet_cli.saliency.pipeline import coarse_map

PER_EVAL = (1, 8, 16, 32, 64)


def seconds(command: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Return the seconds of one run, and its result."""
    started = time.perf_counter()
    result = command()
    return time.perf_counter() - started, result


def measure(image: Path, repeats: int = 3) -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal."""
    config = {"images": (image,), "method": "saliency", "device": "cpu"}
    exact, fast = (SaliencyPredictor(DiscoverConfig(precision=each, **config)) for each in ("32", "bf16"))
    classify, size = exact.classifier.logits, exact.classifier.size
    pixels = torch.from_numpy(to_input(read_image(image).rgb, size).transpose(2, 0, 1).copy())[None]
    fill = torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    patch, stride = exact.config.patch, exact.config.coarse_stride
    colors = colors_from_image(fill, patch, stride)
    with torch.inference_mode():
        whole = classify(pixels).softmax(1)[0]
    target = whole.argmax()

    def minus_drop(batch: Tensor) -> Tensor:
        # captum computes the drop of this value: the drop of the probability, with increases set to 0
        return (classify(batch).softmax(1)[:, target] - whole[target]).clamp(max=0)

    def captum(per_eval: int) -> Tensor:
        with torch.inference_mode():
            found: Tensor = Occlusion(minus_drop).attribute(
                pixels.float(),
                sliding_window_shapes=(3, patch, patch),
                strides=(3, stride, stride),
                baselines=fill[None].float(),
                perturbations_per_eval=per_eval,
            )
        return found[0, 0]

    def ours(predictor: SaliencyPredictor) -> Tensor:
        with torch.inference_mode():
            classify, batch_size = predictor._occluded, predictor.config.batch_size
            return coarse_map(
                classify, pixels, target[None], colors[None], stride=stride, batch_size=batch_size, fast=True
            )[0]

    ours(exact), ours(fast)  # warm
    trial = {per_eval: seconds(lambda per_eval=per_eval: captum(per_eval))[0] for per_eval in PER_EVAL}
    best = min(trial, key=lambda each: trial[each])
    times: dict[str, list[float]] = {}
    maps = {}
    for _ in range(repeats):
        for name, command in (
            (f"captum, {best} per pass", lambda: captum(best)),
            ("lmpnet, float32", lambda: ours(exact)),
            ("lmpnet, bfloat16", lambda: ours(fast)),
        ):
            took, maps[name] = seconds(command)
            times.setdefault(name, []).append(took)
    (oracle, floor), *others = [(name, statistics.median(each)) for name, each in times.items()]
    lines = [
        "## Occlusion",
        "",
        "| | seconds per image | times as fast | largest difference | correlation |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines.append(f"| {oracle} | {floor:.1f} | 1 | 0 | 1 |")
    for name, took in others:
        difference = (maps[name] - maps[oracle]).abs().max()
        correlation = np.corrcoef(maps[name].flatten(), maps[oracle].flatten())[0, 1]
        lines.append(f"| {name} | {took:.1f} | {floor / took:.2f} | {difference:.1e} | {correlation:.5f} |")
    lines += [
        "",
        "captum in seconds, by `perturbations_per_eval`: " + ", ".join(f"{n}: {t:.1f}" for n, t in trial.items()),
    ]
    lines += ["", f"Largest value of the map: {maps[oracle].max():.3f}; {exact.patches} patches."]
    return lines, ", ".join(f"{floor / took:.1f} ({name})" for name, took in others)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", type=Path, default=sorted(bundled_examples().rglob("*.jpg"))[0])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("\n".join(measure(given.image, given.repeats)[0]))
