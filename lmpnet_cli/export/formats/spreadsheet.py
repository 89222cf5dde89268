"""Write the cells and lines of CSV files, so that no spreadsheet takes a name for a formula.

A cell that begins with one of `SIGNS` is a formula in a spreadsheet, and a formula can read other cells and send them
away. An apostrophe in front makes it a text. Programs also disagree about what separates cells, and a quotation mark
in the middle of what they take for a cell does not count. Therefore the same holds after every one of `SEPARATORS`
within a text. To get the text back, remove one apostrophe in these places (docs/formats.md).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

SEPARATORS = ",;|\t\r\n"
SIGNS = "=+\\-@\t\r\n＝＋－＠"  # some programs read the wide forms as the narrow ones
# where a cell may begin and is a formula, whatever quotation marks and apostrophes are before the sign
_FORMULA = re.compile(f"(?<![^{SEPARATORS}])(?=['\"]*[{SIGNS}])")
_NEEDS_QUOTES = re.compile(rf'["{SEPARATORS}]|^\s|\s$')


@dataclass(frozen=True)
class Dialect:
    """How a program expects a CSV file.

    Attributes:
        separator: between two cells.
        decimal: between the whole part and the fraction of a number.
        line_end: after each line.
        mark: at the beginning of the file.
    """

    separator: str = ","
    decimal: str = "."
    line_end: str = "\n"
    mark: str = ""


PLAIN = Dialect()
# Excel where the decimal sign is a comma; without the byte-order mark it does not read UTF-8
EXCEL = Dialect(separator=";", decimal=",", line_end="\r\n", mark="\ufeff")


def number(value: float, digits: int = 2) -> float | None:
    """Return a rounded number; None, an empty cell, for NaN."""
    return None if value != value else round(value, digits)


def as_line(cells: Iterable[object], dialect: Dialect = PLAIN) -> str:
    """Return one line of CSV. Texts are quoted where necessary and are never formulas; numbers stay as they are."""
    return dialect.separator.join(_cell(cell, dialect) for cell in cells) + dialect.line_end


def without_formula(text: str, mark: str = "'") -> str:
    """Return a text with a mark in front of every sign that could begin a formula.

    >>> [without_formula(each) for each in ("=1+1", "'=1", "a;-1.jpg", "a-1.jpg")]
    ["'=1+1", "''=1", "a;'-1.jpg", 'a-1.jpg']
    """
    return _FORMULA.sub(mark, text)


def _cell(cell: object, dialect: Dialect) -> str:
    if isinstance(cell, str):
        text = without_formula(cell)
        return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text
    if isinstance(cell, float):
        return str(cell).replace(".", dialect.decimal)
    return "" if cell is None else str(cell)
