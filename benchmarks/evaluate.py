"""What does a sweep of ten thresholds cost beside the forward passes? Prints and stores one table.

    python benchmarks/evaluate.py DATA [--repeats 3]

The floor is the bare forward pass of both networks on tensors that are ready in memory, same batches, same precision.
`lmpnet eval` decodes, clusters ten times, scores and draws besides. Both are timed in turn in this process.
"""

import argparse
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from lmpnet_cli.annotations import read_annotations
from lmpnet_cli.bundled import bundled_examples
from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.evaluation import evaluate
from lmpnet_cli.images import ListedImage
from lmpnet_cli.inference import Engine
from lmpnet_cli.progress import Progress
from lmpnet_cli.runtime import now, versions

SWEEP = tuple(np.linspace(0.5, 5, 10).tolist())


def main() -> None:
    """Measures with one threshold and with ten and writes docs/results/speed-eval.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=bundled_examples())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    images = [image for image in read_annotations(options.data).images if len(image.visible)]
    engine = Engine(EvaluateConfig(device="cpu"))
    pixels = [
        torch.from_numpy(np.stack([p.pixels for p in batch if p.pixels is not None]))
        for batch, _ in engine.batches([ListedImage(image.path, image.name) for image in images], Progress())
    ]
    lines = ["| thresholds | forward, images/s | eval, images/s | eval over forward |", "| --- | --- | --- | --- |"]
    for thresholds in ((3.0,), SWEEP):
        pairs = []
        for _ in range(options.repeats):
            started = time.perf_counter()
            for batch in pixels:
                engine.maps(batch)
            floor = time.perf_counter() - started
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                evaluate(options.data, model=engine.model, out=Path(folder) / "out", thr=thresholds, device="cpu")
                pairs.append((floor, time.perf_counter() - started))
        forward = len(images) / statistics.median(pair[0] for pair in pairs)
        whole = len(images) / statistics.median(pair[1] for pair in pairs)
        ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
        lines.append(f"| {len(thresholds)} | {forward:.1f} | {whole:.1f} | {ratio:.2f} |")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    found = versions()
    facts = (
        f"{now()}, commit {commit.strip()}, {len(images)} pictures of {options.data.name}, {platform.machine()}, "
        f"{torch.get_num_threads()} threads, torch {found['torch']}, timm {found['timm']}, float32, batch 16"
    )
    text = "\n".join(["# Speed of eval on the CPU", "", facts, "", *lines, ""])
    target = Path(__file__).parent.parent / "docs" / "results" / "speed-eval.md"
    target.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
