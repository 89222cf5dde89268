"""Find the keypoints that change places when an image is mirrored, by left and right in their names."""

import re
import unicodedata
from collections.abc import Callable, Collection, Hashable, Sequence

OPPOSITE = {"left": "right", "right": "left", "l": "r", "r": "l"}
# a word in the shape of a name (see `_shape`): LEFT or the L of LEye, then Left or left, then a number
WORD = re.compile("A+(?!a)|A?a+|0+")
AT_AN_END = re.compile("^(left|right)|(left|right)$")


def flip_indices(names: Sequence[str]) -> list[int]:
    """Return for each keypoint the index of the one that is in its place on the mirrored image, or its own index.

    Two names are partners where each becomes the other, and no third name, by the first of these rules that fits:

    1. Left and right, or l and r, are exchanged as whole words; everything else is equal.
    2. The same where upper and lower case, blanks and the signs between words do not count.
    3. Left and right are exchanged also at the start or the end of a word: lefteye and righteye, lefteye and right_eye.
    4. One l or r is exchanged at the start or the end of a word: Lknee and Rknee, lf_paw and rf_paw, FL and FR. Names
       that differ so by accident, such as leg and reg, would be partners too, but only in a list that has both.

    >>> flip_indices(["beak", "left wing", "right wing", "lefteye", "RightEye", "lf_paw", "rf_paw", "leg"])
    [0, 2, 1, 4, 3, 6, 5, 7]
    """
    flipped = list(range(len(names)))
    for spelling, mirrored in RULES:
        index_of: dict[Hashable, list[int]] = {}
        remaining = [index for index, other in enumerate(flipped) if index == other]
        for index in remaining:
            index_of.setdefault(spelling(names[index]), []).append(index)

        fitting = {
            index: [other for form in mirrored(names[index]) for other in index_of.get(form, ())] for index in remaining
        }
        for index, others in fitting.items():
            if len(others) == 1 and fitting[others[0]] == [index]:
                flipped[index] = others[0]
    return flipped


def sides_without_partner(names: Sequence[str], flipped: Sequence[int]) -> list[str]:
    """Return the names that keep their place although they have a side, as a word or at the start of one.

    >>> sides_without_partner(["left wing", "eye_r", "rightfoot", "bright leg"], [0, 1, 2, 3])
    ['left wing', 'eye_r', 'rightfoot']
    """
    return [
        name
        for index, name in enumerate(names)
        if flipped[index] == index
        and any(word in OPPOSITE or word.startswith(("left", "right")) for word in _words(name))
    ]


def mirrored_name(name: str) -> str:
    """Return a name with its sides exchanged. Only whole words count, and words are told apart as in programs.

    >>> [mirrored_name(each) for each in ("left_eye", "EyeL", "R1", "bright", "collar")]
    ['right_eye', 'EyeR', 'L1', 'bright', 'collar']
    """
    pieces, end = [], 0
    for word in WORD.finditer(_shape(name)):
        text = name[word.start() : word.end()]
        pieces += [name[end : word.start()], _opposite(text)]
        end = word.end()
    return "".join([*pieces, name[end:]])


def _shape(name: str) -> str:
    """Return the kind of each character: A for an upper-case letter, a for another letter, 0 for a digit."""
    kinds = (("0" if c.isdigit() else "A" if c.isupper() else "a" if c.isalpha() else " ") for c in name)
    return "".join(kinds)


def _opposite(word: str) -> str:
    """Return the opposite side in the same case, as in Left and Right; other words as they are."""
    opposite = OPPOSITE.get(word.lower())
    cases = (case for case in (str.lower, str.upper, str.capitalize) if case(word) == word)
    case = next(cases, None)
    return word if opposite is None or case is None else case(opposite)


def _words(name: str) -> tuple[str, ...]:
    text = unicodedata.normalize("NFC", name)
    return tuple(text[word.start() : word.end()].casefold() for word in WORD.finditer(_shape(text)))


def _letters(name: str) -> str:
    return "".join(_words(name))


def _other_name(name: str) -> Collection[Hashable]:
    return {mirrored_name(name)} - {name}


def _with_whole_words_exchanged(name: str) -> Collection[Hashable]:
    words = _words(name)
    return {tuple(OPPOSITE.get(word, word) for word in words)} - {words}


def _with_ends_of_words_exchanged(name: str) -> Collection[Hashable]:
    return {"".join(AT_AN_END.sub(lambda side: OPPOSITE[side[0]], word) for word in _words(name))} - {_letters(name)}


def _with_one_letter_exchanged(name: str) -> Collection[Hashable]:
    words = _words(name)
    forms = set()
    for number, word in enumerate(words):
        for exchanged in (OPPOSITE.get(word[0], word[0]) + word[1:], word[:-1] + OPPOSITE.get(word[-1], word[-1])):
            forms.add((*words[:number], exchanged, *words[number + 1 :]))
    return forms - {words}


# how names are compared, and the forms that the partner of a name may have
RULES: tuple[tuple[Callable[[str], Hashable], Callable[[str], Collection[Hashable]]], ...] = (
    (str, _other_name),
    (_words, _with_whole_words_exchanged),
    (_letters, _with_ends_of_words_exchanged),
    (_words, _with_one_letter_exchanged),
)
