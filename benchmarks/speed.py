"""Every figure of speed and memory, on this machine, as one document: docs/results/speed.md.

    python benchmarks/speed.py [IMAGES] [--data DATA] [--many 10000]

Each program that is called here also runs by itself.
"""

import argparse
from pathlib import Path

import clustering
import discover
import engines
import evaluate
import memory
import occlusion
import pooling
import sameness
import startup
from timing import RESULTS, facts

from lmpnet_cli.bundled import bundled_examples
from lmpnet_cli.images import list_images


def main() -> None:
    """Measures all and writes the document; what is done is printed meanwhile."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--data", type=Path, default=bundled_examples(), help="annotated pictures for eval")
    parser.add_argument("--many", type=int, default=10_000, help="pictures for the peak of memory")
    given = parser.parse_args()
    files = list_images([given.images])
    sections: list[list[str]] = []

    def done(lines: list[str]) -> None:
        sections.append(lines)
        print("\n".join(lines), end="\n\n", flush=True)

    began = facts()
    lines, help_seconds = startup.measure()
    done(lines)
    lines, clustered = clustering.measure()
    done(lines)
    lines, (pooled, step) = pooling.measure()
    done(lines)
    lines, ratios = discover.measure(given.images)
    done(lines)
    lines, engine = engines.measure(given.images)
    done(lines)
    lines, swept = evaluate.measure(given.data)
    done(lines)
    lines, occluded = occlusion.measure(files[0].path)
    done(lines)
    lines, same = sameness.measure(given.images)
    done(lines)
    lines, held = memory.measure(given.images, given.many)
    done(lines)
    table = [
        "| ratio | measured | goal |",
        "| --- | --- | --- |",
        f"| discover / bare forward of both networks, overlays on | {ratios['paper, overlays on']} | 0.95 |",
        f"| the same, discover by onnxruntime | {ratios['paper, onnx']} | |",
        f"| discover / bare forward of its network, vocabulary, overlays on | {ratios['vocabulary, overlays on']} | |",
        f"| the same, discover by onnxruntime | {ratios['vocabulary, onnx']} | |",
        f"| what the vocabulary adds to its network | {ratios['vocabulary adds']} | 3 % |",
        f"| learnable clustering, 32 images, 1024 filters / literal loop | {clustered} | 200 |",
        f"| leaky max pooling, both ways / AdaptiveMaxPool2d | {pooled} | no slower |",
        f"| training step with average pooling / with leaky max | {step} | 0.98 |",
        f"| eval with ten thresholds / bare forward | {swept} | 1.05 |",
        f"| occlusion, times as fast as captum's | {occluded} | |",
        f"| peak memory | {held} | 1.05 |",
        f"| `lmpnet --help` | {help_seconds} | 0.3 s |",
        f"| another engine / PyTorch channels last | {engine} | 1.3 |",
        f"| same bytes | {same} | 0 |",
    ]
    text = [
        "# Speed and memory",
        "",
        f"`make bench`: {began}, float32, {len(files)} images of {given.images.name}.",
        "",
    ]
    text += [*table, "", "\n\n".join("\n".join(lines) for lines in sections), ""]
    (RESULTS / "speed.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
