"""Checkpoints: one safetensors file, with everything needed to build its model again in the metadata.

The metadata hold one JSON string under `lmpnet`. Weights may be stored as float16 (`half=True`); they are loaded as
float32. Nothing on disk is ever unpickled.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lmpnet_cli.errors import WRONG_SHAPE, CheckpointError, LmpnetError, OutputError
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.coco import FORMAT_VERSION
from lmpnet_cli.io.files import write_atomically
from lmpnet_cli.io.json_input import parse_json
from lmpnet_cli.io.run_record import versions
from lmpnet_cli.io.runtime import resolve_device
from lmpnet_cli.model.backbone import BackboneSpec
from lmpnet_cli.model.lmpnet import LMPNet, NetworkSpec, build
from lmpnet_cli.model.part_head import PartHead, PartHeadSpec

MAX_HEADER = 32 * 2**20  # bytes; with ten thousand classes it is one million
PARTS = "parts"  # key of the header under which the part head is described
PART_HEAD = "part_head"  # prefix of the names of its tensors


def save_checkpoint(path: Path, model: LMPNet, record: dict[str, Any], half: bool = False) -> None:
    """Writes a checkpoint aside and renames it.

    Args:
        record: training settings, provenance and the like, kept as they are.
        half: store the weights of convolutions and classifiers as float16, for half the size.
    """
    tensors = model_tensors(model)
    if half:
        # only the large tensors: batch norm variances reach beyond the range of float16, and they are small
        tensors = {key: value.half() if value.ndim > 1 else value for key, value in tensors.items()}
    header = {
        "format_version": FORMAT_VERSION,
        "spec": asdict(model.spec),
        "replica": model.replica is not None,
        **({} if model.part_head is None else {PARTS: asdict(model.part_head.spec)}),
        **record,
        "versions": versions(),
    }
    metadata = {"lmpnet": json.dumps(header, default=str)}
    write_tensors(path, tensors, metadata)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes a safetensors file aside and renames it.

    Raises:
        OutputError: when it cannot be written, as on a full disk.
    """
    try:
        write_atomically(path, lambda aside: save_file(tensors, aside, metadata=metadata))
    except SafetensorError as error:
        raise OutputError(f"Cannot write {path}: {error}. Choose another --out.") from error


def model_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """The state dict on the CPU, contiguous, as safetensors wants it."""
    return {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}


def attach_part_head(source: Path, target: Path, spec: PartHeadSpec, part_head: PartHead | None = None) -> None:
    """Copies a checkpoint, with a vocabulary in place of the one it has, or with a new description of that one.

    All other weights stay as they are, bit for bit. `source` and `target` may be the same file.

    Raises:
        CheckpointError: when `source` is missing, damaged or not one of ours.
        OutputError: when `target` cannot be written.
    """
    header = read_header(source)
    with safe_open(source, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if part_head is not None:
        tensors = {key: value for key, value in tensors.items() if not key.startswith(f"{PART_HEAD}.")}
        tensors |= {f"{PART_HEAD}.{key}": value for key, value in model_tensors(part_head).items()}
    write_tensors(target, tensors, {"lmpnet": json.dumps(header | {PARTS: asdict(spec)}, default=str)})


def part_head_spec(header: dict[str, Any]) -> PartHeadSpec | None:
    """The vocabulary that a checkpoint's header describes, or None.

    Raises:
        CheckpointError: when it describes what this version does not know.
    """
    values = header.get(PARTS)
    if values is None:
        return None
    try:
        given: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in values.items()}
        spec = PartHeadSpec(**given)
        if not spec.names:
            raise ValueError("it names no keypoint")
        return spec
    except WRONG_SHAPE as error:
        raise CheckpointError(f"The checkpoint describes no vocabulary that this lmpnet knows ({error}).") from error


def read_header(path: Path) -> dict[str, Any]:
    """The JSON record of a checkpoint.

    Raises:
        CheckpointError: when the file is missing, damaged or not one of ours.
    """
    try:
        metadata = read_metadata(path)
        header = parse_json(metadata["lmpnet"])
        version = header["format_version"]
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint {path}. `lmpnet train DATA` makes one.") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}). It may be truncated, or another kind of file."
        ) from error
    except WRONG_SHAPE as error:
        raise CheckpointError(
            f"{path} was not written by lmpnet. Give a checkpoint of `lmpnet train`; backbone weights go to "
            "`lmpnet train --init FILE`."
        ) from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version!r:.80}, this lmpnet reads {FORMAT_VERSION}. Update lmpnet."
        )
    return dict(header)


def load_checkpoint(path: str | Path | None = None, device: str = "cpu") -> LMPNet:
    """Builds the model that a checkpoint describes and fills it.

    Args:
        path: None takes the bundled model.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        The model in evaluation mode, float32, channels_last, without gradients.

    Raises:
        CheckpointError: when the file is missing, damaged, foreign, or does not fit its own description.
        DeviceError: when the device is not there.
    """
    target = resolve_device(device)
    path = bundled_checkpoint() if path is None else Path(path)
    header = read_header(path)
    try:
        spec, replica, words = parse_spec(header["spec"]), bool(header["replica"]), part_head_spec(header)
        with torch.device("meta"):
            planned = build(spec, replica, part_head=words)
        with safe_open(path, framework="pt") as file:
            _refuse_misfit(planned, file)  # before memory is taken for what a stranger's header promises
            model = build(spec, replica, part_head=words)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        model.load_state_dict(tensors)  # copies into float32
    except (LmpnetError, SafetensorError, RuntimeError, *WRONG_SHAPE) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} does not fit its own description: {reason}") from error
    if not all(bool(value.isfinite().all()) for value in model.state_dict().values()):
        raise CheckpointError(f"{path} holds weights that are not finite numbers: its training had diverged.")
    return place(model.eval().requires_grad_(False), target)


def _refuse_misfit(model: LMPNet, file: Any) -> None:
    planned, there = model.state_dict(), set(file.keys())
    for key in sorted(planned.keys() | there):
        shapes = [list(planned[key].shape) if key in planned else None]
        shapes.append(file.get_slice(key).get_shape() if key in there else None)
        if shapes[0] != shapes[1]:
            raise ValueError(f"tensor {key:.80} should be {shapes[0]} and is {shapes[1]}")


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file.

    Raises:
        FileNotFoundError, OSError, SafetensorError: when it is none that can be read, or says too much of itself.
    """
    if path.exists() and not path.is_file():
        raise SafetensorError("not a regular file")
    with path.open("rb") as raw:
        length = int.from_bytes(raw.read(8), "little")
    if length > MAX_HEADER:
        raise SafetensorError(f"its header is said to have {length} bytes")
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def place(model: LMPNet, device: torch.device) -> LMPNet:
    """On the device, channels_last: about twice as fast for convolutions on the CPU."""
    return model.to(device).to(memory_format=torch.channels_last)


def parse_spec(spec: dict[str, Any]) -> NetworkSpec:
    """The specification from its JSON form."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in spec.items()}
    return NetworkSpec(**{**values, "backbone": BackboneSpec(**spec["backbone"])})


def file_sha256(path: Path) -> str:
    """The checksum that ties a result to its weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
