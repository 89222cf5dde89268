"""An option is declared once; conversion, check, message, record and docstring follow from the declaration."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from lmpnet_cli.config.options import REQUIRED, Options, option, same_as, shape_of, url_of
from lmpnet_cli.errors import OptionError


class Kettle(Options):
    """Options of a kettle."""

    cups: int = option(2, "Number of cups.", low=1, high=8, decides=True)
    heat: float = option(99.5, "Temperature.", above=0)
    tea: Literal["green", "black"] | None = option("green", "Kind of tea.", methods=("tea",))
    shelf: tuple[Path, ...] = option((), "Where the cups are.")
    guests: tuple[str, ...] | None = option(None, "Names of the guests.")
    lid: Path = option(REQUIRED, "The lid.")


def test_values_are_converted_by_the_type_of_their_field():
    kettle = Kettle(cups=np.int64(3), heat=90, shelf="a", guests="Ann, Bo", lid="lid")
    assert (kettle.shelf, kettle.guests, kettle.lid) == ((Path("a"),), ("Ann", "Bo"), Path("lid"))
    assert (type(kettle.cups), type(kettle.heat)) == (int, float)
    assert Kettle(shelf=["a", Path("b")], guests=["Ann"], lid="x").shelf == (Path("a"), Path("b"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cups": 9}, "--cups 9 is out of range; allowed: 1 to 8."),
        ({"cups": 10**400}, "is out of range; allowed: 1 to 8."),
        ({"cups": 1.5}, "--cups 1.5 is not a whole number."),
        ({"cups": True}, "--cups True is not a whole number."),
        ({"cups": "2"}, "--cups '2' is not a whole number."),
        ({"cups": None}, "--cups needs a value."),
        ({"heat": 0}, "--heat 0 is out of range; allowed: above 0."),
        ({"heat": float("inf")}, "--heat inf is out of range; allowed: above 0."),
        ({"tea": "white"}, "--tea white is unknown: choose one of green, black."),
    ],
)
def test_messages(given, message):
    with pytest.raises(OptionError) as caught:
        Kettle(lid="x", **given)
    assert str(caught.value).endswith(message)
    assert caught.value.exit_code == 2


def test_a_required_option_has_no_default():
    with pytest.raises(TypeError, match="lid"):
        Kettle()


def test_an_option_of_a_method_is_none_unless_given():
    assert Kettle(lid="x").tea is None
    assert Kettle(lid="x", tea="green").tea == "green"


def test_the_record_is_plain_and_the_deciding_options_are_a_part_of_it():
    kettle = Kettle(lid=Path("a") / "b", shelf="s3://bucket/x")
    assert kettle.options() == {
        "cups": 2,
        "heat": 99.5,
        "tea": None,
        "shelf": ["s3://bucket/x"],
        "guests": None,
        "lid": "a/b",
    }
    assert kettle.deciding_options() == {"cups": 2}


def test_the_same_option_elsewhere_with_another_default():
    class Pot(Options):
        cups: int = same_as(Kettle, "cups", default=6)

    assert Pot().cups == 6 and Kettle(lid="x").cups == 2
    with pytest.raises(OptionError, match="allowed: 1 to 8"):
        Pot(cups=9)


def test_the_docstring_lists_the_options():
    assert "cups (int = 2): Number of cups. Allowed: 1 to 8." in Kettle.__doc__


def test_shapes_of_field_types():
    assert shape_of(tuple[Path, ...] | None) == (Path, True, True)
    assert shape_of(int) == (int, False, False)
    assert shape_of(Literal["a"] | None) == (Literal["a"], False, True)


def test_addresses_of_remote_folders():
    assert url_of(Path("s3://bucket/folder")) == "s3://bucket/folder"
    assert url_of(Path("photos/a:b")) is None
