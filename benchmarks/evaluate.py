"""What does a sweep of ten thresholds cost beside the forward passes?

    python benchmarks/evaluate.py DATA [--repeats 3]

The floor is the bare forward pass of both networks on tensors that are ready in memory, same batches, same precision.
`lmpnet eval` decodes, clusters ten times, scores and draws besides. Both are timed in turn in this process.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import in_turn, ready_batches, speeds

from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.evaluation.evaluate import evaluate
from lmpnet_cli.inference.runner import ModelRunner
from lmpnet_cli.io.bundled import bundled_examples

SWEEP = tuple(np.linspace(0.5, 5, 10).tolist())


def measure(data: Path, repeats: int = 3) -> tuple[list[str], str]:
    """Lines for the document, and the figure that has a goal."""
    annotated = [image for image in read_annotations(data).images if len(image.visible)]
    runner = ModelRunner(EvaluateConfig(device="cpu"))
    batches = ready_batches(runner, [ListedImage(image.path, image.name) for image in annotated])

    def command(thresholds: tuple[float, ...]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            evaluate(data, model=runner.model, out=Path(folder) / "out", thr=thresholds, device="cpu", parts=False)
            return time.perf_counter() - started

    lines = ["## eval", "", "| thresholds | forward, images/s | eval, images/s | eval over forward |"]
    lines.append("| --- | --- | --- | --- |")
    for thresholds in ((3.0,), SWEEP):
        pairs = in_turn(runner, batches, lambda thresholds=thresholds: command(thresholds), repeats)  # type: ignore[misc]
        ratio = statistics.median(whole / floor for floor, whole in pairs)
        lines.append(f"| {len(thresholds)} | {speeds(pairs, len(annotated))} | {ratio:.2f} |")
    return lines, f"{ratio:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=bundled_examples())
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print("\n".join(measure(given.data, given.repeats)[0]))
