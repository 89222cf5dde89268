"""ONNX graph files: the networks and the keypoint branch in one, with what they need to be used in the metadata.

The metadata hold one JSON string under `lmpnet`: what `discover` needs to use the graph in place of a checkpoint, and
what another program needs to read the outputs.
"""

import copy
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from lmpnet_cli.errors import WRONG_SHAPE, CheckpointError, OptionError, missing_package
from lmpnet_cli.io.files import write_atomically
from lmpnet_cli.io.json_input import parse_json
from lmpnet_cli.io.runtime import evaluating
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.model.onnx_module import OnnxModule

FORMAT_VERSION = 1
OPSET = 18


@dataclass(frozen=True)
class OnnxHeader:
    """What a graph file says of itself.

    Attributes:
        input_size: side of the square input in pixels.
        map_size: rows and columns of the maps in cells, in which positions are given.
        names: of the keypoints.
        classes: in the order of the probabilities.
        method: lmpnet or parts.
        replica: whether there is one in the graph.
        options: of `discover` that are fixed in the graph.
        checkpoint: name and checksum of the weights.
    """

    input_size: int
    map_size: tuple[int, int]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    method: Literal["lmpnet", "parts"]
    replica: bool
    options: dict[str, Any]
    checkpoint: dict[str, Any]
    format_version: int = FORMAT_VERSION


def write_onnx(
    model: LMPNet,
    path: Path,
    method: Literal["lmpnet", "parts"],
    options: dict[str, Any],
    facts: dict[str, Any],
) -> OnnxHeader:
    """Write the file, whole or not at all.

    Args:
        model: without its replica where that is not wanted.
        method, options: as for `OnnxModule`.
        facts: the other fields of the header, except those that follow from the model.

    Raises:
        OptionError: when the packages for it are missing.
        OutputError: when the file cannot be written.
    """
    if model.get_buffer("mean").device.type != "cpu":
        model = copy.deepcopy(model).to("cpu")  # the caller's stays where it is
    size = facts["input_size"]

    with evaluating(model), torch.no_grad():
        maps = model.network(torch.zeros(1, 3, size, size))[1]
        proto = _traced(OnnxModule(model, method, **options).eval(), size).model_proto
    header = OnnxHeader(
        map_size=(maps.shape[2], maps.shape[3]), method=method, replica=model.replica is not None, **facts
    )

    entry = proto.metadata_props.add()
    entry.key, entry.value = "lmpnet", json.dumps(asdict(header))
    write_atomically(path, lambda temporary: temporary.write_bytes(proto.SerializeToString()))
    return header


def _traced(graph: OnnxModule, size: int) -> Any:
    try:
        import onnxscript
    except ImportError as error:
        raise missing_package(error, "onnx") from error
    op: Any = onnxscript.opset18

    def stable_sort(self: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        # of equal values TopK, too, gives the lower index first; it knows no bytes
        count = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]))
        values, indices = op.TopK(op.Cast(self, to=1), count, axis=dim, largest=descending, sorted=True)
        return op.CastLike(values, self), indices

    with warnings.catch_warnings(), _translated(graph):
        warnings.simplefilter("ignore")  # the exporter's own
        return torch.onnx.export(
            graph,
            (torch.zeros(2, 3, size, size, dtype=torch.uint8),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
            input_names=["pixels"],
            output_names=list(OnnxModule.OUTPUTS),
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten.sort.stable: stable_sort},
            verbose=False,
        )


@contextmanager
def _translated(graph: OnnxModule) -> Iterator[None]:
    """A backbone with parts that ONNX does not know becomes a message."""
    try:
        yield
    except torch.onnx.errors.OnnxExporterError as error:
        name = graph.model.spec.backbone.name
        raise OptionError(f"PyTorch cannot write {name} as ONNX ({str(error).splitlines()[0][:200]}).") from error


def read_onnx_header(path: Path) -> OnnxHeader:
    """The header of a graph file, without loading the graph into an engine.

    Raises:
        OptionError: when onnx is missing.
        CheckpointError: when the file is missing, damaged or foreign.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing_package(error, "onnx") from error
    if not path.is_file():
        raise CheckpointError(f"There is no graph {path}. Check the spelling, or make it with `lmpnet export`.")
    try:
        properties = {each.key: each.value for each in onnx.load(path, load_external_data=False).metadata_props}
    except Exception as error:  # protobuf has an exception of its own
        raise CheckpointError(f"{path} is no readable ONNX file ({str(error).splitlines()[0][:200]}).") from error
    return parse_header(path, properties.get("lmpnet"))


def parse_header(path: Path, metadata: str | None) -> OnnxHeader:
    """What the metadata of a graph file say.

    Raises:
        CheckpointError: when it is of another program or version.
    """
    try:
        given = parse_json(metadata or "")
        if given["format_version"] != FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format version {given['format_version']!r}; this version of lmpnet reads {FORMAT_VERSION}."
                " Export it again."
            )
        given |= {key: tuple(given[key]) for key in ("map_size", "names", "classes")}
        return OnnxHeader(**given)
    except WRONG_SHAPE as error:
        raise CheckpointError(f"{path} was not written by `lmpnet export`. Name a graph that was.") from error
