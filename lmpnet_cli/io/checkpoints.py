"""Read and write checkpoints: one safetensors file, whose metadata contain everything needed to rebuild its model.

The metadata have one JSON string under `lmpnet`. `stored_weights` says how weights are stored; they are loaded as
float32. Nothing on disk is ever unpickled.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lmpnet_cli.config import CHECKPOINT, file_in
from lmpnet_cli.errors import CheckpointError, LmpnetError, OutputError
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.coco import FORMAT_VERSION
from lmpnet_cli.io.files import write_atomically
from lmpnet_cli.io.json_input import SchemaError, check, parse_json, refuse_unknown_fields
from lmpnet_cli.io.run_record import versions
from lmpnet_cli.io.runtime import resolve_device
from lmpnet_cli.io.stored_weights import check_names, pack, unpack
from lmpnet_cli.model.backbone import BackboneSpec
from lmpnet_cli.model.landmark_head import LandmarkHead, LandmarkHeadSpec
from lmpnet_cli.model.lmpnet import LMPNet, NetworkSpec, build
from lmpnet_cli.model.objects import ObjectHead
from lmpnet_cli.model.part_head import PartHead, PartHeadSpec

MAX_HEADER = 32 * 2**20  # bytes; ten thousand classes take one million
PARTS = "parts"  # key of the header that describes the part head
PART_HEAD = "part_head"  # prefix of the names of its tensors
LANDMARKS, LANDMARK_HEAD = "landmarks", "landmark_head"  # the same two of the landmark head
OBJECT_HEAD = "object_head"  # the same of the object head, and the key of the header that says whether there is one
MAX_CHANNELS = 2**31 - 1  # of a head; torch cannot count further
SHARED = "shared"  # key of the header: tensors of the replica that are stored once, with the network
_STRIDES = (None, 8, 16, 32)
HeadSpec = TypeVar("HeadSpec", PartHeadSpec, LandmarkHeadSpec)


def save_checkpoint(path: Path, model: LMPNet, record: dict[str, Any], bits: int = 32) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        record: training settings, provenance and the like, stored as given.
        bits: of the stored weights: 32, 16 or 8.
    """
    tensors, shared = pack(model_tensors(model), bits)
    header = {
        "format_version": FORMAT_VERSION,
        "spec": asdict(model.spec),
        "replica": model.replica is not None,
        **({SHARED: shared} if shared else {}),
        **({} if model.part_head is None else {PARTS: asdict(model.part_head.spec)}),
        **({} if model.object_head is None else {OBJECT_HEAD: True}),
        **({} if model.landmark_head is None else {LANDMARKS: asdict(model.landmark_head.spec)}),
        **record,
        "versions": versions(),
    }
    write_tensors(path, tensors, {"lmpnet": json.dumps(header, default=str)})


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        OutputError: when it cannot be written, for example on a full disk.
    """
    try:
        write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))
    except SafetensorError as error:
        raise OutputError(f"Cannot write {path}: {error}. Choose another --out.") from error


def model_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return the state dict on the CPU, contiguous, as safetensors requires."""
    return {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}


def attach_heads(
    source: Path,
    target: Path,
    spec: PartHeadSpec | None = None,
    part_head: PartHead | None = None,
    object_head: ObjectHead | None = None,
    landmark_head: LandmarkHead | None = None,
) -> None:
    """Copy a checkpoint with other heads, or with another description of its part head.

    All other weights stay bit-identical. `source` and `target` may be the same file.

    Args:
        spec: describes the part head; None keeps the description.
        part_head, object_head, landmark_head: replace those of `source`; None keeps them.

    Raises:
        CheckpointError: when `source` is missing, damaged or not an lmpnet file.
        OutputError: when `target` cannot be written.
    """
    header = read_header(source)
    with safe_open(source, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    if spec is not None:
        header[PARTS] = asdict(spec)
    if landmark_head is not None:
        header[LANDMARKS] = asdict(landmark_head.spec)
    heads = {PART_HEAD: part_head, OBJECT_HEAD: object_head, LANDMARK_HEAD: landmark_head}
    for prefix, head in heads.items():
        if head is not None:
            tensors = {key: value for key, value in tensors.items() if not key.startswith(f"{prefix}.")}
            tensors |= {f"{prefix}.{key}": value for key, value in model_tensors(head).items()}
    if object_head is not None:
        header[OBJECT_HEAD] = True
    write_tensors(target, tensors, {"lmpnet": json.dumps(header, default=str)})


class _Header(Struct, kw_only=True):
    """What every checkpoint says of itself; the rest of the record is kept as it is."""

    format_version: int


class _Model(Struct, kw_only=True):
    """What a checkpoint says of its model; the descriptions of network and heads are checked one by one."""

    spec: dict[str, Any]
    replica: bool
    object_head: bool = False
    shared: list[str] = []


def part_head_spec(header: dict[str, Any]) -> PartHeadSpec | None:
    """Return the description of the part head in a checkpoint's header, or None where there is no part head.

    Raises:
        CheckpointError: when this version does not know such a part head.
    """
    spec = _head_spec(header.get(PARTS), PartHeadSpec, "part head")
    if spec is not None and spec.backgrounds > MAX_CHANNELS:
        raise CheckpointError(f"The part head of the checkpoint states more than {MAX_CHANNELS} backgrounds.")
    return spec


def landmark_head_spec(header: dict[str, Any]) -> LandmarkHeadSpec | None:
    """Return the description of the landmark head in a checkpoint's header, or None where there is none.

    Raises:
        CheckpointError: when this version does not know such a landmark head.
    """
    return _head_spec(header.get(LANDMARKS), LandmarkHeadSpec, "landmark head")


def _head_spec(values: Any, kind: type[HeadSpec], what: str) -> HeadSpec | None:
    if values is None:
        return None
    try:
        refuse_unknown_fields(values, kind)
        spec = check(values, kind)
    except SchemaError as error:
        raise CheckpointError(
            f"This version of lmpnet does not know the {what} of the checkpoint ({error})."
        ) from error
    if not spec.names:
        raise CheckpointError(f"The {what} of the checkpoint has no names.")
    if max(spec.channels, spec.directions) > MAX_CHANNELS:
        raise CheckpointError(f"The {what} of the checkpoint states more than {MAX_CHANNELS} channels or directions.")
    return spec


def parse_spec(spec: Any) -> NetworkSpec:
    """Return the network specification in a checkpoint's header.

    Raises:
        CheckpointError: when it describes a network that this version does not know.
    """
    try:
        refuse_unknown_fields(spec, NetworkSpec)
        parsed = check(spec, NetworkSpec)
        refuse_unknown_fields(spec["backbone"], BackboneSpec)
    except SchemaError as error:
        raise CheckpointError(f"it does not describe a network ({error})") from error
    if parsed.backbone.output_stride not in _STRIDES:
        raise CheckpointError(f"it has a network of output stride {parsed.backbone.output_stride!r:.80}")
    return parsed


def read_header(path: Path) -> dict[str, Any]:
    """Return the JSON record of a checkpoint.

    Raises:
        CheckpointError: when the file is missing, damaged or not an lmpnet file.
    """
    try:
        metadata = read_metadata(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"Checkpoint {path} not found. Check the spelling, or create one with `lmpnet train DATA`."
        ) from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}). It may be truncated, or another kind of file."
        ) from error

    try:
        header = parse_json(metadata.get("lmpnet", ""))
        version = check(header, _Header).format_version
    except SchemaError as error:
        raise CheckpointError(
            f"{path} was not written by lmpnet. Use a checkpoint of `lmpnet train` or `lmpnet parts`; backbone "
            "weights belong to `lmpnet train --init FILE`."
        ) from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version!r:.80}; this version of lmpnet reads {FORMAT_VERSION}. "
            "Use the version that wrote it."
        )
    return dict(header)


def load_checkpoint(path: str | Path | None = None, device: str = "cpu") -> LMPNet:
    """Build the model that a checkpoint describes and load its weights.

    Args:
        path: the file, or the output folder of `train` or `parts`; None uses the bundled model.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        The model in evaluation mode, float32, channels_last, without gradients.

    Raises:
        CheckpointError: when the file is missing, damaged, foreign, or does not fit its own description.
        DeviceError: when the device is not available.
    """
    target = resolve_device(device)
    path = bundled_checkpoint() if path is None else file_in(path, CHECKPOINT)
    header = read_header(path)

    try:
        model = _build(path, header)
    except (LmpnetError, SchemaError, SafetensorError, RuntimeError) as error:  # the last: sizes that torch refuses
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} does not fit its own description: {reason}") from error

    if not all(bool(value.isfinite().all()) for value in model.state_dict().values()):
        raise CheckpointError(
            f"{path} contains weights that are not finite numbers: it is damaged, or its training diverged. Use "
            "another checkpoint."
        )
    return to_device(model.eval().requires_grad_(False), target)


def _build(path: Path, header: dict[str, Any]) -> LMPNet:
    described = check(header, _Model)
    spec = parse_spec(described.spec)
    heads: dict[str, Any] = {
        "part_head": part_head_spec(header),
        "object_head": described.object_head,
        "landmark_head": landmark_head_spec(header),
        "empty": True,
    }
    with torch.device("meta"):  # takes no memory
        planned = build(spec, described.replica, **heads)

    with safe_open(path, framework="pt") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
        kinds = {key: (each.get_shape(), each.get_dtype()) for key, each in slices.items()}
        # before memory is taken for what an untrusted header promises
        check_names(planned.state_dict(), kinds, described.shared)
        with torch.random.fork_rng(devices=[]):  # draws random weights, which those of the file replace
            model = build(spec, described.replica, **heads)
        tensors = {key: file.get_tensor(key) for key in slices}

    model.load_state_dict(unpack(tensors, described.shared))  # converts to float32
    return model


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises:
        OSError, SafetensorError: when the file cannot be read, is another kind of file, or has too large a header.
    """
    if path.exists() and not path.is_file():
        raise SafetensorError("not a regular file")

    with path.open("rb") as raw:
        length = int.from_bytes(raw.read(8), "little")
    if length > MAX_HEADER:
        raise SafetensorError(f"it states a header of {length} bytes")

    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def to_device(model: LMPNet, device: torch.device) -> LMPNet:
    """Move a model to the device in channels_last layout, which makes convolutions on the CPU about twice as fast."""
    return model.to(device).to(memory_format=torch.channels_last)
