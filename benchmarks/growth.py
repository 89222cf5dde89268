"""Measure how the cost of discover grows with images, objects, size, keypoints and filters; a table and a plot.

    python benchmarks/growth.py [IMAGES] [--many 10000] [--plot docs/images/growth.png]

Each row is the same run with one thing changed. The seconds are those of `discover` itself, without the start of the
program; the model is loaded already.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from program import run_program
from timing import RESULTS, linked, take_turns

from lmpnet_cli import discover
from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.images import read_image
from lmpnet_cli.data.listing import list_images
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.bundled import bundled_examples
from lmpnet_cli.model.clustering import learnable_clustering
from lmpnet_cli.model.lmpnet import LMPNet

SMALL = 24  # images of the rows that do not count images


@dataclass(frozen=True)
class Row:
    """What was changed, its values, and milliseconds per image for each of them."""

    name: str
    values: tuple[int, ...]
    milliseconds: tuple[float, ...]

    @property
    def growth(self) -> float:
        """Return the cost of the largest value, as a multiple of that of the smallest."""
        return self.milliseconds[-1] / self.milliseconds[0]


def enlarged(files: Sequence[Path], folder: Path, side: int) -> Path:
    """Return a folder with the files enlarged to a longer side of so many pixels."""
    folder.mkdir()
    for file in files:
        rgb = read_image(file).rgb
        scale = side / max(rgb.shape[:2])
        size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
        Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR).save(folder / f"{file.stem}.jpg", quality=90)
    return folder


def boxes_of(images: Path, count: int, out: Path) -> Path:
    """Write a table with so many boxes for each image: quarters of it, one after the other."""
    lines = ["file_name,x,y,width,height"]
    for file in sorted(images.iterdir()):
        with Image.open(file) as image:
            width, height = (side // 2 for side in image.size)
        for index in range(count):
            lines.append(f"{file.name},{index % 2 * width},{index // 2 % 2 * height},{width},{height}")
    out.write_text("\n".join(lines) + "\n")
    return out


def of_discover(model: LMPNet, images: Path, count: int, repeats: int, **options: Any) -> float:
    """Return milliseconds per image of discover, overlays included."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as out:
            discover(images, model=model, out=Path(out) / "out", follow_links=True, device="cpu", **options)

    return 1e3 * take_turns({"run": run}, repeats)["run"] / count


def measure(images: Path, many: int = 10_000, repeats: int = 1) -> list[Row]:
    """Return all rows."""
    model = open_runner(DiscoverConfig(images=(), device="cpu")).model
    files = [file.path for file in list_images([images])][:SMALL]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        few = linked(files, folder / "few", SMALL)

        counts = tuple(count for count in (100, 1000, 10_000) if count <= many)
        times = [of_discover(model, linked(files, folder / str(count), count), count, 1) for count in counts]
        rows.append(Row("images", counts, tuple(times)))

        tables = {count: boxes_of(few, count, folder / f"{count}.csv") for count in (1, 2, 4)}
        times = [of_discover(model, few, SMALL, repeats, boxes=table) for table in tables.values()]
        rows.append(Row("objects per image (--boxes)", tuple(tables), tuple(times)))

        sides = {side: enlarged(files[:8], folder / f"side-{side}", side) for side in (500, 4000, 12_000)}
        times = [of_discover(model, images, 8, repeats) for images in sides.values()]
        rows.append(Row("longer side in pixels", tuple(sides), tuple(times)))

        keypoints = (5, 20, 100)
        times = [of_discover(model, few, SMALL, repeats, k=k) for k in keypoints]
        rows.append(Row("--k", keypoints, tuple(times)))

    generator = torch.Generator().manual_seed(0)
    filters = (512, 1024, 2048)
    maps = {count: torch.rand(32, count, 14, 14, generator=generator) for count in filters}
    clustered = take_turns({str(count): partial(learnable_clustering, each, 5) for count, each in maps.items()}, 5)
    rows.append(Row("filters, clustering alone", filters, tuple(1e3 * each / 32 for each in clustered.values())))
    return rows


def lines_of(rows: Sequence[Row]) -> list[str]:
    """Return the table."""
    lines = ["## Growth", "", "| what grows | values | milliseconds per image | largest / smallest |"]
    lines.append("| --- | --- | --- | --- |")
    for row in rows:
        values = ", ".join(f"{value:,}" for value in row.values)
        times = ", ".join(f"{each:.3g}" for each in row.milliseconds)
        lines.append(f"| {row.name} | {values} | {times} | {row.growth:.2f} |")
    return lines


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw a panel for each row: milliseconds per image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(rows), 3), layout="constrained")
    for axes, row in zip(np.atleast_1d(figure.subplots(1, len(rows))), rows, strict=True):
        axes.plot(row.values, row.milliseconds, marker="o")
        axes.set(title=row.name, xscale="log", ylim=(0, 1.1 * max(row.milliseconds)))
        axes.set_xticks(row.values, [f"{value:,}" for value in row.values])
        axes.minorticks_off()
    figure.supylabel("ms per image")
    figure.savefig(path, dpi=80)


def section(images: Path, many: int, picture: Path) -> tuple[list[str], str]:
    """Draw the plot; return lines for the document, and the growth of the cost per image from few images to many."""
    rows = measure(images, many)
    plot(rows, picture)
    return [*lines_of(rows), "", f"![Milliseconds per image](../images/{picture.name})"], f"{rows[0].growth:.2f}"


def main() -> None:
    """Print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path, default=bundled_examples() / "images")
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--plot", type=Path, default=RESULTS.parent / "images" / "growth.png")
    given = parser.parse_args()
    print("\n".join(section(given.images, given.many, given.plot)[0]))


if __name__ == "__main__":
    run_program(main)
