"""Write a long CSV table for any program: one line per keypoint and image."""

from collections.abc import Iterator
from pathlib import Path

from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.export.formats.spreadsheet import as_line, number
from lmpnet_cli.io.files import write_pieces

COLUMNS = ("file", "keypoint", "x", "y", "score", "visible")
VIDEO_COLUMNS = ("frame", "time")  # time in seconds; added where the images are frames of a video


def write(document: Document, destination: Destination) -> list[Path]:
    """Write the CSV file. A missing keypoint has empty cells for x, y and score, and visible is 0."""
    write_pieces(destination.path, _lines(document))
    return [destination.path]


def _lines(document: Document) -> Iterator[str]:
    is_video = any(result.frame is not None for result in document.results)
    yield as_line(COLUMNS + VIDEO_COLUMNS if is_video else COLUMNS)

    for result in document.results:
        frame_cells = (result.frame, result.time) if is_video else ()
        for name, (x, y), score in zip(document.names, result.xy.tolist(), result.scores.tolist(), strict=True):
            is_missing = x != x
            cells = ("", "", "", 0) if is_missing else (number(x), number(y), number(score, 4), 1)
            yield as_line([result.file_name, name, *cells, *frame_cells])


FORMAT = Format(write=write, file_name="keypoints.csv", next_step="open it in any spreadsheet program, R or pandas")
