"""Compute the greedy PCK that the best choice of cells could reach if keypoints must lie thr cells apart.

    python benchmarks/ceiling.py DATA [--split train] [--k 5] [--distance squared]

For each image an exhaustive search finds the largest set of cells of a 14 x 14 map that are all correct (centre nearer
than alpha x shorter side to a visible landmark) and pairwise at least thr cells apart. On small birds there is not
always room for five. The mean is the ceiling of the metric, whatever the network.
"""

import argparse
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from program import run_program
from scipy.spatial.distance import cdist

from lmpnet_cli.data.annotations import AnnotatedImage, read_annotations
from lmpnet_cli.data.images import image_size
from lmpnet_cli.keypoints import cells_to_pixels
from lmpnet_cli.model.clustering import GRID, erasing_limit
from lmpnet_cli.model.reading import Distance

THRESHOLDS = (1.0, 2.0, 3.0)  # cells


def correct_cells(image: AnnotatedImage, alpha: float) -> NDArray[np.float64]:
    """Return the (N, 2) row and column of the cells of a 14 x 14 map whose centre is near a visible landmark.

    Args:
        alpha: tolerance as a share of the shorter image side.
    """
    rows, columns = (axis.ravel().astype(float) for axis in np.mgrid[:GRID, :GRID])
    size = image_size(image.listed.readable)
    centres = cells_to_pixels(rows, columns, (GRID, GRID), size)
    near = (cdist(centres, image.visible) < alpha * min(size)).any(axis=1)
    return np.stack([rows[near], columns[near]], axis=1)


def most_apart(cells: NDArray[np.float64], limit: int, wanted: int) -> int:
    """Return the largest number (at most `wanted`) of cells whose pairwise squared distances are at least `limit`."""
    apart = cdist(cells, cells, "sqeuclidean").round() >= limit
    best = 0

    def extend(candidates: list[int], size: int) -> None:
        nonlocal best
        best = max(best, size)
        for index, cell in enumerate(candidates):
            if best >= wanted or size + len(candidates) - index <= best:
                return
            extend([other for other in candidates[index + 1 :] if apart[cell, other]], size + 1)

    extend(list(range(len(cells))), 0)
    return min(best, wanted)


def main() -> None:
    """Print one line for each threshold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--distance", choices=get_args(Distance), default="squared")
    parser.add_argument("--alpha", type=float, default=0.1)
    given = parser.parse_args()

    correct = [correct_cells(image, given.alpha) for image in read_annotations(given.data, given.split).images]
    for threshold in THRESHOLDS:
        reached = np.mean([most_apart(cells, erasing_limit(threshold, given.distance), given.k) for cells in correct])
        print(f"thr {threshold:g}: {100 * reached / given.k:.1f} % on {len(correct)} images")


if __name__ == "__main__":
    run_program(main)
