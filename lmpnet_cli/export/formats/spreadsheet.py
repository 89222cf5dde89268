"""Write the cells and lines of CSV files."""

import csv
import io
from collections.abc import Iterable


def number(value: float, digits: int = 2) -> str:
    """Return a rounded number as text; an empty cell for NaN."""
    return "" if value != value else str(round(value, digits))


def as_line(cells: Iterable[object]) -> str:
    """Return one line of CSV; cells are quoted where necessary."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()
