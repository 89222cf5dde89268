"""A long CSV table for everybody: one line for each keypoint of each image."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.spreadsheet import as_line, number
from lmpnet_cli.io.files import write_pieces

COLUMNS = ("file", "keypoint", "x", "y", "score", "visible")
OF_VIDEO = ("frame", "time")  # seconds; further columns where the images are frames


def write(document: Document, out: Path, pictures: Mapping[str, Path]) -> list[Path]:
    """Writes the file `out`; a missing keypoint has no x, y and score, and visible 0."""
    write_pieces(out, _lines(document))
    return [out]


def _lines(document: Document) -> Iterator[str]:
    video = any(result.frame is not None for result in document.results)
    yield as_line(COLUMNS + OF_VIDEO if video else COLUMNS)
    for result in document.results:
        for name, (x, y), score in zip(document.names, result.xy.tolist(), result.scores.tolist(), strict=True):
            cells = (number(x), number(y), number(score, 4), 1) if x == x else ("", "", "", 0)
            moment = (result.frame, result.time) if video else ()
            yield as_line([result.file_name, name, *cells, *moment])
