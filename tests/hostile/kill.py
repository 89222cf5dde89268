"""`kill -9` at random moments: `make kill`, or `python tests/hostile/kill.py --kills 50`.

`discover` and `train` are killed again and again, each time at another moment, and continued with `--resume`. After
every kill each visible file must be whole; at the end the results must be those of an undisturbed run: the same
keypoints, drawings and weights, byte for byte. Exit code 1 when anything differs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]
LMPNET = [sys.executable, "-m", "lmpnet_cli"]
TRAIN = [
    *("--backbone", "test_resnet", "--layer", "layer3", "--init", "none", "--size", "64", "--precision", "32"),
    *("--device", "cpu", "--batch-size", "16", "--workers", "1", "--parts", "0", "--quiet"),
]


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [*LMPNET, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def run(arguments: list[str]) -> float:
    """Run to the end; return the seconds that it took."""
    began = time.monotonic()
    process = start(arguments)
    message = process.communicate()[1].decode(errors="replace")
    if process.returncode:
        raise SystemExit(f"lmpnet {' '.join(arguments)} ended with {process.returncode}: {message}")
    return time.monotonic() - began


def check_whole(path: Path) -> str:
    """Return what is wrong with a file; nothing where it is whole."""
    from PIL import Image
    from safetensors.torch import load_file

    try:
        if path.suffix in (".jpg", ".png"):
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in (".safetensors", ".state"):
            load_file(path)
        elif path.suffix == ".csv":
            lines = path.read_text()
            if not lines.endswith("\n") or len({line.count(",") for line in lines.splitlines()}) != 1:
                return "rows of different length"
    except Exception as error:  # whatever a half-written file makes its reader say
        return repr(error)
    return ""


def visible(out: Path) -> list[Path]:
    """Return the files that a user sees, those without a dot in front."""
    return [
        path
        for path in sorted(out.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts)
    ]


def contents(out: Path, forget: Callable[[Path], bytes]) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): forget(path) for path in visible(out)}


def of_discover(path: Path) -> bytes:
    """Return the content without the time."""
    if path.name == "keypoints.json":
        document = json.loads(path.read_text())
        del document["info"]["date_created"]
        return json.dumps(document).encode()
    return b"" if path.name == "run.json" else path.read_bytes()


def of_train(path: Path) -> bytes:
    """Return weights and momentum, and the accuracies of all epochs without their seconds."""
    from safetensors.torch import load_file

    if path.suffix in (".safetensors", ".state"):
        tensors = load_file(path)
        return b"".join(key.encode() + tensors[key].numpy().tobytes() for key in sorted(tensors))
    if path.name == "history.csv":
        rows = [line.split(",") for line in path.read_text().splitlines()]
        seconds = [rows[0].index("seconds"), rows[0].index("images_per_second")]
        return repr([[cell for at, cell in enumerate(row) if at not in seconds] for row in rows]).encode()
    return b"" if path.name in ("run.json", "curves.png") else path.read_bytes()


def torture(name: str, command: list[str], kills: int, forget: Callable[[Path], bytes], folder: Path) -> list[str]:
    """Kill `command` so often, at moments from its first second to its last; return the faults."""
    seconds = run([*command, "--out", str(folder / "undisturbed")])
    expected = contents(folder / "undisturbed", forget)
    generator, faults, killed, finished, round_ = random.Random(0), [], 0, 0, 0
    out = folder / "0"
    while killed < kills:
        if is_done(out):  # killed after its last file
            finished += check(out, expected, forget, faults, f"{name}, kill {killed}")
            round_ += 1
            out = folder / str(round_)
        process = start([*command, "--out", str(out), "--resume"] if has_begun(out) else [*command, "--out", str(out)])
        try:
            process.wait(generator.uniform(0.1, 0.8) * seconds)
        except subprocess.TimeoutExpired:
            # every other time only the main process is killed
            (os.killpg if killed % 2 else os.kill)(process.pid, signal.SIGKILL)
            killed += 1
        message = process.communicate()[1].decode(errors="replace")
        for path in visible(out) if out.exists() else ():
            if wrong := check_whole(path):
                faults.append(f"{name}, kill {killed}: {path.name}: {wrong}")
        if process.returncode == -signal.SIGKILL:
            continue
        if process.returncode:
            faults.append(f"{name}, after kill {killed}: exit {process.returncode}: {message}")
        else:
            finished += check(out, expected, forget, faults, f"{name}, after kill {killed}")
        round_ += 1
        shutil.rmtree(out, ignore_errors=True)
        out = folder / str(round_)
    if not is_done(out):
        run([*command, "--out", str(out), *(["--resume"] if has_begun(out) else [])])
    finished += check(out, expected, forget, faults, f"{name}, at the end")
    print(f"{name}: an undisturbed run takes {seconds:.1f} s; {killed} kills survived, {finished} runs brought to "
          f"their end with the same bytes; faults: {len(faults)}", flush=True)  # fmt: skip
    return faults


def check(out: Path, expected: dict[str, bytes], forget: Callable[[Path], bytes], faults: list[str], when: str) -> bool:
    found = contents(out, forget)
    differing = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    if differing:
        faults.append(f"{when}: {', '.join(sorted(differing)[:5])} differ")
    return not differing


def is_done(out: Path) -> bool:
    return (out / "keypoints.json").exists() and (out / "run.json").exists() and not has_begun(out)


def has_begun(out: Path) -> bool:
    """Return whether there is an unfinished run; one that was killed at its start has left nothing."""
    return (out / "last.state").exists() or (out / ".chunks" / "manifest.json").exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="of each command")
    parser.add_argument("--only", choices=("discover", "train"))
    given = parser.parse_args()
    from draw_birds import write_cub

    faults = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_cub(folder / "birds", per_species=60, seed=3, size=96, species=4)
        checkpoint = folder / "model" / "lmpnet.safetensors"
        run(["train", str(folder / "birds"), "--epochs", "1", *TRAIN, "--out", str(checkpoint.parent)])
        (folder / "birds" / "images" / "broken.jpg").write_text("not an image")
        discover = ["discover", str(folder / "birds" / "images"), "-c", str(checkpoint), "--method", "lmpnet"]
        discover += ["--quiet", "--batch-size", "4"]
        train = ["train", str(folder / "birds"), "--epochs", "2", *TRAIN]
        for name, command, forget in (("discover", discover, of_discover), ("train", train, of_train)):
            if given.only in (None, name):
                faults += torture(name, command, given.kills, forget, folder / name)
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
