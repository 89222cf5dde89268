"""Classifiers of timm for the method saliency; a module of its own, because importing timm takes more than a second."""

import difflib
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data.config import resolve_data_config
from timm.data.imagenet_info import ImageNetInfo
from torch import Tensor

from lmpnet_cli.errors import CheckpointError, OptionError
from lmpnet_cli.inference.classifier import Classifier
from lmpnet_cli.io.files import file_sha256


def timm_classifier(name: str, weights: Path | None, size: int | None, device: torch.device) -> Classifier:
    """Open a classifier by its timm name.

    Args:
        weights: a safetensors file with timm's key names; None downloads timm's pretrained weights.
        size: side of the input; None takes the one that the network was made for.

    Raises:
        OptionError: when timm has no such classifier, or it does not accept images of that size.
        CheckpointError: when weights are missing, damaged, cannot be downloaded, or do not fit.
    """
    _check_name(name, weights)
    tensors = None if weights is None else _tensors(weights)
    try:
        with torch.random.fork_rng(devices=[]):  # draws random weights, which the trained ones replace
            if tensors is None:
                network: Any = timm.create_model(name, pretrained=True)
            else:
                network = timm.create_model(name, pretrained=False, num_classes=_class_count(name, tensors, weights))
                network.load_state_dict(tensors)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        if tensors is None:
            raise CheckpointError(
                f"The pretrained weights of {name} could not be downloaded ({type(error).__name__}). Connect to the "
                "internet once, or pass a file with --classifier-weights."
            ) from error
        raise CheckpointError(f"{weights} does not fit {name}: {reason}") from error

    if network.num_classes < 2:
        raise OptionError(f"{name} is not a classifier: it has fewer than two classes. Pass another --classifier.")
    settings: dict[str, Any] = resolve_data_config({}, model=network)  # type: ignore[no-untyped-call]
    side = size or int(settings["input_size"][1])

    network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(settings[key], device=device).view(1, 3, 1, 1) * 255 for key in ("mean", "std"))

    def logits(images: Tensor) -> Tensor:
        found: Tensor = network((images.float() - mean) / std)
        return found

    try:
        with torch.inference_mode():
            logits(torch.zeros(1, 3, side, side, device=device))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise OptionError(
            f"{name} does not accept images of {side} pixels ({reason}). Choose another --size."
        ) from error

    file: dict[str, Any]
    if weights is None:
        file = {"name": f"{name.partition('.')[0]}.{network.pretrained_cfg.get('tag')}", "sha256": None}
    else:
        file = {"name": weights.name, "sha256": file_sha256(weights)}
    # the class names of a file are unknown; those of timm's own weights are ImageNet's, where there are a thousand
    names = _imagenet() if weights is None and network.num_classes == 1000 else map(str, range(network.num_classes))
    return Classifier(network, logits, tuple(names), side, {"checkpoint": file, "classifier": name})


def _check_name(name: str, weights: Path | None) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.4)
        raise OptionError(f"timm has no classifier {name!r}. Similar names: {', '.join(near) or 'none'}.")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise OptionError(f"timm has no weights {tag!r} of {architecture}. It has {', '.join(tags) or 'none'}.")
    if weights is None and not timm.is_model_pretrained(architecture):
        raise OptionError(f"timm has no weights of {name}; pass a file with --classifier-weights.")


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"Weight file {path} not found. Check --classifier-weights.") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a safetensors file ({error}). Pickled weights are not supported."
        ) from error


def _class_count(name: str, tensors: dict[str, Tensor], path: Path | None) -> int:
    """Count the classes of the head in the file."""
    config = timm.models.get_pretrained_cfg(name)
    layer = config.classifier if config else ""
    head = tensors.get(f"{layer}.weight")
    if head is None:
        raise CheckpointError(f"{path} does not hold a classifier of {name}: tensor {layer}.weight is missing.")
    return head.shape[0]


def _imagenet() -> tuple[str, ...]:
    info = ImageNetInfo()
    return tuple(info.index_to_description(index) for index in range(1000))
