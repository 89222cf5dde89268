"""Options of the first paper's method: `--method lmpnet`."""

from dataclasses import dataclass
from typing import Any

from lmpnet_cli.config.options import LMPNET, Options, documented, option

MAX_THRESHOLD = 20.0  # the diagonal of the 14 x 14 grid, in cells
_OF_LMPNET: dict[str, Any] = {"methods": ("lmpnet",), "panel": LMPNET}


def erasing_distance(default: Any = 3.0, more: str = "") -> Any:
    """Return the field of `--thr`, which takes one value, or several in `lmpnet eval`."""
    return option(
        default,
        f"Distance around a found keypoint within which proposals are erased, in cells of a 14 x 14 grid{more}.",
        above=0,
        high=MAX_THRESHOLD,
        decides=True,
        **_OF_LMPNET,
    )


@documented
@dataclass(frozen=True, kw_only=True)
class LMPNetConfig(Options):
    """Options of `--method lmpnet`; None where another method was chosen."""

    filters: int | None = option(
        512,
        "Number of strongest filters of each network to keep for each image; a larger number than there are keeps all.",
        low=1,
        decides=True,
        **_OF_LMPNET,
    )
    margin: int | None = option(
        0,
        "Ignore votes from the outermost N rows and columns of cells (not in the paper).",
        low=0,
        high=64,
        decides=True,
        **_OF_LMPNET,
    )
    # not `decides`: the inner iterations change the maps of Algorithm 1, but no position and no score
    iterations: int | None = option(
        5, "Inner iterations of Algorithm 1; positions do not depend on them.", low=1, **_OF_LMPNET
    )
    replica: bool | None = option(
        True,
        "Run with the replica network, as in the paper; without it the run takes half the time.",
        decides=True,
        **_OF_LMPNET,
    )
