"""Read tens of thousands of damaged files: `make fuzz`, or `python tests/hostile/fuzz.py images --count 20000`.

Images are read as `discover` reads them; documents are checkpoints, annotations and results. Separate processes read
them, so that a crash, a hang and memory beyond the bound are detected and counted; the image that caused it is kept in
`build/fuzz`. The exit code is 1 when there was any.
"""

import argparse
import collections
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

from mutations import mutated, seeds

MAX_PIXELS = 20_000_000
SECONDS = 20.0  # for one file; longer is a hang
ROOT = Path(__file__).parent.parent.parent


class Images:
    """Reads each image at the size that discover needs; what is not an image must be refused with a reason."""

    def __init__(self, folder: Path) -> None:
        self.whole, self.place = seeds(), folder / "image.jpg"
        folder.mkdir(parents=True, exist_ok=True)

    def attempt(self, number: int) -> str:
        from lmpnet_cli.data.images import image_size, read_image, to_input
        from lmpnet_cli.data.listing import UnreadableImage
        from lmpnet_cli.errors import LmpnetError

        kind, data = mutated(self.whole, number)
        self.place.write_bytes(data)
        try:
            decoded = read_image(self.place, MAX_PIXELS, at_least=448)
        except UnreadableImage as error:  # and no other, not even an error for the user
            error.add_note(kind.split()[0])
            raise
        except LmpnetError as error:
            raise AssertionError(f"{kind}: {error!r:.200}") from error
        assert decoded.rgb.ndim == 3 and decoded.rgb.shape[2] == 3 and decoded.rgb.size > 0
        assert 0 < decoded.width * decoded.height <= MAX_PIXELS
        to_input(decoded.rgb, 224)
        assert image_size(self.place, MAX_PIXELS) == (decoded.width, decoded.height)
        return kind.split()[0]


def work(what: str, start: int, stop: int, step: int, state: Path) -> None:
    """Read a share of the files and print what happened; `state` always contains the number of the current file."""
    sys.path[:0] = [str(ROOT), str(ROOT / "examples")]
    from documents import Documents

    from lmpnet_cli.data.images import BYTES_PER_PIXEL
    from lmpnet_cli.data.listing import UnreadableImage
    from lmpnet_cli.errors import LmpnetError

    folder = state.with_name(f"{state.name}-files")
    target = Images(folder) if what == "images" else Documents(folder)
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, 16 * 2**30))
    counts: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    faults, slowest = [], (0.0, -1)
    before = peak()
    with state.open("r+b", buffering=0) as file:
        for number in range(start, stop, step):
            file.seek(0)
            file.write(f"{number:>12}".encode())
            began = time.perf_counter()
            try:
                counts[target.attempt(number)] += 1
                counts["read"] += 1
            except (UnreadableImage, LmpnetError) as error:
                counts["refused"] += 1
                counts.update(getattr(error, "__notes__", ()))
                reasons[re.sub(r"/\S+|[0-9]+", "_", str(error))[:70]] += 1
                if not str(error):
                    faults.append((number, "no reason"))
            except BaseException as error:
                at = traceback.extract_tb(error.__traceback__)[-1]
                faults.append((number, f"{error!r:.200} {Path(at.filename).name}:{at.lineno}"))
            slowest = max(slowest, (time.perf_counter() - began, number))
    shutil.rmtree(folder, ignore_errors=True)
    grown = peak() - before
    if grown > (BYTES_PER_PIXEL * MAX_PIXELS + 64 * 2**20):
        faults.append((-1, f"{grown / 1e6:.0f} MB of memory"))
    print(json.dumps({"counts": counts, "reasons": reasons, "faults": faults, "slowest": slowest, "grown": grown}))


def peak() -> int:
    """Return the peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def watch(what: str, first: int, count: int, processes: int, folder: Path) -> dict[str, object]:
    """Run the shares, continue behind an image that crashed or hung its process, and add up the results."""
    folder.mkdir(parents=True, exist_ok=True)
    total: dict[str, collections.Counter[str]] = {"counts": collections.Counter(), "reasons": collections.Counter()}
    faults: list[object] = []
    slowest, grown = (0.0, -1), 0
    waiting = [first + index for index in range(processes)]
    running: dict[subprocess.Popen[str], tuple[Path, int, float]] = {}
    last_told = time.monotonic()
    while waiting or running:
        while waiting and len(running) < processes:
            start = waiting.pop()
            state = folder / f"state-{start}"
            state.write_text(f"{start:>12}")
            part = [str(start), str(first + count), str(processes), str(state)]
            command = [sys.executable, __file__, what, "--work", *part]
            running[subprocess.Popen(command, stdout=subprocess.PIPE, text=True)] = (state, start, time.monotonic())
        time.sleep(0.2)
        for process, (state, number, since) in list(running.items()):
            now = int(state.read_text())
            if now != number:
                running[process] = (state, now, time.monotonic())
            hung = now == number and time.monotonic() - since > SECONDS + 10  # it may just begin
            if hung:
                process.kill()
            if process.poll() is None:
                continue
            text = process.communicate()[0]
            del running[process]
            state.unlink()
            if process.returncode == 0:
                callback = json.loads(text)
                for key in total:
                    total[key].update(callback[key])
                faults += callback["faults"]
                slowest, grown = max(slowest, tuple(callback["slowest"])), max(grown, callback["grown"])
                continue
            if process.returncode == 1:
                raise SystemExit("a process ended with the error above")
            faults.append((now, "hang" if hung else f"crash, exit {process.returncode}"))
            waiting += [now + processes] if now + processes < first + count else []
        if time.monotonic() - last_told > 30:
            last_told = time.monotonic()
            print("at", [number for _, number, _ in running.values()], file=sys.stderr, flush=True)
    for fault in faults:
        if what == "images" and fault[0] >= 0:  # type: ignore[index]
            (folder / f"{fault[0]}.bin").write_bytes(mutated(seeds(), fault[0])[1])  # type: ignore[index]
    return {**total, "faults": faults, "slowest": slowest, "grown": grown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("images", "documents"))
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first; others are other files")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        start, stop, step = map(int, given.work[:3])
        work(given.what, start, stop, step, Path(given.work[3]))
        return
    began = time.perf_counter()
    result = watch(given.what, given.first, given.count, given.processes, given.folder)
    counts, reasons = result["counts"], result["reasons"]
    print(f"{given.count} damaged {given.what} in {time.perf_counter() - began:.0f} s: {dict(counts)}")
    print(
        f"slowest {result['slowest'][0]:.2f} s (number {result['slowest'][1]}), memory +{result['grown'] / 1e6:.0f} MB"
    )
    for reason, count in reasons.most_common(40):
        print(f"{count:>7}  {reason}")
    print(f"faults: {len(result['faults'])}")
    for fault in result["faults"]:
        print("  ", fault)
    sys.exit(bool(result["faults"]))


if __name__ == "__main__":
    main()
