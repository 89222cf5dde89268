"""DeepLabCut's wide table, as CSV and as HDF5: three header rows (scorer, bodyparts, coords), and a row per image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.errors import DatasetError
from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.spreadsheet import as_line, number
from lmpnet_cli.io.files import write_atomically, write_pieces

HDF5_KEY = "df_with_missing"  # DeepLabCut reads the table of this name


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        scorer: who, or which program, set the keypoints.
        bodyparts: names of the keypoints.
        coords: what the table holds of each keypoint.
        index: what identifies each row: one text, or several, which are as many columns.
        values: (rows, bodyparts x coords), NaN where a keypoint is missing.
    """

    scorer: str
    bodyparts: Sequence[str]
    coords: Sequence[str]
    index: Sequence[tuple[str, ...]]
    values: NDArray[np.float64]

    def write(self, csv_file: Path) -> list[Path]:
        """Write the CSV file and, where pandas and tables are installed, the same table as .h5 beside it."""
        hdf5_file = csv_file.with_name(f"{csv_file.stem}.h5")
        write_pieces(csv_file, self._lines())
        hdf5_file.unlink(missing_ok=True)  # of an earlier conversion
        return [csv_file, hdf5_file] if self._write_hdf5(hdf5_file) else [csv_file]

    def _lines(self) -> Iterator[str]:
        levels = len(self.index[0]) if self.index else 1
        columns = [(part, coord) for part in self.bodyparts for coord in self.coords]
        blank = [""] * (levels - 1)
        yield as_line(["scorer", *blank, *[self.scorer] * len(columns)])
        yield as_line(["bodyparts", *blank, *(part for part, _ in columns)])
        yield as_line(["coords", *blank, *(coord for _, coord in columns)])
        # pandas takes a first row without values for the names of the index, and omits it; a row without any text
        # before it is such a row, without names
        if columns and len(self.values) and np.isnan(self.values[0]).all():
            yield as_line([""] * (levels + len(columns)))

        for texts, row in zip(self.index, self.values.tolist(), strict=True):
            yield as_line([*texts, *(number(value, 4) for value in row)])

    def _write_hdf5(self, path: Path) -> bool:
        """Write the table as HDF5; return False where the packages for it are not installed."""
        try:
            import pandas
            import tables  # noqa: F401 (pandas writes HDF5 with it)
        except ImportError:
            return False

        columns = pandas.MultiIndex.from_product(
            [[self.scorer], self.bodyparts, self.coords], names=["scorer", "bodyparts", "coords"]
        )
        rows: Any = [tuple(map(_as_text, texts)) for texts in self.index]
        several = any(len(texts) > 1 for texts in rows)
        rows = pandas.MultiIndex.from_tuples(rows) if several else [text for (text,) in rows]
        frame = pandas.DataFrame(self.values, rows, columns)
        write_atomically(path, lambda temporary: frame.to_hdf(temporary, key=HDF5_KEY, mode="w"))
        return True


def _as_text(name: str) -> str:
    """Return a file name as the CSV file has it; bytes that are not text become \\udcXX."""
    return name.encode("utf-8", "backslashreplace").decode()


def check_one_animal(document: Document) -> None:
    """Raise `DatasetError` where an image has several objects: the table has room for one animal per image."""
    crowded = next((objects for objects in document.images if len(objects) > 1), None)
    if crowded:
        raise DatasetError(
            f"{crowded[0].file_name} has {len(crowded)} objects, but this table of DeepLabCut has room for one animal "
            "per image. Run `lmpnet discover --objects one`, or convert to another format."
        )
