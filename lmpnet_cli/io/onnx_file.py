"""Read and write ONNX models: the networks and the keypoint branch in one file.

The metadata have one JSON string under `lmpnet`: what `discover` needs to use the ONNX model in place of a checkpoint,
and what another program needs to read its outputs.
"""

import copy
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from msgspec import Struct

from lmpnet_cli.errors import CheckpointError, OptionError, missing_package
from lmpnet_cli.io.files import write_atomically
from lmpnet_cli.io.json_input import SchemaError, check, parse_json, refuse_unknown_fields
from lmpnet_cli.io.runtime import evaluating
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.model.onnx_module import FirstLookModule, OnnxModule

FORMAT_VERSION = 3
OPSET = 18


@dataclass(frozen=True)
class Int8Check:
    """How a model of 8 bits was made and checked.

    Attributes:
        calibrated: number of images that gave the ranges.
        checked: number of other images whose keypoints were compared.
        agreement: share of their keypoints that stayed near their place.
    """

    calibrated: int
    checked: int
    agreement: float


@dataclass(frozen=True)
class OnnxHeader:
    """What an ONNX model says of itself.

    Attributes:
        input_size: side of the square input in pixels.
        map_size: rows and columns of the maps; positions are given in these cells.
        names: of the keypoints.
        classes: names in the order of the probabilities.
        method: lmpnet, parts or landmarks.
        replica: whether there is one in the ONNX model.
        options: of `discover` that are fixed in the ONNX model.
        checkpoint: name and checksum of the weights.
        first_look: what the other ONNX model finds objects by (see `first_look_path`); None for an ONNX model that
            takes the whole image.
        margin: by how much windows are wider than what the first look finds.
        int8: for a model of 8 bits.
    """

    input_size: int
    map_size: tuple[int, int]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    method: Literal["lmpnet", "parts", "landmarks"]
    replica: bool
    options: dict[str, Any]
    checkpoint: dict[str, Any]
    first_look: Literal["object_head", "response"] | None = None
    margin: float = 0.0
    int8: Int8Check | None = None
    format_version: int = FORMAT_VERSION


def write_onnx(
    model: LMPNet,
    path: Path,
    method: Literal["lmpnet", "parts", "landmarks"],
    options: dict[str, Any],
    facts: dict[str, Any],
) -> OnnxHeader:
    """Write the file, whole or not at all.

    Args:
        model: without its replica where that is not wanted.
        method, options: as for `OnnxModule`.
        facts: the other fields of the header, except those that follow from the model.

    Raises:
        OptionError: when packages are missing, or PyTorch cannot export the backbone.
        OutputError: when the file cannot be written.
    """
    if model.get_buffer("mean").device.type != "cpu":
        model = copy.deepcopy(model).to("cpu")  # the caller's model stays on its device

    size = facts["input_size"]

    with evaluating(model), torch.no_grad():
        maps = model.network(torch.zeros(1, 3, size, size))[1]
        proto = trace(OnnxModule(model, method, **options).eval(), size).model_proto
    header = OnnxHeader(
        map_size=(maps.shape[2], maps.shape[3]), method=method, replica=model.replica is not None, **facts
    )
    _write(path, proto, header)
    return header


def write_first_look(model: LMPNet, path: Path, size: int, header: OnnxHeader) -> None:
    """Write the ONNX model of the first look beside that of the second look: `size` pixels in, cells out.

    Args:
        path, header: of the ONNX model of the second look.
    """
    alone = LMPNet(model.spec, copy.deepcopy(model.network).to("cpu"), object_head=copy.deepcopy(model.object_head))
    with evaluating(alone), torch.no_grad():
        proto = trace(FirstLookModule(alone.to("cpu")).eval(), size).model_proto
    _write(first_look_path(path), proto, replace(header, input_size=size))


def first_look_path(path: Path) -> Path:
    """Return the file of the first look that belongs to an ONNX model.

    >>> first_look_path(Path("birds.onnx")).name
    'birds.first-look.onnx'
    """
    return path.with_name(f"{path.stem}.first-look{path.suffix}")


def copy_with_header(source: Path, target: Path, header: OnnxHeader) -> None:
    """Copy an ONNX model with this header in place of its metadata, whole or not at all.

    Raises:
        OutputError: when the file cannot be written.
    """
    import onnx

    proto = onnx.load(source)
    del proto.metadata_props[:]
    _write(target, proto, header)


def _write(path: Path, proto: Any, header: OnnxHeader) -> None:
    entry = proto.metadata_props.add()
    entry.key, entry.value = "lmpnet", json.dumps(asdict(header))
    write_atomically(path, lambda temporary: temporary.write_bytes(proto.SerializeToString()))


def trace(module: OnnxModule | FirstLookModule, size: int) -> Any:
    """Return the ONNX program of a module, for batches of any number of images of `size` pixels.

    Raises:
        OptionError: when packages are missing, or the module has operations that ONNX does not have.
    """
    try:
        import onnxscript
    except ImportError as error:
        raise missing_package(error, "onnx") from error

    op: Any = onnxscript.opset18

    def stable_sort(self: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        # TopK also gives the lower index first among equal values; it does not support bytes
        count = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]))
        values, indices = op.TopK(op.Cast(self, to=1), count, axis=dim, largest=descending, sorted=True)
        return op.CastLike(values, self), indices

    with warnings.catch_warnings(), _export_errors(module):
        warnings.simplefilter("ignore")  # the exporter's own
        return torch.onnx.export(
            module,
            (torch.zeros(2, 3, size, size, dtype=torch.uint8),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
            input_names=["pixels"],
            output_names=list(module.OUTPUTS),
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten.sort.stable: stable_sort},
            verbose=False,
        )


@contextmanager
def _export_errors(module: OnnxModule | FirstLookModule) -> Iterator[None]:
    """Turn the exporter's error for operations that ONNX does not have into an error for the user."""
    try:
        yield
    except torch.onnx.errors.OnnxExporterError as error:
        name = module.model.spec.backbone.name
        raise OptionError(f"PyTorch cannot export {name} to ONNX ({str(error).splitlines()[0][:200]}).") from error


def read_onnx_header(path: Path) -> OnnxHeader:
    """Return the header of an ONNX model, without loading it into onnxruntime.

    Raises:
        OptionError: when onnx is missing.
        CheckpointError: when the file is missing, damaged or foreign.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing_package(error, "onnx") from error

    if not path.is_file():
        raise CheckpointError(f"ONNX model {path} not found. Check the spelling, or create it with `lmpnet export`.")
    try:
        properties = {each.key: each.value for each in onnx.load(path, load_external_data=False).metadata_props}
    except Exception as error:  # protobuf has an exception of its own
        raise CheckpointError(f"{path} is not a readable ONNX file ({str(error).splitlines()[0][:200]}).") from error
    return parse_header(path, properties.get("lmpnet"))


def parse_header(path: Path, metadata: str | None) -> OnnxHeader:
    """Return the header in the metadata of an ONNX model.

    Raises:
        CheckpointError: when another program or version wrote it.
    """
    try:
        document = parse_json(metadata or "")
        version = check(document, _Version).format_version
        if version == FORMAT_VERSION:
            refuse_unknown_fields(document, OnnxHeader)
            return check(document, OnnxHeader)
    except SchemaError as error:
        raise CheckpointError(
            f"{path} was not written by `lmpnet export`. Use an ONNX model that was ({error})."
        ) from error
    raise CheckpointError(
        f"{path} has format version {version!r:.80}; this version of lmpnet reads {FORMAT_VERSION}. Export it again."
    )


class _Version(Struct):
    format_version: int
