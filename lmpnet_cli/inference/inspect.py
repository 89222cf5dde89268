"""`lmpnet info`: read what is in a checkpoint or an exported ONNX model, without building the model."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lmpnet_cli.config import CHECKPOINT, ONNX_SUFFIX, file_in
from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.checkpoints import SHARED, parse_spec, read_header
from lmpnet_cli.io.files import file_sha256
from lmpnet_cli.io.json_input import list_in
from lmpnet_cli.io.onnx_file import read_onnx_header
from lmpnet_cli.io.stored_weights import SCALE, twin


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
        shared = [name for name in list_in(header.pop(SHARED, [])) if isinstance(name, str)]
        record = {"kind": "checkpoint", "parameters": _parameters(path, shared), **header}
    return {"file": str(path), "bytes": path.stat().st_size, "sha256": file_sha256(path), **record}


def _parameters(path: Path, shared: Sequence[str]) -> dict[str, int]:
    """Count the parameters of the network, its replica and the heads.

    Args:
        shared: names of tensors that both networks have and the file only once.
    """
    with safe_open(path, framework="pt") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    shapes |= {name: shapes.get(twin(name), []) for name in shared}

    counts: dict[str, int] = {}
    for key, shape in shapes.items():
        is_scale = key.endswith(SCALE) and key.removesuffix(SCALE) in shapes
        part = key.partition(".")[0]
        counts[part] = counts.get(part, 0) + (0 if is_scale else math.prod(shape))
    return {part: counts[part] for part in ("network", "replica", "part_head", "landmark_head") if part in counts}
