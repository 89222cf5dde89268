"""Compare the peak memory of discover on many images, on few and on one, and time the report of many.

    python benchmarks/memory.py [IMAGES] [--many 10000]

Each command runs in a process of its own. The peak is read from /proc, so this program needs Linux.
"""

import argparse
import subprocess
import sys
import tempfile
import time
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
sys.argv = ["lmpnet", "discover", *sys.argv[1:], "--follow-links", "--device", "cpu", "--quiet"]
try:
    main()
finally:
    # not ru_maxrss, which a process inherits from its parent
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak(images: Path, out: Path, *options: str) -> float:
    """Return the peak memory in MiB of a discover on these images.

    Raises:
        LmpnetError: when the system has no /proc.
    """
    if not Path("/proc/self/status").exists():
        raise LmpnetError("This program reads the peak memory from /proc/self/status, which only Linux has.")
    command = [sys.executable, "-c", RUN, str(images), "--out", str(out), *options]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) / 1024


def measure(images: Path, many: int = 10_000) -> tuple[list[str], dict[str, str]]:
    """Return lines for the document, and the figures that have goals."""
    files = [file.path for file in list_images([images])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        one = peak(files[0], folder / "one")
        few = peak(linked(files, folder / "few", FEW), folder / "out-few", "--method", "parts")
        much = peak(linked(files, folder / "many", many), folder / "out-many", "--method", "parts")

        started = time.perf_counter()
        report = [sys.executable, "-m", "lmpnet_cli", "report", str(folder / "out-many"), "--quiet"]
        subprocess.run(report, check=True)
        seconds = time.perf_counter() - started
        size = (folder / "out-many" / "report.html").stat().st_size / 1e6
    lines = [
        "## Memory and report",
        "",
        f"`discover` with overlays: peak of {one:.0f} MiB on one image; with the method parts, {few:.0f} MiB on {FEW} "
        f"images and {much:.0f} on {many}. The report of the {many} takes {seconds:.0f} s and has {size:.1f} MB.",
    ]
    return lines, {
        "one": f"{one * 1.048576e-3:.2f} GB",
        "growth": f"{much / few:.2f} ({many} / {FEW})",
        "report": f"{seconds:.0f} s, {size:.1f} MB ({many} images)",
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--many", type=int, default=10_000)
    given = parser.parse_args()
    print("\n".join(measure(given.images, given.many)[0]))


if __name__ == "__main__":
    run_program(main)
