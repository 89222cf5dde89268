"""Write DeepLabCut's wide table with three header rows (scorer, bodyparts, coords) as CSV and, with pandas, as HDF5."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lmpnet_cli.errors import DatasetError
from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.format import Destination, Format
from lmpnet_cli.export.formats.spreadsheet import as_line, number
from lmpnet_cli.io.files import write_atomically, write_pieces
from lmpnet_cli.keypoints import Keypoints

SCORER, COORDS = "lmpnet", ("x", "y", "likelihood")
HDF5_KEY = "df_with_missing"  # DeepLabCut reads the table of this name


def write(document: Document, destination: Destination) -> list[Path]:
    """Write the CSV file and, where pandas and tables are installed, the same table as .h5 beside it."""
    crowded = next((objects for objects in document.images if len(objects) > 1), None)
    if crowded:
        raise DatasetError(
            f"{crowded[0].file_name} has {len(crowded)} objects, but this table of DeepLabCut has room for one animal "
            "per image. Run `lmpnet discover --objects one`, or convert to another format."
        )
    csv_file = destination.path
    hdf5_file = csv_file.with_suffix(".h5")
    write_pieces(csv_file, _lines(document))
    hdf5_file.unlink(missing_ok=True)  # of an earlier conversion
    return [csv_file, hdf5_file] if _write_hdf5(document, hdf5_file) else [csv_file]


def _write_hdf5(document: Document, path: Path) -> bool:
    """Write the table as HDF5; return False where the packages for it are not installed."""
    try:
        import pandas
        import tables  # noqa: F401 (pandas writes HDF5 with it)
    except ImportError:
        return False

    rows = [_row(result) for result in document.results]
    values = np.array(rows, np.float64).reshape(len(rows), len(document.names) * len(COORDS))
    columns = pandas.MultiIndex.from_product(
        [[SCORER], document.names, COORDS], names=["scorer", "bodyparts", "coords"]
    )
    frame = pandas.DataFrame(values, [_as_text(result.file_name) for result in document.results], columns)

    write_atomically(path, lambda temporary: frame.to_hdf(temporary, key=HDF5_KEY, mode="w"))
    return True


def _as_text(name: str) -> str:
    """Return a file name as the CSV file has it; bytes that are not text become \\udcXX."""
    return name.encode("utf-8", "backslashreplace").decode()


def _row(result: Keypoints) -> list[float]:
    row: list[float] = np.column_stack([result.xy.round(2), result.scores.round(4)]).reshape(-1).tolist()
    return row


def _lines(document: Document) -> Iterator[str]:
    bodyparts = [name for name in document.names for _ in COORDS]
    yield as_line(["scorer", *[SCORER] * len(bodyparts)])
    yield as_line(["bodyparts", *bodyparts])
    yield as_line(["coords", *COORDS * len(document.names)])
    for result in document.results:
        yield as_line([result.file_name, *(number(value, 4) for value in _row(result))])


FORMAT = Format(
    write=write,
    file_name="keypoints.csv",
    companions=(".h5",),
    next_step='read it with pandas: pandas.read_csv("{out}", header=[0, 1, 2], index_col=0)',
    fixed_parts=True,
)
