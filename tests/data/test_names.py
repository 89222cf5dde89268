"""Names of the same image in several files are matched, and never guessed."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmpnet_cli.data.names import AMBIGUOUS, match_names

NFC, NFD = (unicodedata.normalize(form, "Höckerschwan 1.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("file", "listed"),
    [
        ("a.jpg", "a.jpg"),
        ("images/a.jpg", "a.jpg"),
        ("a.jpg", "deep/er/a.jpg"),
        ("images\\sub\\a.jpg", "sub/a.jpg"),
        ("C:\\Users\\me\\photos\\a.jpg", "photos/a.jpg"),
        ("/home/me/photos/a.jpg", "a.jpg"),
        ("/home/me/photos/a.jpg", "images/a.jpg"),
        ("D:\\data\\a.jpg", "images/a.jpg"),
        ("./a.jpg", "a.jpg"),
        (NFC, NFD),
        (NFD, f"birds/{NFC}"),
        ("IMG_1.JPG", "img_1.jpg"),
        ("3f2a1b9c-a.jpg", "a.jpg"),
        ("/data/upload/7/3f2a1b9c-a.jpg", "photos/a.jpg"),
        ("/data/local-files/?d=photos/a%20b.jpg", "photos/a b.jpg"),
        ("https://example.org/photos/a%20b.jpg", "photos/a b.jpg"),
        ("https://example.org/photos/a.jpg?sig=1#x", "photos/a.jpg"),
        ("a.jpg ", "a.jpg"),
        ("a_jpg.rf.0123abcdef.jpg", "a.jpg"),
    ],
)
def test_the_same_image_under_another_name(file, listed):
    left_out = Counter()
    others = ["other.jpg", "x/other.jpg"]
    assert match_names([file], [listed, *others], left_out) == {file: listed}
    assert match_names([listed], [file, *others], left_out) == {listed: file}
    assert not left_out


@pytest.mark.parametrize(
    ("files", "listed", "expected", "ambiguous"),
    [
        (["a.jpg"], ["x/a.jpg", "y/a.jpg"], {}, 1),  # fits both
        (["x/a.jpg", "y/a.jpg"], ["a.jpg"], {}, 2),  # share one
        (["a.jpg", "x/a.jpg"], ["a.jpg"], {"a.jpg": "a.jpg"}, 1),  # the equal name counts
        (["A.jpg"], ["a.jpg", "A.JPG"], {}, 1),  # in any case both
        (["A.jpg"], ["a.jpg", "A.jpg"], {"A.jpg": "A.jpg"}, 0),
        (["12345678-a.jpg"], ["a.jpg", "12345678-a.jpg"], {"12345678-a.jpg": "12345678-a.jpg"}, 0),
        (["b.jpg"], ["a.jpg"], {}, 0),
        (["x/a.jpg"], ["y/a.jpg"], {}, 0),
        ([""], ["a.jpg"], {}, 0),
        (["/"], ["a.jpg"], {}, 0),
    ],
)
def test_a_name_that_fits_several_is_not_matched(files, listed, expected, ambiguous):
    left_out = Counter()
    assert match_names(files, listed, left_out) == expected
    assert left_out[AMBIGUOUS] == ambiguous


NAMES = st.lists(st.text("aAöb/\\.%-? 1", min_size=1, max_size=6), max_size=8, unique=True)


@given(files=NAMES, listed=NAMES)
def test_each_name_is_used_at_most_once_and_equal_names_always(files, listed):
    match = match_names(files, listed, Counter())
    assert len(set(match.values())) == len(match) and set(match) <= set(files) and set(match.values()) <= set(listed)
    assert all(match[name] == name for name in files if name in listed)
