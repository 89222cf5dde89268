"""Match the names that several files give to the same images.

Every program names an image in its own way: with folders or without, with the separators of Windows, as an address,
with umlauts of one character or of two, with a prefix against collisions. Names are compared in four steps, from strict
to lenient, and a name that fits several is never matched.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

AMBIGUOUS = "images whose name fits several"
SHOWN = 3  # names that a message lists
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")
_LOCAL_FILE = re.compile(r".*[?&]d=")  # Label Studio's address of a local file
_QUERY = re.compile(r"[?#].*")  # of an address, such as a signature
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an upload
_VERSION = re.compile(r"_(jpe?g|png|webp|bmp|tiff?)\.rf\.[0-9A-Za-z]+\.\w+$")  # what Roboflow puts behind it

Parts = tuple[str, ...]  # of a path, the last one is the name of the file


def match_names(
    files: Sequence[str],
    listed: Sequence[str],
    left_out: Counter[str],
    ambiguous: dict[str, list[str]] | None = None,
) -> dict[str, str]:
    """Return which of the `listed` names each of `files` stands for; files that fit none are omitted.

    1. Names that are equal.
    2. Names that end alike: an image may be located some folders higher or lower. Separators, addresses and the forms
       of Unicode do not count.
    3. The same where upper and lower case do not count.
    4. The same without what upload servers add to names, and without the folders of servers and other computers.

    Args:
        left_out: counts the files that fit several names, or share one.
        ambiguous: receives the files that fit several names, each with the first of them.
    """
    ambiguous = {} if ambiguous is None else ambiguous
    match: dict[str, str] = {}
    taken: set[str] = set()
    remaining = list(dict.fromkeys(files))
    for parts_of in (_as_it_is, plain_parts, _without_case, _without_marks):
        claims, remaining = _claims(remaining, listed, parts_of, left_out, ambiguous)
        for name, claimants in claims.items():
            if len(claimants) == 1 and name not in taken:
                match[claimants[0]] = name
            else:
                left_out[AMBIGUOUS] += len(claimants)
        taken.update(claims)
    return match


def _claims(
    files: Sequence[str],
    listed: Sequence[str],
    parts_of: Callable[[str], Parts],
    left_out: Counter[str],
    ambiguous: dict[str, list[str]],
) -> tuple[dict[str, list[str]], list[str]]:
    """Return for each listed name the files that fit it alone, and the files that fit no name."""
    if not files:
        return {}, []
    by_last_part: dict[str, list[tuple[str, Parts]]] = {}
    for name in listed:
        parts = parts_of(name)
        by_last_part.setdefault(parts[-1], []).append((name, parts))

    claims: dict[str, list[str]] = {}
    without = []
    for file in files:
        parts = parts_of(file)
        fitting = [name for name, own in by_last_part.get(parts[-1], ()) if _end_alike(own, parts)]
        if len(fitting) == 1:
            claims.setdefault(fitting[0], []).append(file)
        elif fitting:
            left_out[AMBIGUOUS] += 1
            ambiguous[file] = fitting[:SHOWN]
        else:
            without.append(file)
    return claims, without


def _end_alike(first: Parts, second: Parts) -> bool:
    shared = min(len(first), len(second))
    return first[-shared:] == second[-shared:]


def _as_it_is(name: str) -> Parts:
    return (name,)


def plain_parts(name: str) -> Parts:
    """Return the folders and the name of an image, in one form of Unicode and with the separators of every system."""
    address = "://" in name or "?d=" in name
    path = unquote(_QUERY.sub("", _LOCAL_FILE.sub("", name))) if address else name
    parts = PurePosixPath(unicodedata.normalize("NFC", path).strip().replace("\\", "/")).parts
    return tuple(part for part in parts if part != "/") or ("",)


def _without_case(name: str) -> Parts:
    return tuple(part.casefold() for part in plain_parts(name))


def _without_marks(name: str) -> Parts:
    *folders, last = _without_case(unquote(name))
    original = _VERSION.sub(r".\1", _UPLOADED.sub("", last, count=1))
    foreign = original != last or _ABSOLUTE.match(name) is not None  # the folders are those of a server or a computer
    return (original,) if foreign else (*folders, last)
