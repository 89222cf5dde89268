"""How much of `discover` is not the forward pass? Prints and stores one table.

    python benchmarks/discover.py [IMAGES] [--repeats 3]

The floor is the bare forward pass of both networks on tensors that are ready in memory, same batches, same precision.
Both are timed in turn in this process; the figure is the median ratio, 1.00 being a `discover` that costs nothing else.
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

from lmpnet_cli.bundled import bundled_examples
from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.discovery import discover
from lmpnet_cli.images import list_images
from lmpnet_cli.inference import Engine
from lmpnet_cli.progress import Progress
from lmpnet_cli.runtime import now, versions


def forward_seconds(engine: Engine, batches: list[torch.Tensor]) -> float:
    """Both networks, with the mask-out between them, on ready tensors."""
    started = time.perf_counter()
    for batch in batches:
        engine.maps(batch)
    return time.perf_counter() - started


def main() -> None:
    """Measures with overlays on and off and writes docs/results/speed-discover.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    files = list_images([options.images])
    config = DiscoverConfig(images=(options.images,), device="cpu")
    engine = Engine(config)
    pixels = [
        torch.from_numpy(np.stack([p.pixels for p in batch if p.pixels is not None]))
        for batch, _ in engine.batches(files, Progress())
    ]
    lines = ["| overlays | forward, images/s | discover, images/s | ratio |", "| --- | --- | --- | --- |"]
    for overlays in (True, False):
        pairs = []
        for _ in range(options.repeats):
            floor = forward_seconds(engine, pixels)
            with tempfile.TemporaryDirectory() as folder:
                result = discover(
                    options.images, model=engine.model, out=Path(folder) / "out", overlays=overlays, device="cpu"
                )
            pairs.append((floor, result.seconds))
        forward = len(files) / statistics.median(pair[0] for pair in pairs)
        whole = len(files) / statistics.median(pair[1] for pair in pairs)
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        lines.append(f"| {'on' if overlays else 'off'} | {forward:.1f} | {whole:.1f} | {ratio:.2f} |")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    found = versions()
    facts = (
        f"{now()}, commit {commit.strip()}, {len(files)} images of {options.images.name}, "
        f"{platform.processor() or platform.machine()}, "
        f"{torch.get_num_threads()} threads, torch {found['torch']}, "
        f"timm {found['timm']}, float32, batch {config.batch_size}"
    )
    text = "\n".join(["# Speed of discover on the CPU", "", facts, "", *lines, ""])
    target = Path(__file__).parent.parent / "docs" / "results" / "speed-discover.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
