"""DeepLabCut: the wide table with three header rows (scorer, bodyparts, coords), as CSV and, with pandas, as HDF5."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.spreadsheet import as_line, number
from lmpnet_cli.io.files import write_atomically, write_pieces

SCORER, COORDS = "lmpnet", ("x", "y", "likelihood")
KEY = "df_with_missing"  # under which DeepLabCut looks


def write(document: Document, out: Path, pictures: Mapping[str, Path]) -> list[Path]:
    """Writes the CSV file `out`, and beside it the same as .h5 where pandas and tables are there."""
    write_pieces(out, _lines(document))
    binary = out.with_suffix(".h5")
    binary.unlink(missing_ok=True)  # of an earlier conversion
    try:
        import pandas
        import tables  # noqa: F401 (what pandas writes HDF5 with)
    except ImportError:
        return [out]
    rows = [_row(document, index) for index in range(len(document.results))]
    values = np.array(rows, np.float64).reshape(len(rows), len(document.names) * len(COORDS))
    columns = pandas.MultiIndex.from_product(
        [[SCORER], document.names, COORDS], names=["scorer", "bodyparts", "coords"]
    )
    frame = pandas.DataFrame(values, [shown(result.file_name) for result in document.results], columns)
    write_atomically(binary, lambda aside: frame.to_hdf(aside, key=KEY, mode="w"))
    return [out, binary]


def shown(name: str) -> str:
    """A file name whose bytes are no text, as the CSV has it."""
    return name.encode("utf-8", "backslashreplace").decode()


def _row(document: Document, index: int) -> list[float]:
    result = document.results[index]
    row: list[float] = np.column_stack([result.xy.round(2), result.scores.round(4)]).reshape(-1).tolist()
    return row


def _lines(document: Document) -> Iterator[str]:
    parts = [name for name in document.names for _ in COORDS]
    yield as_line(["scorer", *[SCORER] * len(parts)])
    yield as_line(["bodyparts", *parts])
    yield as_line(["coords", *COORDS * len(document.names)])
    for index, result in enumerate(document.results):
        yield as_line([result.file_name, *(number(value, 4) for value in _row(document, index))])
