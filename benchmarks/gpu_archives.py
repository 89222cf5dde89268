"""Archives for `gpu.py`: data, initial weights and Python packages there, results back, in files that a link can carry.

There go tar archives of at most 60 MiB, each of which can be unpacked alone. Back come pieces of at most 16 MiB, which
are joined again.
"""

import io
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

THERE = 60 * 2**20  # bytes of an archive
BACK = 16 * 2**20  # bytes of a piece
SPARE = 64 * 2**10  # of an archive, for its headers
QUALITY = 92  # of JPEG files that are made smaller

Entry = tuple[str, bytes]
"""A name in an archive, and its content."""


def data_entries(folder: Path, size: int) -> Iterator[Entry]:
    """Yield the files of a CUB folder; images and annotations are scaled down where both sides are longer than `size`.

    Args:
        size: shortest side in pixels that training needs.
    """
    from lmpnet_cli.data.datasets import cub_root, read_table  # needs packages that may be in the archives

    root = cub_root(folder) or folder
    factors: dict[str, float] = {}
    for number, name in read_table(root / "images.txt", 2):
        content, factors[number] = scaled_down((root / "images" / name).read_bytes(), size)
        yield f"data/{folder.name}/images/{name}", content

    for table in ("images", "image_class_labels", "train_test_split", "classes", "parts/parts"):
        yield f"data/{folder.name}/{table}.txt", (root / f"{table}.txt").read_bytes()
    for table, first in (("bounding_boxes", 1), ("parts/part_locs", 2)):
        rows = [scaled_row(row, first, factors[row[0]]) for row in read_table(root / f"{table}.txt", 5)]
        yield f"data/{folder.name}/{table}.txt", "".join(f"{row}\n" for row in rows).encode()


def scaled_down(content: bytes, size: int) -> tuple[bytes, float]:
    """Return an image file whose shorter side is at most `size`, and by how much it was scaled."""
    with Image.open(io.BytesIO(content)) as image:
        factor = size / min(image.size)
        if factor >= 1:
            return content, 1.0
        smaller = image.convert("RGB").resize([round(side * factor) for side in image.size], Image.Resampling.LANCZOS)

    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue(), factor


def scaled_row(row: Sequence[str], first: int, factor: float) -> str:
    """Return a row of a table with its positions scaled.

    Args:
        first: column of the first position; what follows the positions in `part_locs` says whether they are visible.
    """
    if factor == 1:
        return " ".join(row)
    last = first + 2 if first == 2 else len(row)
    return " ".join(
        f"{float(cell) * factor:.1f}" if first <= column < last else cell for column, cell in enumerate(row)
    )


def write_archives(entries: Iterable[Entry], out: Path) -> list[Path]:
    """Write entries to archives `lmpnet-1-of-N.tar`, and return their paths.

    Raises:
        SystemExit: if an entry alone is too large.
    """
    groups: list[list[Entry]] = [[]]
    taken = 0
    for name, content in entries:
        needed = len(content) + 2 * tarfile.BLOCKSIZE
        if needed > THERE - SPARE:
            sys.exit(f"{name} has {len(content) / 2**20:.0f} MiB, and an archive at most {THERE >> 20} MiB.")
        if taken + needed > THERE - SPARE:
            groups.append([])
            taken = 0
        groups[-1].append((name, content))
        taken += needed

    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, group in enumerate(groups, start=1):
        paths.append(out / f"lmpnet-{number}-of-{len(groups)}.tar")
        with tarfile.open(paths[-1], "w") as archive:
            for name, content in group:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return paths


def complete(folder: Path, pattern: str) -> list[Path]:
    """Return the files NAME-1-of-N to NAME-N-of-N of a folder, in order.

    Raises:
        SystemExit: if one is missing, or files of different N are mixed.
    """
    found = sorted(folder.glob(pattern), key=lambda path: int(path.stem.split("-")[-3]))
    numbers = [path.stem.split("-")[-3::2] for path in found]
    wanted = [[str(number), str(len(found))] for number in range(1, len(found) + 1)]
    if not found or numbers != wanted:
        sys.exit(f"{folder} holds {[path.name for path in found]}: copy all {pattern} there, and no others.")
    return found


def unpack(folder: Path, work: Path) -> None:
    """Unpack all archives of a folder once; packages in `wheels/` are unpacked to `site/`."""
    done = work / "unpacked"
    if done.exists():
        return
    for path in complete(folder, "lmpnet-*-of-*.tar"):
        with tarfile.open(path) as archive:
            archive.extractall(work, filter="data")
    for wheel in (work / "wheels").glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(work / "site")  # noqa: S202, our own
    done.touch()


def write_pieces_of(files: Sequence[Path], root: Path, out: Path) -> list[Path]:
    """Write files, named from `root` on, to pieces `results-1-of-N.bin` of one archive, in place of earlier pieces."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in files:
            archive.add(path, path.relative_to(root).as_posix())
    content = buffer.getvalue()

    out.mkdir(parents=True, exist_ok=True)
    for earlier in out.glob("results-*-of-*.bin"):
        earlier.unlink()
    pieces = [content[start : start + BACK] for start in range(0, len(content), BACK)]
    paths = [out / f"results-{number}-of-{len(pieces)}.bin" for number in range(1, len(pieces) + 1)]
    for path, piece in zip(paths, pieces, strict=True):
        path.write_bytes(piece)
    return paths


def join(folder: Path, out: Path) -> None:
    """Join the pieces of a folder and unpack them."""
    content = b"".join(path.read_bytes() for path in complete(folder, "results-*-of-*.bin"))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(out, filter="data")
