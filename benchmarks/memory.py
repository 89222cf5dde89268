"""Compare the peak memory of discover on many images and on few, each in a process of its own.

    python benchmarks/memory.py [IMAGES] [--many 10000]

The peak is read from /proc, so this program needs Linux.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from program import run_program
from timing import linked

from lmpnet_cli.data.listing import list_images
from lmpnet_cli.errors import LmpnetError
from lmpnet_cli.io.bundled import bundled_examples

FEW = 100
RUN = """
import re, sys
from pathlib import Path
from lmpnet_cli.cli import main
images, out = sys.argv[1:]
sys.argv = ["lmpnet", "discover", images, "--method", "parts", "--out", out, "--follow-links", "--device", "cpu"]
sys.argv += ["--quiet"]
try:
    main()
finally:
    # not ru_maxrss, which a process inherits from its parent
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak(images: Path, count: int) -> float:
    """Return the peak memory in MiB of a discover on `count` images, which are links to the given ones.

    Raises:
        InputError: when there are no images.
        LmpnetError: when the system has no /proc.
    """
    if not Path("/proc/self/status").exists():
        raise LmpnetError("This program reads the peak memory from /proc/self/status, which only Linux has.")
    files = list_images([images])

    with tempfile.TemporaryDirectory() as folder:
        links = linked([file.path for file in files], Path(folder) / "images", count)

        command = [sys.executable, "-c", RUN, str(links), str(Path(folder) / "out")]
        return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) / 1024


def measure(images: Path, many: int = 10_000) -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal."""
    few, much = peak(images, FEW), peak(images, many)
    lines = [
        "## Memory",
        "",
        f"`discover` with overlays, method parts: peak of {few:.0f} MiB on {FEW} images, {much:.0f} on {many}.",
    ]
    return lines, f"{much / few:.2f} ({many} / {FEW})"


def main() -> None:
    """Print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--many", type=int, default=10_000)
    given = parser.parse_args()
    print("\n".join(measure(given.images, given.many)[0]))


if __name__ == "__main__":
    run_program(main)
