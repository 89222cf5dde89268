"""Run every command on full disks and in read-only folders: `make disk`, as root (it mounts small file systems).

Every command runs on disks of growing size. Where the disk is full it must report that in one message, leave whole
files only, and resume with `--resume` once there is space. The exit code is 1 when anything differs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from kill import TRAIN, check_whole, has_begun, start, visible

SHARES = (0.02, 0.1, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97)


@contextmanager
def disk(place: Path, size: int):
    """Mount a file system of `size` bytes at `place`."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(size // 4096, 1) * 4096}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def attempt(arguments: list[str]) -> tuple[int, str]:
    process = start(arguments)
    message = process.communicate()[1].decode(errors="replace")
    return process.returncode, message


def size_of(folder: Path) -> int:
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def try_sizes(name: str, command: list[str], folder: Path) -> list[str]:
    """Run the command on disks too small for its results, and return the faults."""
    faults, refused, resumed, whole = [], 0, 0, 0
    code, message = attempt([*command, "--out", str(folder / "whole")])
    assert code == 0, message
    needed = size_of(folder / "whole")
    shutil.rmtree(folder / "whole")
    place = folder / "disk"
    for share in SHARES:
        with disk(place, int(needed * share)):
            out = place / "out"
            code, message = attempt([*command, "--out", str(out)])
            when = f"{name} on a disk of {share:.0%}"
            for path in visible(out) if out.exists() else ():
                whole += 1
                if wrong := check_whole(path):
                    faults.append(f"{when}: {path.name}: {wrong}")
            if code == 0:
                continue
            refused += 1
            if code != 1 or "Traceback" in message or "Error: " not in message or "No space left" not in message:
                faults.append(f"{when}: exit {code}: {message[-400:]}")
            if has_begun(out):
                subprocess.run(["mount", "-o", f"remount,size={4 * needed + 2**20}", place], check=True)
                code, message = attempt([*command, "--out", str(out), "--resume"])
                resumed += code == 0
                if code:
                    faults.append(f"{when}, resumed: exit {code}: {message[-400:]}")
    print(f"{name}: needs {needed / 1e6:.1f} MB; {len(SHARES)} smaller disks, {refused} times one message, {resumed} runs "
          f"gone on with, {whole} files looked at; faults: {len(faults)}", flush=True)  # fmt: skip
    return faults


def try_closed(name: str, command: list[str], folder: Path) -> list[str]:
    """Run the command on a disk that is mounted read-only, and return the faults."""
    place = folder / "closed"
    with disk(place, 2**20):
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        code, message = attempt([*command, "--out", str(place / "out")])
    fine = code == 1 and "Traceback" not in message and "Cannot write into" in message
    return [] if fine else [f"{name} on a read-only disk: exit {code}: {message[-400:]}"]


def main() -> None:
    if os.geteuid() != 0:
        raise SystemExit("Mounting a small file system takes root.")
    from draw_birds import write_cub

    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        write_cub(folder / "birds", per_species=6, seed=3, size=96, species=4)
        code, message = attempt(
            ["train", str(folder / "birds"), "--epochs", "1", *TRAIN, "--out", str(folder / "model")]
        )
        assert code == 0, message
        model = ["-c", str(folder / "model" / "lmpnet.safetensors"), "--quiet", "--device", "cpu"]
        images = str(folder / "birds" / "images")
        found = folder / "found"
        code, message = attempt(["discover", images, *model, "--no-overlays", "--out", str(found)])
        assert code == 0, message
        commands = {
            "convert": ["convert", str(found), "--to", "yolo-pose"],
            "discover": ["discover", images, *model, "--method", "lmpnet", "--batch-size", "4", "--report"],
            "train": ["train", str(folder / "birds"), "--epochs", "2", *TRAIN],
            "viz-filters": ["viz-filters", images, *model, "--report"],
            "eval": ["eval", str(folder / "birds"), *model, "--report"],
        }
        faults = []
        for name, command in commands.items():
            faults += try_sizes(name, command, folder / name) + try_closed(name, command, folder / name)
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
