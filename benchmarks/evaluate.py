"""Measure what a sweep of ten thresholds costs beside the forward passes.

    python benchmarks/evaluate.py DATA [--repeats 3]

The floor is the bare forward pass of both networks on tensors that are already in memory, with the same batches and
precision. `lmpnet eval --method lmpnet` also decodes, clusters ten times, scores and draws. Floor and command take
turns in this process.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from program import run_program
from timing import bare_forward, in_turn, ready_batches, speeds

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
    runner = open_runner(EvaluateConfig(device="cpu"))
    batches = ready_batches(runner, [image.listed for image in annotated])

    def command(thresholds: tuple[float, ...]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            started = time.perf_counter()
            evaluate(
                data,
                model=runner.model,
                method="lmpnet",
                objects="none",
                out=out,
                thr=thresholds,
                device="cpu",
                parts=False,
            )
            return time.perf_counter() - started

    lines = ["## eval", "", "| thresholds | forward, images/s | eval, images/s | eval over forward |"]
    lines.append("| --- | --- | --- | --- |")
    for thresholds in ((3.0,), SWEEP):
        pairs = in_turn(bare_forward(runner, batches), partial(command, thresholds), repeats)
        ratio = statistics.median(whole / floor for floor, whole in pairs)
        lines.append(f"| {len(thresholds)} | {speeds(pairs, len(annotated))} | {ratio:.2f} |")
    return lines, f"{ratio:.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=bundled_examples())
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("\n".join(measure(given.data, given.repeats)[0]))


if __name__ == "__main__":
    run_program(main)
