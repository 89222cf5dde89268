"""`lmpnet info`: read what is in a checkpoint or an exported ONNX model, without building the model."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lmpnet_cli.config import CHECKPOINT, ONNX_SUFFIX, file_in
from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.checkpoints import parse_spec, read_header
from lmpnet_cli.io.files import file_sha256
from lmpnet_cli.io.onnx_file import read_onnx_header


def info(model: str | Path | None = None) -> dict[str, Any]:
    """Return what the file says about itself.

    Args:
        model: a checkpoint or its folder, or an ONNX model of `lmpnet export`; None takes the bundled model.

    Returns:
        `file`, `bytes`, `sha256`, `kind` (checkpoint or onnx), `parameters` of each part of a checkpoint, and the
        record that the file holds.

    Raises:
        CheckpointError: when the file is missing, damaged or foreign.
    """
    path = bundled_checkpoint() if model is None else file_in(model, CHECKPOINT)
    if path.suffix == ONNX_SUFFIX:
        record: dict[str, Any] = {"kind": "onnx", **asdict(read_onnx_header(path))}
    else:
        header = read_header(path)
        try:
            parse_spec(header.get("spec"))
        except CheckpointError as error:
            raise CheckpointError(f"{path} does not describe its network: {error}.") from error
        record = {"kind": "checkpoint", "parameters": _parameters(path), **header}
    return {"file": str(path), "bytes": path.stat().st_size, "sha256": file_sha256(path), **record}


def _parameters(path: Path) -> dict[str, int]:
    """Count the parameters of the network, its replica and the part head."""
    counts: dict[str, int] = {}
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            part = key.partition(".")[0]
            counts[part] = counts.get(part, 0) + math.prod(file.get_slice(key).get_shape())
    return {part: counts[part] for part in ("network", "replica", "part_head", "landmark_head") if part in counts}
