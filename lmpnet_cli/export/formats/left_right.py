"""Find the keypoints that change places when an image is mirrored, by left and right in their names."""

import re
from collections.abc import Sequence

OPPOSITE = {"left": "right", "right": "left", "l": "r", "r": "l"}
# a word in the shape of a name (see `_shape`): LEFT or the L of LEye, then Left or left, then a number
WORD = re.compile("A+(?!a)|A?a+|0+")


def flip_indices(names: Sequence[str]) -> list[int]:
    """Return for each keypoint the index of the one that is in its place on the mirrored image.

    That is the keypoint with the mirrored name, or itself: where a name has no side, or no keypoint has that name.

    >>> flip_indices(["beak", "left wing", "right wing", "left foot"])
    [0, 2, 1, 3]
    """
    index_of = {name: index for index, name in enumerate(names)}
    return [index_of.get(mirrored_name(name), index) for index, name in enumerate(names)]


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
