"""Measure the seconds until the program responds, and whole commands on few images beside what they cannot avoid.

    python benchmarks/startup.py

The floor of a command is a process that imports PyTorch, loads the weights and runs both networks once on as many
images of random pixels.
"""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from program import run_program
from timing import take_turns

from lmpnet_cli.data.listing import list_images
from lmpnet_cli.errors import LmpnetError
from lmpnet_cli.io.bundled import bundled_examples

LMPNET = Path(sys.executable).with_name("lmpnet")
FLOOR = """
import sys
import torch
from lmpnet_cli.io.checkpoints import load_checkpoint
with torch.inference_mode():
    model = load_checkpoint()
    for _ in range(int(sys.argv[1])):
        model(torch.zeros(1, 3, 224, 224).contiguous(memory_format=torch.channels_last))
"""


def measure() -> tuple[list[str], dict[str, str]]:
    """Return lines for the document, and the figures that have goals.

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

    figures = {"help": f"{times['lmpnet --help']:.2f} s"}
    lines += ["", "| command | seconds | its floor | ratio |", "| --- | --- | --- | --- |"]
    images = list_images([bundled_examples() / "images"])
    with tempfile.TemporaryDirectory() as folder:
        out = ["--overwrite", "--quiet", "--device", "cpu", "--out"]
        commands = {
            "discover": (["discover", str(images[0].path), *out, f"{folder}/discover"], 1),
            "eval": (["eval", *out, f"{folder}/eval"], len(images)),
            "viz-filters": (["viz-filters", *out, f"{folder}/filters"], len(images)),
        }
        for name, (command, count) in commands.items():
            both = {"command": [LMPNET, *command], "floor": [sys.executable, "-c", FLOOR, str(count)]}
            times = take_turns({each: partial(run, call) for each, call in both.items()}, 5)
            ratio = times["command"] / times["floor"]
            figures[name] = f"{ratio:.2f}"
            on = "one image" if count == 1 else f"{count} images"
            lines.append(f"| `lmpnet {name}`, {on} | {times['command']:.2f} | {times['floor']:.2f} | {ratio:.2f} |")
    return lines, figures


def main() -> None:
    """Print the table."""
    print("\n".join(measure()[0]))


if __name__ == "__main__":
    run_program(main)
