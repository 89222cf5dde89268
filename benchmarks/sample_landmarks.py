"""Sample landmarks evenly from the predictions of all of them, as Table 2 of the paper samples 5 of the FCN's 15.

    python benchmarks/sample_landmarks.py all.json -o five.json [--k 5] [--sorted-by metrics.json]

The paper does not say in which order. Without `--sorted-by` the order is that of the part numbers. With it the
landmarks are sorted by their accuracy, best first, as `lmpnet eval --predictions all.json` wrote it into metrics.json.

The columns of the paper's row fall from KP 1 to KP 5. By part number that happens in 1 of 120 cases, so the paper
probably sorted. Sorting uses the annotations of the test images: such a row is only for comparison with the printed
one, and nothing is chosen by it.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from program import run_program

from lmpnet_cli.export.formats import read_document
from lmpnet_cli.io.coco import coco_text
from lmpnet_cli.io.files import write_pieces


def best_first(accuracies: Sequence[float]) -> list[int]:
    """Return the indices of the landmarks by falling accuracy; equal ones keep their order."""
    return sorted(range(len(accuracies)), key=lambda index: -accuracies[index])


def evenly(order: Sequence[int], k: int) -> list[int]:
    """Return k entries of `order`, evenly spaced, the first and the last among them.

    >>> evenly(range(15), 5)
    [0, 4, 7, 10, 14]
    """
    return [order[position] for position in np.linspace(0, len(order) - 1, k).round().astype(int).tolist()]


def main() -> None:
    """Read the predictions, and write those of the sampled landmarks as a COCO file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("predictions", type=Path, help="COCO file with all landmarks")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--sorted-by", type=Path, help="metrics.json of the same predictions")
    options = parser.parse_args()

    document = read_document(options.predictions)
    order: Sequence[int] = range(len(document.names))
    if options.sorted_by:
        metrics = json.loads(options.sorted_by.read_text(encoding="utf-8"))
        order = best_first(metrics["results"][0]["greedy_pck"]["kp"])

    chosen = evenly(order, options.k)
    results = [replace(each, xy=each.xy[chosen], scores=each.scores[chosen]) for each in document.results]
    names = [document.names[index] for index in chosen]
    write_pieces(options.out, coco_text(results, {"method": document.method}, names))
    print(f"wrote {options.out}: {', '.join(names)}")


if __name__ == "__main__":
    run_program(main)
