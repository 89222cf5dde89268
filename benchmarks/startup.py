"""Measure the seconds until the program responds.

python benchmarks/startup.py
"""

import subprocess
import sys
from functools import partial
from pathlib import Path

from program import run_program
from timing import take_turns

from lmpnet_cli.errors import LmpnetError

LMPNET = Path(sys.executable).with_name("lmpnet")


def measure() -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal.

    Raises:
        LmpnetError: when the command `lmpnet` is not installed.
    """
    if not LMPNET.exists():
        raise LmpnetError(f"There is no {LMPNET}. Run `make install` and use .venv/bin/python.")
    calls = {
        "lmpnet --help": [LMPNET, "--help"],
        "lmpnet discover --help": [LMPNET, "discover", "--help"],
        "import lmpnet_cli": [sys.executable, "-c", "import lmpnet_cli"],
        "import torch": [sys.executable, "-c", "import torch"],
        "lmpnet discover, as far as its imports": [sys.executable, "-c", "import lmpnet_cli.discovery.discover"],
    }
    run = partial(subprocess.run, check=True, capture_output=True)
    times = take_turns({name: partial(run, call) for name, call in calls.items()}, 7)

    lines = ["## Start", "", "| | seconds |", "| --- | --- |"]
    lines += [f"| `{name}` | {seconds:.2f} |" for name, seconds in times.items()]
    return lines, f"{times['lmpnet --help']:.2f} s"


def main() -> None:
    """Print the table."""
    print("\n".join(measure()[0]))


if __name__ == "__main__":
    run_program(main)
