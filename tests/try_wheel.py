"""Build the source distribution and the wheel, install the wheel into an empty environment, and try every command.

    python tests/try_wheel.py

The environment contains links to the installed packages that the wheel requires, and no others: no package for
development, no optional one, and nothing of this clone. The commands run in an empty folder and without the network, on
the drawn birds in the wheel and on a few smaller ones. `make wheel` runs this program.
"""

import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from lmpnet_cli import __version__
from lmpnet_cli.cli import app

ROOT = Path(__file__).parent.parent
BIRDS = "{bundled}/examples/birds"
FEW = f"{BIRDS}/images/001.crested_redbeak"  # three images
BIRD = f"{FEW}/Crested_Redbeak_000"

# in their order, since later commands use the results of earlier ones
COMMANDS = [
    "doctor",
    "info",
    f"discover {BIRDS}/images --k 5 --report --export csv --export yolo-pose --out found",
    f"discover {FEW} --method parts --shard 1/2 --no-overlays --out shards/1",
    f"discover {FEW} --method parts --shard 2/2 --no-overlays --out shards/2",
    "merge shards --out merged",
    "convert merged --to cvat --out for-cvat",
    f"report merged --images {FEW} --out merged.html",
    f"match {BIRD}1.jpg {BIRD}2.jpg --out matched",
    "eval --thr 3 --out scores",
    f"viz-filters {FEW} --columns 3 --rows 2 --out filters",
    "train drawn --backbone test_resnet --layer layer3 --init none --size 64 --epochs 1 --batch-size 16 --parts 0 "
    "--out trained",
    "fit drawn -c trained --images 6 --out landmarks",
    f"discover {BIRD}1.jpg -c landmarks --method landmarks --out by-name",
    "parts --names belly,crown,wing,breast,bill --out parts",
    "salient drawn -c trained --patch 32 --coarse-stride 32 --out salient",
    "export --out model.onnx",
]
# commands that need an optional package, and what their message names
FAILING = {"export": "pip install 'lmpnet-cli[onnx]'"}


def build(folder: Path) -> Path:
    """Build the source distribution, and the wheel from it; return the wheel."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)])
    print("built", *sorted(path.name for path in folder.iterdir()), flush=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def required(wheel: Path) -> list[Distribution]:
    """Return the installed packages that a wheel requires, directly or not, without its optional ones."""
    (metadata,) = Distribution.discover(path=[str(wheel)])
    waiting = [(Requirement(line), "") for line in metadata.requires or ()]
    found: dict[str, Distribution] = {}
    done = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{wheel.name} requires {requirement}, which is not installed.") from None
        for each in ("", *requirement.extras):
            if (name, each) not in done:
                done.add((name, each))
                waiting += [(Requirement(line), each) for line in found[name].requires or ()]
    return list(found.values())


def install(wheel: Path, environment: Path) -> tuple[Path, Path]:
    """Install a wheel, and links to the packages that it requires, into a new environment.

    Returns:
        its program `lmpnet`, and the folder of its package.
    """
    run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = Path(run([str(scripts / "python"), "-c", where]).strip())

    packages = required(wheel)
    for package in packages:
        for name in {Path(file).parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            if not (folder / name).exists():  # several packages may share a folder
                (folder / name).symlink_to(Path(str(package.locate_file(name))).resolve())
    pip = [sys.executable, "-m", "pip", "--python", str(scripts / "python")]
    run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)])
    run([*pip, "check"])
    print(f"installed beside {len(packages)} packages", flush=True)
    return scripts / "lmpnet", folder / "lmpnet_cli"


def run(command: list[str], folder: Path | None = None, fails: str = "") -> str:
    """Run a program and return what it prints; end with an error if it fails, or does not fail as expected.

    Args:
        command: the program and its arguments.
        folder: current folder of the program.
        fails: the program is to end with an error whose message contains this.
    """
    # no proxy listens there, so that every connection is refused
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment |= nowhere | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "PYTHONUTF8": "1"}
    environment["OMP_NUM_THREADS"] = "1"  # with so few images, more threads wait for one another
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8"
    )
    codes = (1, 2) if fails else (0,)
    if done.returncode not in codes or fails not in done.stderr or "Traceback" in done.stderr:
        expected = f"an error with {fails!r}" if fails else "success"
        says = f"exit code {done.returncode}; expected {expected}\n{done.stdout}{done.stderr}"
        raise SystemExit(f"{' '.join(command)}\n{says}")
    return done.stdout


def untried() -> set[str]:
    """Return the commands of the program that `COMMANDS` lacks; a second name of a command counts as the same."""
    tried = {line.split()[0] for line in COMMANDS}
    listed = get_command(app).commands
    functions = {listed[name].callback.__name__ for name in tried}
    return {name for name, command in listed.items() if command.callback.__name__ not in functions}


def main() -> None:
    """Build, install, and try every command."""
    if missing := untried():
        raise SystemExit(f"Add these commands to COMMANDS: {', '.join(sorted(missing))}.")

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary).resolve()
        lmpnet, package = install(build(top / "dist"), top / "environment")
        folder = top / "work"
        folder.mkdir()
        assert run([str(lmpnet), "--version"], folder).split()[-1] == __version__
        bundled = package / "bundled"
        drawing = [sys.executable, str(ROOT / "examples" / "draw_birds.py"), str(folder / "drawn")]
        run([*drawing, "--per-species", "8", "--species", "3", "--size", "96"])

        for line in COMMANDS:
            begun = time.perf_counter()
            run([str(lmpnet), *line.format(bundled=bundled).split()], folder, FAILING.get(line.split()[0], ""))
            print(f"{time.perf_counter() - begun:5.1f} s  lmpnet {line.format(bundled='BUNDLED')}", flush=True)
    print(f"{len(COMMANDS)} commands tried in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
