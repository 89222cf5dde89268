"""Measure speed and memory on this machine and write docs/results/speed.md.

    python benchmarks/speed.py [IMAGES] [--data DATA] [--many 10000]

Each program that is called here also runs alone. Here each has a process of its own, and finished results are stored in
build/bench/, so that an interrupted run can be resumed: start it again. For another commit, or other images, everything
is measured again.
"""

import argparse
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import backends
import clustering
import discover
import evaluate
import growth
import memory
import occlusion
import pooling
import reproducibility
import startup
import training
from program import run_program
from timing import RESULTS, commit, facts

from lmpnet_cli.data.listing import list_images
from lmpnet_cli.io.bundled import bundled_examples

STORE = RESULTS.parent.parent / "build" / "bench"


def main() -> None:
    """Measure everything, print each result, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--data", type=Path, default=bundled_examples(), help="annotated images for eval")
    parser.add_argument("--many", type=int, default=10_000, help="number of images for the peak memory")
    parser.add_argument("--out", type=Path, default=RESULTS / "speed.md")
    given = parser.parse_args()

    files = list_images([given.images])
    sections: list[list[str]] = []
    folder = STORE / f"{commit()}-{given.images.name}-{len(files)}-{given.many}"

    def measure(program: Callable[..., Any], *arguments: Any) -> Any:
        lines, figure = run_once(folder / f"{program.__module__}.json", program, *arguments)
        sections.append(lines)
        print("\n".join(lines), end="\n\n", flush=True)
        return figure

    machine = run_once(folder / "facts.json", facts)
    start = measure(startup.measure)
    clustered = measure(clustering.measure)
    pooled, step = measure(pooling.measure)
    ratios = measure(discover.measure, given.images)
    backend = measure(backends.measure, given.images)
    swept = measure(evaluate.measure, given.data)
    trained = measure(training.measure, given.images)
    occluded = measure(occlusion.measure, files[0].path)
    same = measure(reproducibility.measure, given.images)
    held = measure(memory.measure, given.images, given.many)
    grown = measure(growth.section, given.images, given.many, RESULTS.parent / "images" / "growth.png")

    table = [
        "| ratio | measured | goal |",
        "| --- | --- | --- |",
        f"| discover, lmpnet / bare forward of both networks (folded), overlays on | {ratios['lmpnet, overlays on']} "
        "| 0.95 |",
        f"| the same, discover by onnxruntime | {ratios['lmpnet, onnx']} | |",
        f"| discover, parts / bare forward of one network (folded), overlays on | {ratios['parts, overlays on']} | |",
        f"| the same, discover by onnxruntime | {ratios['parts, onnx']} | |",
        f"| what the part head adds to its network | {ratios['part head adds']} | 3 % |",
        f"| learnable clustering, 32 images, 1024 filters / literal loop | {clustered} | 200 |",
        f"| leaky max pooling, both ways / AdaptiveMaxPool2d | {pooled} | no slower |",
        f"| training step with average pooling / with leaky max | {step} | 0.98 |",
        f"| training / bare forward and backward, images a second | {trained} | 0.95 |",
        f"| time of eval with ten thresholds / bare forward (folded) | {swept} | 1.05 |",
        f"| occlusion, times as fast as captum's | {occluded} | |",
        f"| peak memory of discover on one image | {held['one']} | 0.8 GB |",
        f"| peak memory, many images / few | {held['growth']} | 1.05 |",
        f"| report | {held['report']} | 30 s, 40 MB |",
        f"| time per image, many images / few | {grown} | 1 |",
        f"| `lmpnet --help` | {start['help']} | 0.3 s |",
        f"| `lmpnet discover` of one image / its floor | {start['discover']} | 1.4 |",
        f"| `lmpnet eval` of the example images / its floor | {start['eval']} | 2 |",
        f"| `lmpnet viz-filters` of the example images / its floor | {start['viz-filters']} | 2 |",
        f"| another backend / PyTorch | {backend} | 1.5 |",
        f"| same bytes | {same} | 0 |",
    ]

    text = [
        "# Speed and memory",
        "",
        f"`make bench`: {machine}, float32, {len(files)} images of {given.images.name}.",
        "",
    ]
    text += [*table, "", "\n\n".join("\n".join(lines) for lines in sections), ""]
    given.out.write_text("\n".join(text), encoding="utf-8")
    print(f"wrote {given.out}")


def run_once(path: Path, program: Callable[..., Any], *arguments: Any) -> Any:
    """Return the stored result of the program; run it in a process of its own if there is none."""
    if not path.exists():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            result = pool.submit(_by_default_means, program, *arguments).result()

        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result))

    return json.loads(path.read_text())


def _by_default_means(program: Callable[..., Any], *arguments: Any) -> Any:
    """Call the program in a process that starts others as a user's does, and not as it was started itself."""
    multiprocessing.set_start_method(None, force=True)
    return program(*arguments)


if __name__ == "__main__":
    run_program(main)
