"""A long CSV table for everybody: one line for each keypoint of each image."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from lmpnet_cli.formats.document import Document
from lmpnet_cli.runtime import write_pieces

COLUMNS = ("file", "keypoint", "x", "y", "score", "visible")
OF_VIDEO = ("frame", "time")  # seconds; further columns where the images are frames


def write(document: Document, out: Path, pictures: Mapping[str, Path]) -> list[Path]:
    """Writes the file `out`; a missing keypoint has no x, y and score, and visible 0."""
    write_pieces(out, _lines(document))
    return [out]


def _lines(document: Document) -> Iterator[str]:
    film = any(result.frame is not None for result in document.results)
    yield as_line(COLUMNS + OF_VIDEO if film else COLUMNS)
    for result in document.results:
        for name, (x, y), score in zip(document.names, result.xy.tolist(), result.scores.tolist(), strict=True):
            cells = (number(x), number(y), number(score, 4), 1) if x == x else ("", "", "", 0)
            moment = (result.frame, result.time) if film else ()
            yield as_line([result.file_name, name, *cells, *moment])


def number(value: float, digits: int = 2) -> str:
    """Rounded as in `keypoints.json`; nothing for NaN."""
    return "" if value != value else str(round(value, digits))


def as_line(cells: object) -> str:
    """One line of CSV, quoted where it must be."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)  # type: ignore[arg-type]
    return buffer.getvalue()
