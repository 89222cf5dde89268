"""Measure the seconds until the program responds.

python benchmarks/startup.py
"""

import subprocess
import sys
from pathlib import Path

from timing import take_turns

PROGRAM = str(Path(sys.executable).with_name("lmpnet"))


def measure() -> tuple[list[str], str]:
    """Return lines for the document, and the figure that has a goal."""
    calls = {
        "lmpnet --help": [PROGRAM, "--help"],
        "lmpnet discover --help": [PROGRAM, "discover", "--help"],
        "import lmpnet_cli": [sys.executable, "-c", "import lmpnet_cli"],
        "import torch": [sys.executable, "-c", "import torch"],
        "lmpnet discover, as far as its imports": [sys.executable, "-c", "import lmpnet_cli.discovery.discover"],
    }
    times = take_turns(
        {
            name: lambda call=call: subprocess.run(call, check=True, capture_output=True)  # type: ignore[misc]
            for name, call in calls.items()
        },
        7,
    )
    lines = ["## Start", "", "| | seconds |", "| --- | --- |"]
    lines += [f"| `{name}` | {seconds:.2f} |" for name, seconds in times.items()]
    return lines, f"{times['lmpnet --help']:.2f} s"


if __name__ == "__main__":
    print("\n".join(measure()[0]))
