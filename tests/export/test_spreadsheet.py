"""Cells of CSV files: no text is a formula, every text can be read back, and numbers stay numbers."""

import csv
import re
from itertools import product

import pytest
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st
from spreadsheets import is_formula, original, rows_of

from lmpnet_cli.export.formats.spreadsheet import EXCEL, PLAIN, as_line, number, without_formula

# texts as people have them, and texts made of what is special in a table
SPECIAL = st.text(alphabet="=+-@＝＋－＠'\",;|\t\r\n a1ü", max_size=12)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | SPECIAL


def test_the_documents_give_the_inverse():
    (program,) = re.findall(r"```python\n(import re\n.*?)```", (ROOT / "docs" / "formats.md").read_text(), re.DOTALL)
    names = ["=1", "'=1", "a;-1", "a", "'", 'a,"+"', "\n"]
    for name in names:
        space = {"cell": without_formula(name)}
        exec(program, space)
        assert space["name"] == name


@pytest.mark.parametrize("sign", list("=+-@\t\r\n＝＋－＠"))
def test_a_text_that_begins_with_a_sign_gets_an_apostrophe(sign):
    assert without_formula(f"{sign}1") == f"'{sign}1"
    assert without_formula(f"''{sign}1") == f"'''{sign}1"
    assert without_formula(f"a{sign}1") == (f"a{sign}1")
    for separator in ",;|":
        assert without_formula(f"a{separator}{sign}1") == f"a{separator}'{sign}1"
    assert rows_of(as_line([f"{sign}1+1.jpg", 1]))[0] == [f"'{sign}1+1.jpg", "1"]


@pytest.mark.parametrize("text", ["a-1.jpg", "'a'", "''", "", "a, b.jpg", "1-2", "a=b", "ü.jpg", "b ;a", 'x "y" z'])
def test_other_texts_stay_as_they_are(text):
    assert without_formula(text) == text == original(text)
    assert rows_of(as_line([text, "x"])) == [[text, "x"]]


def test_numbers_are_never_touched():
    assert as_line([-0.5, 1e-7, -3, True, None]) == "-0.5,1e-07,-3,True,\n"
    assert as_line([-0.5, 1e-7, 1.5e-7, -3, None], EXCEL) == "-0,5;1e-07;1,5e-07;-3;\r\n"
    assert [number(-0.126), number(float("nan")), number(0.12346, 4)] == [-0.13, None, 0.1235]


def test_texts_that_another_program_would_split_are_quoted():
    for text in ("a;b", "a\tb", "a|b", "a,b", "a\nb", "a\rb", " a", "a "):
        assert as_line([text, 1]) == f'"{text}",1\n'
    assert as_line(['a"b', "c"]) == '"a""b",c\n'


@given(st.lists(TEXTS, min_size=1, max_size=4))
@example(["=1"])
@example(["'=1", "''=1", "'a"])
@example(["a", ';"=1'])
@example(["\r", "\n=", "\t\t="])
def test_texts_are_read_back_and_are_no_formulas(texts):
    for dialect in (PLAIN, EXCEL):
        ((*cells, last),) = rows_of(as_line([*texts, -0.5], dialect), dialect.separator)
        assert list(map(original, cells)) == texts and last == f"-0{dialect.decimal}5"
        assert not any(map(is_formula, cells))


@given(st.lists(SPECIAL, min_size=1, max_size=4))
@example(["x", ";=1+1;"])
@example(["x", ';"=1+1;'])
@example(["a;", "b"])
def test_no_cell_is_a_formula_where_a_program_splits_lines_in_another_way(texts):
    for dialect, delimiter in product((PLAIN, EXCEL), ",;|\t"):
        line = as_line([*texts, "end"], dialect)
        cells = [cell for row in rows_of(line, delimiter) for cell in row]
        assert not any(map(is_formula, cells)), (delimiter, cells)
        for physical in line.replace("\r", "\n").split("\n"):  # without an eye for quotation marks
            for row in csv.reader([physical], delimiter=delimiter):
                assert not any(map(is_formula, row)), (delimiter, row)


@given(TEXTS)
def test_the_rule_has_an_exact_inverse(text):
    assert original(without_formula(text)) == text
    assert without_formula(text, "_").count("_") - text.count("_") == len(without_formula(text)) - len(text)
    assert without_formula(without_formula(text, "_")) == without_formula(text, "_")
