"""Score every reading of what the paper leaves open, with one set of weights.

    python benchmarks/readings.py DATA [--split train] [-c CHECKPOINT] [--filters 64 128 256 512 1024] [--json FILE]

One row for each distance, mask radius, fusion and position, and one for each number of filters in the default reading.
Beside greedy PCK, which needs annotations, each row has a criterion that needs none: how many keypoints of an image
are found again on its mirror image, in the same cell of the 14 x 14 grid or in one beside it. `--no-scores` prints the
criterion alone and reads no annotation.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from program import run_program

from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.data.annotations import AnnotatedImage, read_annotations
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.evaluation.pck import GroundTruth, Points, greedy_pck, score
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.io.runtime import evaluating
from lmpnet_cli.keypoints import positions_in_image
from lmpnet_cli.model.clustering import GRID
from lmpnet_cli.model.fusion import Detections
from lmpnet_cli.model.part_head import unflip
from lmpnet_cli.model.reading import DEFAULT_READING, Distance, Fusion, Position, Reading
from lmpnet_cli.progress import Progress

THRESHOLDS = (3.0, 2.0, 1.0)
BESIDE = 1.5  # cells: the same cell or one of its eight neighbours
K = 5


class Row:
    """What one reading finds at each threshold, and how much of it is found again on mirror images."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.points: list[list[Points]] = [[] for _ in THRESHOLDS]
        self.again: list[list[float]] = [[] for _ in THRESHOLDS]

    def add(self, loaded: Sequence[LoadedImage], sweep: Sequence[Detections], mirrored: Sequence[Detections]) -> None:
        """Add a batch: the detections of its images and of their mirror images, for each threshold."""
        for index, (found, other) in enumerate(zip(sweep, mirrored, strict=True)):
            cells = found.positions.double().cpu().numpy()
            back = unflip(other.positions, found.map_size[1]).double().cpu().numpy()
            tolerance = BESIDE * found.map_size[0] / GRID
            for image, own, seen in zip(loaded, cells, back, strict=True):
                self.points[index].append(positions_in_image(own, found.map_size, (image.width, image.height)))
                self.again[index].append(float(greedy_pck(seen, own, tolerance, one_to_one=True).sum()) / K)

    def document(self, truths: Sequence[GroundTruth] | None) -> dict[str, Any]:
        """Return the figures in percent, for each threshold."""
        results = []
        for thr, points, again in zip(THRESHOLDS, self.points, self.again, strict=True):
            row: dict[str, Any] = {"thr": thr, "found_on_mirror_image": round(100 * float(np.mean(again)), 2)}
            if truths is not None:
                scores = score(points, truths, alpha=0.1)
                row["greedy_pck"] = scores["greedy_pck"]
                row["one_to_one"] = scores["greedy_pck_one_to_one"]["mean"]
                row |= {name: scores[name] for name in ("coverage", "duplicate_rate", "found")}
            results.append(row)
        return {"reading": asdict(self.reading), "results": results}


def all_readings(radii: Sequence[float], filters: Sequence[int]) -> list[Reading]:
    """Return the readings that differ in distance, mask, fusion and position, then those in the number of filters."""
    choices = product(radii, get_args(Distance), get_args(Fusion), get_args(Position))
    readings = [
        replace(DEFAULT_READING, mask_radius=radius, distance=distance, fusion=fusion, position=position)
        for radius, distance, fusion, position in choices
    ]
    return readings + [replace(DEFAULT_READING, filters=count) for count in filters]


def measure(runner: ModelRunner, images: Sequence[AnnotatedImage], rows: Sequence[Row]) -> list[LoadedImage]:
    """Run the networks once for each mask and number of filters, and give their maps to the rows; return the images."""
    masks: dict[tuple[float, int | None], list[Row]] = {}
    for row in rows:
        masks.setdefault((row.reading.mask_radius, row.reading.filters), []).append(row)

    seen: list[LoadedImage] = []
    for sharing in masks.values():
        seen = []
        for loaded, sweeps in _sweeps(runner, images, sharing):
            seen += loaded
            for row, (found, mirrored) in zip(sharing, sweeps, strict=True):
                row.add(loaded, found, mirrored)
    return seen


def _sweeps(
    runner: ModelRunner, images: Sequence[AnnotatedImage], rows: Sequence[Row]
) -> Iterator[tuple[list[LoadedImage], list[tuple[list[Detections], list[Detections]]]]]:
    model, runner.reading = runner.model, rows[0].reading
    listed = [image.listed for image in images]
    with evaluating(model), torch.inference_mode():
        for loaded, pixels in runner.loader.batches(listed, Progress()):
            both = [runner.run(pixels), runner.run(pixels.flip(3))]
            sweeps = [[model.keypoint_sweep(each, THRESHOLDS, K, row.reading) for each in both] for row in rows]
            yield loaded, [(found, mirrored) for found, mirrored in sweeps]


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a Markdown table; three figures in a cell are those at thr 3, 2 and 1."""
    names = ["distance", "mask", "fusion", "position", "filters", "greedy PCK", "one-to-one", "KP 1", "duplicates"]
    lines = ["| " + " | ".join([*names, "found on the mirror image"]) + " |", "| --- " * (len(names) + 1) + "|"]

    def three(values: Iterable[float]) -> str:
        return " / ".join(f"{value:.1f}" for value in values)

    for document in rows:
        reading, results = document["reading"], document["results"]
        cells = [reading["distance"], f"{reading['mask_radius']:g}", reading["fusion"], reading["position"]]
        cells.append(str(reading["filters"]))
        if "greedy_pck" in results[0]:
            cells += [three(row["greedy_pck"]["mean"] for row in results), three(row["one_to_one"] for row in results)]
            cells.append(three(row["greedy_pck"]["kp"][0] for row in results))
            cells.append(three(row["duplicate_rate"] for row in results))
        else:
            cells += [""] * 4
        lines.append("| " + " | ".join([*cells, three(row["found_on_mirror_image"] for row in results)]) + " |")
    return lines


def main() -> None:
    """Print the table, and write the figures where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("-c", "--checkpoint", type=Path)
    parser.add_argument("--mask-radius", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--filters", type=int, nargs="*", default=[64, 128, 256, 1024])
    parser.add_argument("--no-replica", action="store_true")
    parser.add_argument("--no-scores", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()

    annotations = read_annotations(given.data, given.split)
    images = annotations.images if given.no_scores else [each for each in annotations.images if len(each.visible)]
    runner = open_runner(EvaluateConfig(checkpoint=given.checkpoint), replica=not given.no_replica)
    rows = [Row(reading) for reading in all_readings(given.mask_radius, given.filters)]
    seen = measure(runner, images, rows)

    truths = None
    if not given.no_scores:
        scored = [(images[each.index], (each.width, each.height)) for each in seen]
        truths = [GroundTruth(image.landmarks, size, image.bbox) for image, size in scored]
    documents = [row.document(truths) for row in rows]
    print(f"{annotations.name}, {given.split} split, {len(seen)} images\n")
    print("\n".join(table(documents)))
    if given.json:
        facts = {"data": annotations.name, "split": given.split, "images": len(seen)}
        facts["checkpoint"] = runner.checkpoint_record()
        given.json.write_text(json.dumps(facts | {"rows": documents}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_program(main)
