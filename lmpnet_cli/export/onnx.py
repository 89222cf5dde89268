"""`lmpnet export`: write a model as an ONNX model that takes image pixels and gives keypoints.

Other programs run it, and so does `discover --backend onnx`.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmpnet_cli.config import ExportConfig, takes_options
from lmpnet_cli.errors import OutputError
from lmpnet_cli.export.int8 import calibration_images, quantize_export
from lmpnet_cli.inference.lmpnet import LMPNetPredictor, open_lmpnet_predictor
from lmpnet_cli.inference.onnx import export_predictor
from lmpnet_cli.io.onnx_file import OnnxHeader, first_look_path
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.progress import Progress


@dataclass(frozen=True)
class ExportResult:
    """Describes the exported ONNX model.

    Attributes:
        path: the file; with a first look, another one is beside it (`first_look_path`).
        header: the description of the model that is stored in the file.
        bytes: the size of the file.
        seconds: how long the export took.
    """

    path: Path
    header: OnnxHeader
    bytes: int
    seconds: float

    @property
    def files(self) -> list[Path]:
        """Return the files that were written."""
        return [self.path] if self.header.first_look is None else [self.path, first_look_path(self.path)]


@takes_options(ExportConfig)
def export_onnx(
    out: str | Path, *, model: LMPNet | None = None, progress: Progress | None = None, **options: Any
) -> ExportResult:
    """Write an ONNX model: (B, 3, S, S) RGB bytes in, keypoints out, for any batch size B.

    Args:
        out: the file; its name ends in .onnx.
        model: a loaded model, in place of a checkpoint.
        progress: receives a message before the export.
        **options: listed below.

    Raises:
        LmpnetError: when the model or an option cannot be used, the file cannot be written, or packages are missing.
    """
    config = ExportConfig(out=Path(out), **options)
    for path in (config.out, first_look_path(config.out)):
        if path.exists() and not config.overwrite:
            raise OutputError(f"{path} already exists. Choose another --out, or add --overwrite to replace it.")

    (progress or Progress()).tell("The export takes about 15 seconds.")
    started = time.perf_counter()
    as_discover = config.as_discover
    predictor = open_lmpnet_predictor(as_discover, model)
    first_look_path(config.out).unlink(missing_ok=True)  # of an earlier export
    if config.int8 is None:
        header = export_predictor(predictor, config.out)
    else:
        header = _export_int8(predictor, config.int8, config.out, progress or Progress())
    return ExportResult(config.out, header, config.out.stat().st_size, time.perf_counter() - started)


def _export_int8(predictor: LMPNetPredictor, images: Path, out: Path, progress: Progress) -> OnnxHeader:
    """Export in a temporary folder, and write the models of 8 bits if their keypoints agree."""
    files = calibration_images(images, progress)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / out.name
        return quantize_export(path, out, export_predictor(predictor, path), predictor, files, progress)
