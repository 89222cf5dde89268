"""Write a long CSV table for any program: one line per keypoint and object.

Where an image has several objects, a column numbers them.
"""

from collections.abc import Iterator
from pathlib import Path

from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.export.formats.spreadsheet import EXCEL, PLAIN, Dialect, as_line, number
from lmpnet_cli.io.files import write_pieces

COLUMNS = ("file", "keypoint", "x", "y", "score", "visible")
OBJECT_COLUMN = ("object",)  # number on its image, from 1; added where an image has several
VIDEO_COLUMNS = ("frame", "time")  # time in seconds; added where the images are frames of a video


def write(document: Document, destination: Destination) -> list[Path]:
    """Write the CSV file. A missing keypoint has empty cells for x, y and score, and visible is 0."""
    write_pieces(destination.path, _lines(document, EXCEL if destination.excel else PLAIN))
    return [destination.path]


def _lines(document: Document, dialect: Dialect) -> Iterator[str]:
    is_video = any(result.frame is not None for result in document.results)
    images = document.images
    is_crowded = any(len(objects) > 1 for objects in images)
    yield dialect.mark + as_line(COLUMNS + OBJECT_COLUMN * is_crowded + VIDEO_COLUMNS * is_video, dialect)

    for number_on_image, result in ((index, each) for objects in images for index, each in enumerate(objects, 1)):
        further_cells = (number_on_image,) * is_crowded + (result.frame, result.time) * is_video
        for name, (x, y), score in zip(document.names, result.xy.tolist(), result.scores.tolist(), strict=True):
            cells = (number(x), number(y), number(score, 4), int(x == x))
            yield as_line([result.file_name, name, *cells, *further_cells], dialect)


FORMAT = Format(write=write, file_name="keypoints.csv", next_step="open it in any spreadsheet program, R or pandas")
