"""Read the tables of exports as other programs do, and undo what protects texts from being formulas."""

import csv
import io
import re

SIGNS = "=+\\-@\t\r\n＝＋－＠"
APOSTROPHE = re.compile(f"(?<![^,;|\t\r\n])'(?=['\"]*[{SIGNS}])")  # docs/formats.md


def original(cell: str) -> str:
    """Return the text that a cell of an export stands for."""
    return APOSTROPHE.sub("", cell)


def is_formula(cell: str) -> bool:
    """Return whether a spreadsheet may take a cell for a formula."""
    return re.match(f"[{SIGNS}]", cell) is not None


def rows_of(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
