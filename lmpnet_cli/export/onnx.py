"""`lmpnet export`: the whole path from picture to keypoints as one ONNX graph.

For other programs, and for `discover --backend onnx`.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmpnet_cli.config import ExportConfig
from lmpnet_cli.errors import OutputError
from lmpnet_cli.inference.lmpnet import open_lmpnet_predictor
from lmpnet_cli.inference.onnx import export_predictor
from lmpnet_cli.io.onnx_file import OnnxHeader
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress


@dataclass(frozen=True)
class ExportResult:
    """The written graph.

    Attributes:
        header: what it says of itself.
        bytes: its length.
    """

    path: Path
    header: OnnxHeader
    bytes: int
    seconds: float


def export_onnx(
    out: Any, *, model: LMPNet | None = None, progress: Progress | None = None, **options: Any
) -> ExportResult:
    """Writes an ONNX graph: (B, 3, S, S) RGB bytes in, keypoints out, for any B.

    Args:
        out: the file.
        model: a loaded model, in place of a checkpoint.
        **options: the fields of `ExportConfig`.

    Raises:
        LmpnetError: when the model or the options cannot be used, the file cannot be written, or packages are missing.
    """
    config = ExportConfig(out=out, **options)
    if config.out.exists() and not config.overwrite:
        raise OutputError(f"{config.out} is there already. Choose another --out, or add --overwrite to replace it.")
    (progress or Progress()).tell("An export takes about a quarter of a minute.")
    started = time.perf_counter()
    as_discover = config.as_discover
    predictor = open_lmpnet_predictor(as_discover, model)
    header = export_predictor(predictor, config.out)
    return ExportResult(config.out, header, config.out.stat().st_size, time.perf_counter() - started)
