"""Which found object is which annotated one: by their boxes, the pair with the largest overlap first."""

from collections.abc import Sequence

from lmpnet_cli.data.annotations import AnnotatedImage
from lmpnet_cli.keypoints import NO_OBJECT, Box


def match_objects(windows: Sequence[Box | None], annotated: Sequence[AnnotatedImage]) -> list[int | None]:
    """Return for each annotated object of an image the index of the found one; None where it was not found.

    A single annotated object and a single found one belong together, wherever they are. An object without a box takes
    the first found one that is left.

    Args:
        windows: of the found objects, the most prominent first; None is the whole image.
    """
    if len(windows) == 1 and len(annotated) == 1:
        return [0]

    matched: list[int | None] = [None] * len(annotated)
    free = {index for index, window in enumerate(windows) if window != NO_OBJECT}
    overlaps = [
        (overlap(window, each.bbox), index, position)
        for index, window in enumerate(windows)
        for position, each in enumerate(annotated)
        if window is not None and each.bbox is not None and index in free
    ]
    for share, index, position in sorted(overlaps, key=lambda pair: (-pair[0], pair[1:])):
        if share > 0 and index in free and matched[position] is None:
            matched[position] = index
            free.remove(index)

    for position, each in enumerate(annotated):
        if each.bbox is None and free:
            matched[position] = min(free)
            free.remove(min(free))
    return matched


def overlap(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes.

    >>> overlap((0, 0, 10, 10), (5, 0, 10, 10))
    0.3333333333333333
    """
    (ax, ay, aw, ah), (bx, by, bw, bh) = first, second
    width = max(0.0, min(ax + aw, bx + bw) - max(ax, bx))
    height = max(0.0, min(ay + ah, by + bh) - max(ay, by))
    union = aw * ah + bw * bh - width * height
    return width * height / union if union > 0 else 0.0
