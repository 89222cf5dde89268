"""How much of `discover` is not the forward pass? Prints and stores one table.

    python benchmarks/discover.py [IMAGES] [--repeats 3]

The floor is the bare forward pass of both networks on tensors that are ready in memory, same batches, same precision.
Both are timed in turn in this process; the figure is the median ratio, 1.00 being a `discover` that costs nothing else.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from timing import in_turn, ready_batches, speeds, write_table

from lmpnet_cli.bundled import bundled_examples
from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.discovery import discover
from lmpnet_cli.images import list_images
from lmpnet_cli.inference import Engine


def main() -> None:
    """Measures with overlays on and off and writes docs/results/speed-discover.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    files = list_images([options.images])
    config = DiscoverConfig(images=(options.images,), device="cpu")
    engine = Engine(config)
    batches = ready_batches(engine, files)

    def command(overlays: bool) -> float:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            return discover(options.images, model=engine.model, out=out, overlays=overlays, device="cpu").seconds

    lines = ["| overlays | forward, images/s | discover, images/s | ratio |", "| --- | --- | --- | --- |"]
    for name, overlays in (("on", True), ("off", False)):
        pairs = in_turn(engine, batches, lambda overlays=overlays: command(overlays), options.repeats)
        ratio = statistics.median(floor / whole for floor, whole in pairs)
        lines.append(f"| {name} | {speeds(pairs, len(files))} | {ratio:.2f} |")
    what = f"{len(files)} images of {options.images.name}"
    write_table("speed-discover.md", "Speed of discover on the CPU", what, config.batch_size, lines)


if __name__ == "__main__":
    main()
