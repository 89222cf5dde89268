"""Options of the first paper's method: `--method lmpnet`."""

from typing import Any, Literal

from lmpnet_cli.config.options import Options, of_lmpnet

MAX_RADIUS = 14.0  # the side of the grid, in cells
MAX_THRESHOLD = 2 * MAX_RADIUS**2  # the squared diagonal of the grid


def erasing_distance(default: Any = 3.0, more: str = "") -> Any:
    """Return the field of `--thr`, which takes one value, or several in `lmpnet eval`."""
    return of_lmpnet(
        default,
        "Erasing distance: votes nearer to a keypoint than this are erased, so a larger value spreads keypoints. It is "
        f"a squared distance in cells of a 14 x 14 grid; --distance euclidean does not square it{more}.",
        above=0,
        high=MAX_THRESHOLD,
    )


class ReadingConfig(Options):
    """Options that say how keypoints are read from the maps, in an ONNX model also."""

    distance: Literal["squared", "euclidean"] | None = of_lmpnet(
        "squared",
        "Distance that --thr is compared with. For --thr 3, 2 and 1, squared erases 9, 5 and 1 cells; euclidean erases "
        "25, 9 and 1.",
    )
    filters: int | None = of_lmpnet(512, "Number of strongest filters to use, per image and network.", low=1)
    margin: int | None = of_lmpnet(
        0, "Ignore votes from the outermost N rows and columns of cells (not in the paper).", low=0, high=64
    )
    replica: bool | None = of_lmpnet(
        True, "Run the replica; --no-replica takes half the time and finds other keypoints."
    )
    mask_radius: float | None = of_lmpnet(
        1.0,
        "Radius of what is hidden from the replica around the first keypoint, in cells of a 14 x 14 grid: 1 hides "
        "only the keypoint's own cell, 3 hides 25 cells.",
        above=0,
        high=MAX_RADIUS,
    )
    fusion: Literal["proposals", "predictions"] | None = of_lmpnet(
        "proposals",
        "proposals: cluster the votes of both networks together; predictions: cluster the votes of each network, then "
        "merge the keypoints.",
    )
    position: Literal["cell", "centroid"] | None = of_lmpnet(
        "centroid",
        "Position of a keypoint: the centroid of the activation around its cell, or the cell itself, as in the paper.",
    )


class LMPNetConfig(ReadingConfig):
    """Options of `--method lmpnet`; None where another method was chosen."""

    # the inner iterations change the maps of Algorithm 1, but no position and no score
    iterations: int | None = of_lmpnet(
        5,
        "Inner iterations of the paper's Algorithm 1; they change its keypoint maps, but neither positions nor scores.",
        low=1,
        decides=False,
    )
