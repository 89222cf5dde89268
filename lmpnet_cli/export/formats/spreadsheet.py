"""Cells and lines of CSV files."""

import csv
import io


def number(value: float, digits: int = 2) -> str:
    """Rounded as in `keypoints.json`; nothing for NaN."""
    return "" if value != value else str(round(value, digits))


def as_line(cells: object) -> str:
    """One line of CSV, quoted where it must be."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)  # type: ignore[arg-type]
    return buffer.getvalue()
