"""What does a sweep of ten thresholds cost beside the forward passes? Prints and stores one table.

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
from timing import in_turn, ready_batches, speeds, write_table

from lmpnet_cli.annotations import read_annotations
from lmpnet_cli.bundled import bundled_examples
from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.evaluation import evaluate
from lmpnet_cli.images import ListedImage
from lmpnet_cli.inference import Engine

SWEEP = tuple(np.linspace(0.5, 5, 10).tolist())


def main() -> None:
    """Measures with one threshold and with ten and writes docs/results/speed-eval.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=bundled_examples())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    annotated = [image for image in read_annotations(options.data).images if len(image.visible)]
    config = EvaluateConfig(device="cpu")
    engine = Engine(config)
    batches = ready_batches(engine, [ListedImage(image.path, image.name) for image in annotated])

    def command(thresholds: tuple[float, ...]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            evaluate(options.data, model=engine.model, out=Path(folder) / "out", thr=thresholds, device="cpu")
            return time.perf_counter() - started

    lines = ["| thresholds | forward, images/s | eval, images/s | eval over forward |", "| --- | --- | --- | --- |"]
    for thresholds in ((3.0,), SWEEP):
        pairs = in_turn(engine, batches, lambda thresholds=thresholds: command(thresholds), options.repeats)
        ratio = statistics.median(whole / floor for floor, whole in pairs)
        lines.append(f"| {len(thresholds)} | {speeds(pairs, len(annotated))} | {ratio:.2f} |")
    what = f"{len(annotated)} pictures of {options.data.name}"
    write_table("speed-eval.md", "Speed of eval on the CPU", what, config.batch_size, lines)


if __name__ == "__main__":
    main()
