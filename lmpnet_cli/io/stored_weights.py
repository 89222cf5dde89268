"""How a checkpoint stores weights: as 32, 16 or 8 bits, and once where network and replica share them.

With 8 bits the weights of a convolution or classifier are whole numbers from -127 to 127 times a scale for each output
channel, which is the tensor NAME.scale. Everything with one dimension (batch norm, biases, thresholds) is stored as it
is: the variances of batch norm exceed the range of float16, and all of it takes little space.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from lmpnet_cli.errors import CheckpointError

NETWORKS = ("network.", "replica.")
SCALE = ".scale"
LEVELS = 127  # on either side of 0


def pack(tensors: Mapping[str, Tensor], bits: int) -> tuple[dict[str, Tensor], list[str]]:
    """Return tensors as they are stored, and the names of those of the replica that the network has as well.

    Args:
        tensors: the state dict of a model.
        bits: 32, 16, or 8, which leaves the heads at 16.
    """
    shared = [name for name in tensors if _is_shared(name, tensors)]
    packed: dict[str, Tensor] = {}
    for name in tensors.keys() - set(shared):
        tensor = tensors[name]
        if bits == 32 or tensor.ndim < 2:
            packed[name] = tensor
        elif bits == 8 and name.startswith(NETWORKS):
            packed[name], packed[name + SCALE] = quantized(tensor)
        else:
            packed[name] = tensor.half()
    return packed, sorted(shared)


def unpack(stored: Mapping[str, Tensor], shared: Collection[str]) -> dict[str, Tensor]:
    """Return the state dict of a model from its stored tensors.

    Args:
        shared: names of tensors of the replica that the network has as well.
    """
    tensors = dict(stored)
    for name, tensor in stored.items():
        if tensor.dtype == torch.int8 and name + SCALE in stored:
            tensors[name] = tensor.float() * _for_channels(tensors.pop(name + SCALE), tensor)
    return tensors | {name: tensors[twin(name)] for name in shared}


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight as int8 and the (O,) scale of each of its output channels."""
    scale = weight.flatten(1).abs().amax(1).float() / LEVELS
    scale = torch.where(scale > 0, scale, 1.0)
    return (weight.float() / _for_channels(scale, weight)).round().to(torch.int8), scale


def twin(name: str) -> str:
    """Return the name of the tensor of the network that is in the place of this one of the replica."""
    return NETWORKS[0] + name.removeprefix(NETWORKS[1])


def _for_channels(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weight.ndim - 1))


def _is_shared(name: str, tensors: Mapping[str, Tensor]) -> bool:
    return name.startswith(NETWORKS[1]) and torch.equal(tensors[name], tensors[twin(name)])


def check_names(
    planned: Mapping[str, Tensor], stored: Mapping[str, tuple[list[int], str]], shared: Collection[str]
) -> None:
    """Check that stored tensors are those of a model, before any of them is read.

    Args:
        planned: the state dict of the model, of which only the shapes are read.
        stored: shape and type of each stored tensor.
        shared: names of tensors of the replica that the network has as well.

    Raises:
        CheckpointError: if one is missing, unknown or of another shape.
    """
    expected = {name: list(tensor.shape) for name, tensor in planned.items() if name not in shared}
    for name, shape in list(expected.items()):
        if len(shape) > 1 and name in stored and stored[name][1] == "I8":
            expected[name + SCALE] = shape[:1]
    for name in shared:
        if name not in planned or not name.startswith(NETWORKS[1]) or twin(name) not in expected:
            raise CheckpointError(f"tensor {name:.80} cannot be shared")
    for name in sorted(expected.keys() | stored.keys()):
        found = stored[name][0] if name in stored else None
        if expected.get(name) != found:
            raise CheckpointError(f"tensor {name:.80} should be {expected.get(name)} and is {found}")
