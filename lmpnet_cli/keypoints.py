"""Define the result type of every method, `Keypoints`, and the pixel convention.

Pixel convention, used everywhere: 0-based pixels of the image as a viewer shows it (EXIF orientation applied),
x to the right, y down, the centre of the top-left pixel at (0, 0). A cell (row, column) of an h x w map laid over a
W x H image has its centre at ((column + 0.5) W / w - 0.5, (row + 0.5) H / h - 0.5).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]  # x, y, width, height in pixels; the whole image is 0, 0, W, H
NO_OBJECT: Box = (0.0, 0.0, 0.0, 0.0)  # the window of an image on which no object was found


@dataclass(frozen=True)
class Keypoints:
    """The keypoints of one object, or of one image where objects were not looked for.

    Attributes:
        file_name: POSIX path relative to the searched folder.
        width, height: size of the image in pixels, EXIF orientation applied.
        xy: (K, 2) x, y in pixels; NaN for a keypoint that was not found.
        scores: (K,) in [0, 1]; NaN for a keypoint that was not found.
        replica_shares: (K,) share of the votes that came from the replica, in [0, 1]; NaN where not found.
        class_name, class_score: the predicted class and its probability.
        frame, time: number (0-based) and time in seconds of a video frame.
        window: the part of the image that holds the object; None where objects were not looked for, `NO_OBJECT` where
            none was found.
    """

    file_name: str
    width: int
    height: int
    xy: NDArray[np.float64]
    scores: NDArray[np.float64]
    replica_shares: NDArray[np.float64] | None = None
    class_name: str | None = None
    class_score: float | None = None
    frame: int | None = None
    time: float | None = None
    window: Box | None = None

    def __post_init__(self) -> None:
        if self.xy.ndim != 2 or self.xy.shape[1] != 2 or self.scores.shape != self.xy.shape[:1]:
            raise ValueError(f"expected xy (K, 2) and scores (K,), received {self.xy.shape} and {self.scores.shape}")

    @property
    def found(self) -> NDArray[np.bool_]:
        """Return (K,) booleans, True where a keypoint was found."""
        return ~np.isnan(self.xy[:, 0])

    @property
    def empty(self) -> bool:
        """Return whether objects were looked for on the image, and none was found."""
        return self.window == NO_OBJECT

    def found_only(self) -> "Keypoints":
        """Return the keypoints that were found, without the missing ones."""
        shares = None if self.replica_shares is None else self.replica_shares[self.found]
        return replace(self, xy=self.xy[self.found], scores=self.scores[self.found], replica_shares=shares)

    def padded(self, k: int) -> "Keypoints":
        """Return at least `k` keypoints: missing ones follow where there are fewer."""
        shares = None if self.replica_shares is None else padded_rows(self.replica_shares, k)
        return replace(self, xy=padded_rows(self.xy, k), scores=padded_rows(self.scores, k), replica_shares=shares)


def by_image(results: Iterable[Keypoints]) -> list[list[Keypoints]]:
    """Return the keypoints of the objects of each image; those of one image follow each other."""
    return [list(group) for _, group in groupby(results, key=lambda each: each.file_name)]


def padded_rows(rows: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return at least `k` rows of (K, ...) values: rows of NaN follow where there are fewer."""
    missing = np.full((max(0, k - len(rows)), *rows.shape[1:]), np.nan)
    return np.concatenate([rows, missing]) if len(missing) else rows


def cells_to_pixels(
    rows: NDArray[np.float64], columns: NDArray[np.float64], map_size: tuple[int, int], image_size: tuple[float, float]
) -> NDArray[np.float64]:
    """Convert positions on a map, fractions of a cell included, to pixels.

    Args:
        rows, columns: (...,) positions; whole numbers are cell centres.
        map_size: (h, w) of the map in cells.
        image_size: (W, H) of the image in pixels.

    Returns:
        (..., 2) x, y in pixels.

    >>> cells_to_pixels(np.array([0.0]), np.array([13.0]), (14, 14), (140, 280))
    array([[134.5,   9.5]])
    """
    (h, w), (width, height) = map_size, image_size
    return np.stack([(columns + 0.5) * width / w - 0.5, (rows + 0.5) * height / h - 0.5], axis=-1)


def positions_in_image(
    positions: NDArray[np.float64],
    map_size: tuple[int, int],
    image_size: tuple[int, int],
    window: Box | None = None,
) -> NDArray[np.float64]:
    """Convert (K, 2) rows and columns on a map to (K, 2) x, y in pixels, clipped to the image; NaN stays NaN.

    In images smaller than the map, a cell centre can be located between the border and the centre of the first pixel.

    Args:
        window: the part of the image that the map was laid over; None for the whole image.
    """
    x, y, width, height = window or (0.0, 0.0, *image_size)
    xy = cells_to_pixels(positions[:, 0], positions[:, 1], map_size, (width, height)) + np.array([x, y])
    clipped: NDArray[np.float64] = np.clip(xy, 0, np.array(image_size) - 1.0)
    return clipped


def box_or_image(bbox: Box | None, size: tuple[int, int]) -> Box:
    """Return the box of an object, or the whole image where there is none."""
    return bbox or (-0.5, -0.5, *size)


def keypoint_names(k: int) -> list[str]:
    """Return kp1 .. kpk: ranks within an image, not parts (docs/papers.md L11)."""
    return [f"kp{i}" for i in range(1, k + 1)]


def names_in_run(names: Sequence[str], results: Iterable[Keypoints]) -> list[str]:
    """Return `names`; where they are empty, kp1 .. kpk for the largest number of keypoints on an image."""
    return list(names) or keypoint_names(max((len(each.scores) for each in results), default=0))
