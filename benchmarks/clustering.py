"""Compare batched learnable clustering with Algorithm 1 as printed: image by image, filter by filter.

python benchmarks/clustering.py
"""

import math
import time
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from timing import take_turns

from lmpnet_cli.model.clustering import learnable_clustering

K, ITERATIONS, THRESHOLD = 5, 5, 3.0


def literal_clustering(raw: NDArray[np.float32]) -> NDArray[np.float64]:
    """Run Algorithm 1 line by line on the raw maps (C, H, W) of one image; return the keypoint maps (K, H, W).

    Distances are squared, as `lmpnet` reads them (docs/papers.md L3).
    """
    count, height, width = raw.shape
    x = np.zeros((count, height, width))
    position = [np.unravel_index(raw[j].argmax(), (height, width)) for j in range(count)]
    for j in range(count):
        x[j][position[j]] = 1 if raw[j].max() > 0 else 0

    found, weights = np.zeros((K, height, width)), np.ones((count, K))
    for i in range(K):
        for _ in range(ITERATIONS):
            soft = np.exp(weights[:, i]) / np.exp(weights[:, i]).sum()
            votes = np.zeros((height, width))
            for j in range(count):
                votes += soft[j] * x[j]
            peak = np.unravel_index(votes.argmax(), (height, width))
            distances = [math.dist(peak, position[j]) ** 2 if x[j].any() else math.inf for j in range(count)]
            for j in range(count):
                weights[j, i] = soft[j] + 1 / max(distances[j], 0.5)

        # the keypoint map
        soft = np.exp(weights[:, i]) / np.exp(weights[:, i]).sum()
        for j in range(count):
            found[i] += soft[j] * x[j]

        # erase what is near
        for j in range(count):
            if distances[j] < THRESHOLD:
                x[j] = 0
    return found


def measure(batch: int = 32, filters: int = 1024, side: int = 14) -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal."""
    maps = torch.rand(batch, filters, side, side, generator=torch.Generator().manual_seed(0)).square()
    started = time.perf_counter()
    expected = np.stack([literal_clustering(image) for image in maps.numpy()])
    slow = time.perf_counter() - started

    batched = partial(learnable_clustering, maps, K, ITERATIONS, THRESHOLD)
    fast = take_turns({"batched": batched}, 7)["batched"]

    # of cells with equal votes the loop takes the first, the package the one with stronger filters (docs/papers.md L7)
    same = np.abs(batched().numpy()[:, 0] - expected[:, 0]).max(axis=(1, 2)) < 1e-6
    lines = [
        "## Learnable clustering",
        "",
        f"{batch} images of {filters} filters of {side} x {side} cells, k = {K}, {ITERATIONS} iterations: "
        f"{1e3 * fast:.0f} ms batched, {slow:.1f} s in loops. The first map is the same on {same.mean():.0%} of the "
        "images; on the others two cells have equal votes, for which the paper has no rule.",
    ]
    return lines, f"{slow / fast:.0f} times as fast"


if __name__ == "__main__":
    lines, figure = measure()
    print("\n".join(lines), figure, sep="\n")
