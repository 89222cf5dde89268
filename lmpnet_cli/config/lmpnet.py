"""Options of the first paper's method: `--method lmpnet`."""

from typing import Any

from lmpnet_cli.config.options import Options, of_lmpnet

MAX_THRESHOLD = 20.0  # the diagonal of the 14 x 14 grid, in cells


def erasing_distance(default: Any = 3.0, more: str = "") -> Any:
    """Return the field of `--thr`, which takes one value, or several in `lmpnet eval`."""
    return of_lmpnet(
        default,
        f"Erasing distance around a found keypoint, in cells of a 14 x 14 grid{more}.",
        above=0,
        high=MAX_THRESHOLD,
    )


class SelectionConfig(Options):
    """Options that choose the filters and votes of `--method lmpnet`, in an ONNX model also."""

    filters: int | None = of_lmpnet(512, "Strongest filters of each network to keep for each image.", low=1)
    margin: int | None = of_lmpnet(
        0, "Ignore votes from the outermost N rows and columns of cells (not in the paper).", low=0, high=64
    )
    replica: bool | None = of_lmpnet(True, "Run with the replica network; without it the run takes half the time.")


class LMPNetConfig(SelectionConfig):
    """Options of `--method lmpnet`; None where another method was chosen."""

    # the inner iterations change the maps of Algorithm 1, but no position and no score
    iterations: int | None = of_lmpnet(
        5, "Inner iterations of Algorithm 1; positions do not depend on them.", low=1, decides=False
    )
