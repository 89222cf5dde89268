"""Write the cells and lines of CSV files, so that no spreadsheet takes a name for a formula.

A cell that begins with one of `SIGNS` is a formula in a spreadsheet, and a formula can read other cells and send them
away. An apostrophe in front makes it a text. Programs also disagree about what separates cells, and a quotation mark
in the middle of what they take for a cell does not count. Therefore the same holds after every one of `SEPARATORS`
within a text. To get the text back, remove one apostrophe in these places (docs/formats.md).
"""

import re
from collections.abc import Iterable

SEPARATORS = ",;|\t\r\n"
SIGNS = "=+\\-@\t\r\n＝＋－＠"  # some programs read the wide forms as the narrow ones
# where a cell may begin and is a formula, whatever quotation marks and apostrophes are before the sign
_FORMULA = re.compile(f"(?<![^{SEPARATORS}])(?=['\"]*[{SIGNS}])")
_NEEDS_QUOTES = re.compile(rf'["{SEPARATORS}]|^\s|\s$')


def number(value: float, digits: int = 2) -> float | None:
    """Return a rounded number; None, an empty cell, for NaN."""
    return None if value != value else round(value, digits)


def as_line(cells: Iterable[object]) -> str:
    """Return one line of CSV. Texts are quoted where necessary and are never formulas; numbers stay as they are."""
    return ",".join(_text(cell) if isinstance(cell, str) else _plain(cell) for cell in cells) + "\n"


def without_formula(text: str, mark: str = "'") -> str:
    """Return a text with a mark in front of every sign that could begin a formula.

    >>> [without_formula(each) for each in ("=1+1", "'=1", "a;-1.jpg", "a-1.jpg")]
    ["'=1+1", "''=1", "a;'-1.jpg", 'a-1.jpg']
    """
    return _FORMULA.sub(mark, text)


def _text(text: str) -> str:
    text = without_formula(text)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def _plain(cell: object) -> str:
    return "" if cell is None else str(cell)
