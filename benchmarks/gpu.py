"""Train the paper's setting on a GPU in half an hour, score it, measure the GPU's speed, and write docs/results/gpu.md.

    python benchmarks/gpu.py pack DATA... --init WEIGHTS... --out FOLDER [--wheels FILE...]
    python benchmarks/gpu.py run FOLDER --work WORK --minutes 25 --back FOLDER [--rehearsal]
    python benchmarks/gpu.py collect FOLDER [--out docs/results]

`pack` makes archives of at most 60 MiB from CUB folders, initial weights (first those of a ResNet-50 that ends with
layer3, then those of a complete one) and wheels of packages that the other machine lacks. `run` unpacks them there,
trains, scores and measures until the minutes are over, and writes its results to --back in pieces of at most 16 MiB.
Started again it continues, so several short runs are as good as a long one. `collect` joins the pieces and writes the
documents. Nothing needs a network.

What `run` does, the most valuable first; docs/gpu.md says more:

1. The rate of training steps, from which the numbers of epochs follow; it stops if a GPU is too slow.
2. To the letter: ResNet-50 at 448 pixels, last block, the four poolings, a replica for leaky max 0.1.
3. The same with layer3, and with a stride of 16.
4. More epochs of what was best on held-out training images, and its parts.
5. Speed.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the package need not be installed

import gpu_archives  # noqa: E402


def run_command(given: argparse.Namespace) -> None:
    """Unpack, work until the minutes are over, and write the results."""
    gpu_archives.unpack(given.archives, given.work)
    if (given.work / "site").exists():
        sys.path.insert(0, str(given.work / "site"))
    from gpu_plan import REHEARSAL, Run, Setting, record, work_through  # needs the wheels

    run = Run(given.work, given.minutes, REHEARSAL if given.rehearsal else Setting())
    try:
        work_through(run, given.minutes)
    finally:
        results = given.work / "gpu.json"
        results.write_text(json.dumps(record(run, given.rehearsal), indent=1) + "\n")
        files = [results, *given.work.glob("trained/*/history.csv"), *given.work.glob("trained/*/run.json")]
        files += [path for path in [given.work / "best" / "lmpnet.safetensors"] if path.exists()]
        for path in gpu_archives.write_pieces_of(files, given.work, given.back):
            print(f"wrote {path}")


def pack_command(given: argparse.Namespace) -> None:
    """Write the archives."""
    from lmpnet_cli.training.preloaded import LARGER  # needs packages that may be in the archives

    def entries() -> Iterator[tuple[str, bytes]]:
        for folder in given.data:
            yield from gpu_archives.data_entries(folder, round(given.size * LARGER))
        for number, path in enumerate(given.init):
            yield f"weights/{number}-{path.name}", path.read_bytes()
        for path in given.wheels:
            yield f"wheels/{path.name}", path.read_bytes()

    for path in gpu_archives.write_archives(entries(), given.out):
        print(f"wrote {path}, {path.stat().st_size / 2**20:.1f} MiB")


def collect_command(given: argparse.Namespace) -> None:
    """Join the pieces and write the documents."""
    import gpu_report  # needs packages that may be in the archives

    gpu_archives.join(given.pieces, given.pieces / "joined")
    document = json.loads((given.pieces / "joined" / "gpu.json").read_text())
    out = given.out or (Path("build/gpu") if document["rehearsal"] else HERE.parent / "docs" / "results")
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.json").write_text(json.dumps(document, indent=1) + "\n")
    (out / "gpu.md").write_text(gpu_report.markdown(document))
    print(
        f"wrote {out / 'gpu.md'} and {out / 'gpu.json'}; weights, where there are any: {given.pieces / 'joined/best'}"
    )


def main() -> None:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)

    pack = commands.add_parser("pack", help=pack_command.__doc__)
    pack.add_argument("data", type=Path, nargs="+")
    pack.add_argument("--init", type=Path, nargs=2, required=True, help="up to layer3, complete")
    pack.add_argument("--wheels", type=Path, nargs="*", default=[])
    pack.add_argument("--size", type=int, default=448)
    pack.add_argument("--out", type=Path, required=True)
    pack.set_defaults(command=pack_command)

    run = commands.add_parser("run", help=run_command.__doc__)
    run.add_argument("archives", type=Path)
    run.add_argument("--work", type=Path, required=True)
    run.add_argument("--minutes", type=float, default=25)
    run.add_argument("--back", type=Path, required=True)
    run.add_argument("--rehearsal", action="store_true", help="1 % of the data at 64 pixels")
    run.set_defaults(command=run_command)

    collect = commands.add_parser("collect", help=collect_command.__doc__)
    collect.add_argument("pieces", type=Path)
    collect.add_argument("--out", type=Path)
    collect.set_defaults(command=collect_command)

    given = parser.parse_args()
    given.command(given)


if __name__ == "__main__":
    main()
