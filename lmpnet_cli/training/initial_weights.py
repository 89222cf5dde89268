"""Initial weights of a backbone, from a safetensors file with torchvision or timm key names, or a trained network.

Keys that the cut network does not have (later stages, the classifier) are ignored; every tensor that it does have must
be present with its shape.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.model.backbone import Backbone, BackboneSpec, feature_layers, plan
from lmpnet_cli.model.lmpnet import KeypointNetwork, NetworkSpec

Shapes = Mapping[str, Sequence[int]]


def check_initial_weights(spec: BackboneSpec, path: Path) -> dict[str, str]:
    """Check that a file fits a backbone before it is built, and return the file's own metadata.

    Raises:
        CheckpointError: when the file is missing, is not a safetensors file, or does not fit the backbone.
        OptionError: for a backbone that timm does not have.
    """
    with _opened(path) as file:
        metadata: dict[str, str] = file.metadata() or {}
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    _refuse_misfit(spec, path, _planned(spec), shapes)
    return metadata


def load_initial_weights(backbone: Backbone, path: Path) -> dict[str, str]:
    """Fill the backbone from a file and return the file's own metadata, for the record.

    Raises:
        CheckpointError: as `check_initial_weights`.
    """
    with _opened(path) as file:
        metadata: dict[str, str] = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    own = backbone.network.state_dict()
    _refuse_misfit(backbone.spec, path, _shapes(own), _shapes(tensors))
    names = _own_names(own)
    backbone.network.load_state_dict({names[key]: value for key, value in tensors.items() if key in names})
    return metadata


def trained_network(path: Path, spec: NetworkSpec) -> KeypointNetwork:
    """Return the network of a checkpoint that fits a specification; `mask_radius` is the replica's and may differ.

    Raises:
        CheckpointError: when the checkpoint cannot be read, or has a network of other options or classes.
    """
    model = load_checkpoint(path)
    if model.spec.classes != spec.classes:
        raise CheckpointError(
            f"The network of {path} was trained on {len(model.spec.classes)} classes, which are not the "
            f"{len(spec.classes)} classes of DATA. Pass the DATA that it was trained on."
        )

    differing = [own for own, wanted in zip(_options(model.spec), _options(spec), strict=True) if own != wanted]
    if differing:
        raise CheckpointError(f"The network of {path} was trained with {', '.join(differing)}. Pass the same to train.")
    return model.network


def _options(spec: NetworkSpec) -> list[str]:
    """Return the options that a network depends on, as they are passed to `train`."""
    backbone = spec.backbone
    return [
        f"--backbone {backbone.name}",
        f"--layer {backbone.layer}",
        f"--output-stride {backbone.output_stride}" if backbone.output_stride else "no --output-stride",
        "--stride-in-1x1" if backbone.stride_in_1x1 else "--no-stride-in-1x1",
        "--caffe-pooling" if backbone.caffe_pooling else "--no-caffe-pooling",
        f"--pooling {spec.pooling}",
        f"--epsilon {spec.epsilon:g}",
        f"--size {spec.input_size}",
        "a --background above 0" if spec.reject else "--background 0",
    ]


def stated_options(metadata: Mapping[str, str]) -> dict[str, bool]:
    """Return how the network must be built for these weights, as far as the metadata of their file state it."""
    return {
        "stride_in_1x1": "1x1 convolution" in metadata.get("stride", ""),
        "caffe_pooling": "no padding" in metadata.get("maxpool", ""),
    }


def provenance(kind: str, metadata: dict[str, str]) -> str:
    """Describe in one line where initial weights come from."""
    return kind if not metadata else f"{kind}: {json.dumps(metadata, sort_keys=True)}"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise CheckpointError(
            f"Weight file {path} not found. Use --init pretrained to download weights, or --init none for random ones."
        ) from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a safetensors file ({error}). Pickled weights are not supported."
        ) from error


def _planned(spec: BackboneSpec) -> dict[str, Sequence[int]]:
    """Return the shapes of the tensors of a backbone."""
    return _shapes(plan(replace(spec, stride_in_1x1=False, caffe_pooling=False)).network.state_dict())


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, Sequence[int]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _own_names(own: Iterable[str]) -> dict[str, str]:
    """Return the name of each tensor of a feature network by its names in files of whole networks."""
    names = {key: key for key in own} | {key.replace("_", ".", 1): key for key in own}  # timm flattens names
    return names | {key.removeprefix("model."): key for key in own}  # and wraps vision transformers


def _misfits(own: Shapes, stored: Shapes) -> tuple[list[str], list[str]]:
    """Return the tensors that the file lacks, and those that have another shape there."""
    names = _own_names(own)
    found = {names[key]: tuple(shape) for key, shape in stored.items() if key in names}
    missing = [key for key in own if key not in found]
    return missing, [key for key, shape in found.items() if shape != tuple(own[key])]


def _refuse_misfit(spec: BackboneSpec, path: Path, own: Shapes, stored: Shapes) -> None:
    missing, different = _misfits(own, stored)
    if not missing and not different:
        return

    layer = None if different else _deepest_layer(spec, stored)
    if layer is not None:
        raise CheckpointError(f"{path} has weights of {spec.name} up to {layer} only: add --layer {layer}.")
    cut = "" if spec.layer == "-1" else f" cut after {spec.layer}"
    wrong = [*missing, *different]
    raise CheckpointError(
        f"{path} does not fit {spec.name}{cut}: {len(wrong)} of {len(own)} tensors are missing or differ in shape, for "
        f"example {wrong[0]}. Choose the --backbone that the weights belong to."
    )


def _deepest_layer(spec: BackboneSpec, stored: Shapes) -> str | None:
    """Return the last feature layer up to which a file has all weights; None where it does not reach the first."""
    for layer in reversed(feature_layers(spec)):
        if not any(_misfits(_planned(replace(spec, layer=layer)), stored)):
            return layer
    return None
