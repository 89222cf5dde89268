"""Choose the images that are most worth correcting (`lmpnet discover --review N`): `review.csv`.

1. The layout of an object is where its points are in its window. The fit of a point is 1 where the most similar layouts
   of the run, mirrored or not, have it in the same place, and falls with its distance from there.
2. The trust in a point is its score times its fit, 0 for a missing one. The value of an object is the number of its
   points less the sum of their trust: about how many must be corrected. An image has the value of its first object in
   this order.
3. An image counts less, the more its layout resembles that of one which is already chosen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.data.images import evenly
from lmpnet_cli.data.left_right import flip_indices
from lmpnet_cli.export.formats.document import Document
from lmpnet_cli.export.formats.spreadsheet import as_line, number
from lmpnet_cli.io.files import write_pieces
from lmpnet_cli.keypoints import Keypoints

REVIEW = "review.csv"
COLUMNS = ("rank", "file_name", "value", "reason")
REFERENCES = 1000  # layouts at most, evenly chosen, that each one is compared with
SIMILAR = 5  # of them: the most similar ones, which say where a point usually is
FARTHEST = 0.3  # distances are shares of the window; larger ones count as this one
ONE_SIDED = 0.2  # distance of a point that only one of two layouts has
FALL = 0.2  # distance at which the fit has fallen to 1/e
ALIKE = 0.1  # mean distance of the points from which two layouts count as different
NAMED = 3  # points at most that a reason names

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reviewed:
    """An image that is worth correcting.

    Attributes:
        index: of its least trusted object in the results.
        value: about how many points of that object must be corrected.
        reason: which points, in words.
    """

    index: int
    value: float
    reason: str


def images_to_review(document: Document, count: int) -> list[Reviewed]:
    """Return at most `count` images of a run, those most worth correcting first."""
    results, swapped = document.results, flip_indices(document.names)
    layouts = np.stack([layout_of(result) for result in results])
    scores = np.nan_to_num([result.scores for result in results])
    fitting = fits(layouts, swapped)
    values = len(document.names) - (scores * fitting).sum(1)

    order = in_order(values, layouts, swapped, [result.file_name for result in results], count)
    return [
        Reviewed(index, float(values[index]), reason(results[index], fitting[index], document.names)) for index in order
    ]


def write_review(path: Path, document: Document, reviewed: Sequence[Reviewed]) -> None:
    """Write the images most worth correcting, one line each."""
    write_pieces(path, _lines(document, reviewed))


def _lines(document: Document, reviewed: Sequence[Reviewed]) -> Iterator[str]:
    yield as_line(COLUMNS)
    for rank, each in enumerate(reviewed, start=1):
        yield as_line([rank, document.results[each.index].file_name, number(each.value), each.reason])


def layout_of(result: Keypoints) -> Array:
    """Return the (k, 2) x, y of the points as shares of the window of their object; NaN where one is missing."""
    x, y, width, height = result.window or (0.0, 0.0, float(result.width), float(result.height))
    layout: Array = (result.xy + 0.5 - (x, y)) / np.maximum((width, height), 1.0)
    return layout


def mirrored(layouts: Array, swapped: Sequence[int]) -> Array:
    """Mirror (..., k, 2) layouts.

    Args:
        swapped: for each point the one that is in its place on the mirror image (left and right).
    """
    return np.abs(layouts[..., list(swapped), :] - (1.0, 0.0))


def apart(layout: Array, others: Array) -> Array:
    """Return the distance of each point of a layout (k, 2) from its place in others (N, k, 2) as (N, k)."""
    distances = np.linalg.norm(others - layout, axis=2).clip(max=FARTHEST)
    one_sided = np.isnan(layout[:, 0]) != np.isnan(others[..., 0])
    return np.where(one_sided, ONE_SIDED, np.nan_to_num(distances))


def fits(layouts: Array, swapped: Sequence[int]) -> Array:
    """Return the fit of each point of (N, k, 2) layouts, in [0, 1], as (N, k); 1 where there is no other layout."""
    chosen = evenly(len(layouts), REFERENCES)
    references = np.concatenate([layouts[chosen], mirrored(layouts[chosen], swapped)])
    indices = np.tile(chosen, 2)

    fitting = np.ones(layouts.shape[:2])
    for index, layout in enumerate(layouts):
        distances = apart(layout, references[indices != index])
        if len(distances):
            nearest = distances.mean(1).argsort(kind="stable")[:SIMILAR]
            fitting[index] = np.exp(-distances[nearest].mean(0) / FALL)
    return fitting


def in_order(values: Array, layouts: Array, swapped: Sequence[int], images: Sequence[str], count: int) -> list[int]:
    """Return the indices of at most `count` objects, each on another image, the highest value first.

    A value is multiplied by the mean distance to the nearest layout already chosen, as a share of `ALIKE`.

    Args:
        images: the image that each object is on.
    """
    distinct, numbers = np.unique(images, return_inverse=True)
    weight, is_free = np.ones(len(values)), np.ones(len(values), dtype=bool)
    order: list[int] = []
    for _ in range(min(count, len(distinct))):
        best = int(np.where(is_free, values * weight, -1).argmax())
        order.append(best)
        is_free &= numbers != numbers[best]

        both_ways = (layouts[best], mirrored(layouts[best], swapped))
        nearest = np.min([apart(layout, layouts).mean(1) for layout in both_ways], axis=0)
        weight = np.minimum(weight, nearest / ALIKE)
    return order


def reason(result: Keypoints, fitting: Array, names: Sequence[str]) -> str:
    """Return in words which points of an object are trusted least, and why.

    Args:
        fitting: the fit of each point.
    """
    if result.empty:
        return "no object found"

    trust = result.scores * fitting  # NaN, at the end of the order, where a point is missing
    least = trust.argsort(kind="stable")[: min(NAMED, int(result.found.sum()))].tolist()
    misplaced = [names[index] for index in least if fitting[index] < result.scores[index]]
    unsure = [names[index] for index in least if fitting[index] >= result.scores[index]]
    missing = int((~result.found).sum())

    reasons = [f"{_listed(misplaced)} in an unusual place"] if misplaced else []
    reasons += [f"{_listed(unsure)} with a low score"] if unsure else []
    reasons += [f"{missing} of {len(names)} points not found"] if missing else []
    return "; ".join(reasons)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
