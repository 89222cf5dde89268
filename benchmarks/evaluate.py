"""Measure what a sweep of ten thresholds costs beside the forward passes.

    python benchmarks/evaluate.py DATA [--repeats 3]

The floors are those of `discover.py`, for both networks on whole images. `lmpnet eval --method lmpnet` also decodes,
clusters ten times, scores and draws. Floors and command take turns in this process.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from program import run_program
from timing import Floors

from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.evaluation.evaluator import images_with_landmarks
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.bundled import bundled_examples

SWEEP = tuple(np.linspace(0.5, 5, 10).tolist())


def measure(data: Path, repeats: int = 3) -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal."""
    annotated = images_with_landmarks(read_annotations(data))
    config = EvaluateConfig(device="cpu")
    model = open_runner(config).model
    floors = Floors.of(config, [image.listed for image in annotated], replica=True, looks_twice=False)

    def command(thresholds: tuple[float, ...]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            started = time.perf_counter()
            evaluate(
                data,
                model=model,
                method="lmpnet",
                objects="none",
                out=out,
                thr=thresholds,
                device="cpu",
                parts=False,
            )
            return time.perf_counter() - started

    lines = [
        "## eval",
        "",
        "| thresholds | bare forward, images/s | folded | eval | eval / bare | eval / folded |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for thresholds in ((3.0,), SWEEP):
        ratios = floors.in_turn(partial(command, thresholds), repeats)
        lines.append(f"| {len(thresholds)} | {ratios.cells(len(annotated))} |")
    return lines, f"{1 / ratios.bare:.2f} ({1 / ratios.folded:.2f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=bundled_examples())
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("\n".join(measure(given.data, given.repeats)[0]))


if __name__ == "__main__":
    run_program(main)
