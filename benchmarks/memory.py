"""Peak memory of discover on many pictures beside few, each in a process of its own.

python benchmarks/memory.py [IMAGES] [--many 10000]
"""

import argparse
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

from lmpnet_cli.data.listing import list_images
from lmpnet_cli.io.bundled import bundled_examples

FEW = 100
RUN = """
import re, sys
from pathlib import Path
from lmpnet_cli.cli import main
sys.argv = ["lmpnet", "discover", sys.argv[1], "--out", sys.argv[2], "--device", "cpu", "--quiet"]
try:
    main()
finally:
    # not ru_maxrss, which a process inherits from the one that starts it
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak(pictures: Path, count: int) -> float:
    """MiB that a discover on so many pictures, links to those that there are, holds at most."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for index, file in enumerate(islice(cycle(list_images([pictures])), count)):
            (images / f"{index:06d}{file.path.suffix}").symlink_to(file.path.absolute())
        command = [sys.executable, "-c", RUN, str(images), str(Path(folder) / "out")]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


def measure(pictures: Path, many: int = 10_000) -> tuple[list[str], str]:
    """Lines for the document, and the figure that has a goal."""
    few, much = peak(pictures, FEW), peak(pictures, many)
    lines = [
        "## Memory",
        "",
        f"`discover` with overlays, by the vocabulary: {few:.0f} MiB at most on {FEW} pictures, {much:.0f} on {many}.",
    ]
    return lines, f"{much / few:.2f} ({many} / {FEW})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--many", type=int, default=10_000)
    options = parser.parse_args()
    print("\n".join(measure(options.images, options.many)[0]))
