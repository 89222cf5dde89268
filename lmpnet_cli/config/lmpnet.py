"""Options of the first paper's method: `--method lmpnet`."""

from typing import Any

from lmpnet_cli.config.options import Options, of_lmpnet

MAX_THRESHOLD = 20.0  # the diagonal of the 14 x 14 grid, in cells


def erasing_distance(default: Any = 3.0, more: str = "") -> Any:
    """Return the field of `--thr`, which takes one value, or several in `lmpnet eval`."""
    return of_lmpnet(
        default,
        "Erasing distance, in cells of a 14 x 14 grid: votes nearer to a keypoint are erased; a larger one spreads "
        f"keypoints{more}.",
        above=0,
        high=MAX_THRESHOLD,
    )


class SelectionConfig(Options):
    """Options that choose the filters and votes of `--method lmpnet`, in an ONNX model also."""

    filters: int | None = of_lmpnet(512, "Number of strongest filters to use, per image and network.", low=1)
    margin: int | None = of_lmpnet(
        0, "Ignore votes from the outermost N rows and columns of cells (not in the paper).", low=0, high=64
    )
    replica: bool | None = of_lmpnet(
        True, "Run the replica; --no-replica takes half the time and finds other keypoints."
    )


class LMPNetConfig(SelectionConfig):
    """Options of `--method lmpnet`; None where another method was chosen."""

    # the inner iterations change the maps of Algorithm 1, but no position and no score
    iterations: int | None = of_lmpnet(
        5, "Inner iterations of Algorithm 1; positions and scores do not depend on them.", low=1, decides=False
    )
