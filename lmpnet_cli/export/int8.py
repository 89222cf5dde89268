"""8-bit ONNX models (`lmpnet export --int8 IMAGES`): two to three times as fast on processors with VNNI or AMX.

1. Half of the chosen images are shown to the networks, which gives the range of every map (`quantize`, by onnxruntime).
   The convolutions then compute with whole numbers of 8 bits; what reads keypoints from the maps stays as it is.
2. The other half tells whether the keypoints stay where they were (`agreement`). If too many do not, nothing is kept.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.data.images import evenly
from lmpnet_cli.data.listing import ListedImage, list_images
from lmpnet_cli.errors import OptionError, missing_package
from lmpnet_cli.inference.lmpnet import LMPNetPredictor
from lmpnet_cli.inference.onnx import open_onnx_predictor
from lmpnet_cli.inference.windows import FirstLook, WiderWindows, smaller
from lmpnet_cli.io.onnx_file import Int8Check, OnnxHeader, copy_with_header, first_look_path
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.model.pretrained import quiet_libraries
from lmpnet_cli.progress import Progress

IMAGES = 128  # at most; every second one is for the check
BATCH = 8
NEAR = 0.05  # of the longer side of the window: a keypoint that moves less agrees
# share of the keypoints that must agree; ranks are decided by votes for neighbouring cells, so more of them move, to
# places that score as high
ENOUGH = {"parts": 0.8, "landmarks": 0.8, "lmpnet": 0.6}
COMPUTED = ("Conv", "Relu", "Add", "MaxPool")


def calibration_images(images: Path, progress: Progress) -> list[ListedImage]:
    """Return the images to calibrate with and to check on, evenly chosen.

    Raises:
        InputError: when there are none.
        OptionError: when there is only one.
    """
    files = list_images([images], progress=progress)
    if len(files) < 2:
        raise OptionError("--int8 needs at least two images: one to calibrate with, and another one for the check.")
    return [files[index] for index in evenly(len(files), IMAGES)]


def quantize_export(
    path: Path,
    out: Path,
    header: OnnxHeader,
    predictor: LMPNetPredictor,
    files: Sequence[ListedImage],
    progress: Progress,
) -> OnnxHeader:
    """Write an exported model, and that of its first look, with 8 bits, and return the new header.

    Args:
        path: the exported model, in a temporary folder.
        predictor: that was exported.
        files: every second one is for the check.

    Raises:
        OptionError: when packages are missing, or too few keypoints agree.
    """
    calibrating, checking = files[::2], files[1::2]
    progress.tell(f"Calibrating 8 bits with {len(calibrating)} images.")
    first, second = inputs_of(predictor, calibrating)
    expected = _keypoints(path, checking)
    small = path.with_name(f"8-bits-{path.name}")
    quantize(path, small, second)
    if header.first_look is not None:
        quantize(first_look_path(path), first_look_path(small), first)

    agreeing = agreement(expected, _keypoints(small, checking), ranked=header.method == "lmpnet")
    enough = ENOUGH[header.method]
    if agreeing < enough:
        raise OptionError(
            f"With 8 bits only {agreeing:.0%} of the keypoints of {len(checking)} images stay within {NEAR:.0%} of "
            f"their window (at least {enough:.0%}), so no model was written. Calibrate with more images like those "
            "that it will see, or export without --int8."
        )
    header = replace(header, int8=Int8Check(len(calibrating), len(checking), round(agreeing, 4)))
    if header.first_look is not None:
        copy_with_header(first_look_path(small), first_look_path(out), replace(header, input_size=first[0].shape[-1]))
    copy_with_header(small, out, header)
    return header


def inputs_of(predictor: LMPNetPredictor, files: Sequence[ListedImage]) -> tuple[list[Tensor], list[Tensor]]:
    """Return batches of what the first and the second look see of images, (B, 3, S, S) bytes each."""
    runner, finder = predictor.runner, predictor.runner.finder
    finder = finder.finder if isinstance(finder, WiderWindows) else finder
    first: list[Tensor] = []
    second: list[Tensor] = []
    for whole, whole_pixels in runner.loader.batches(files, Progress()):
        if isinstance(finder, FirstLook):
            first.append(smaller(whole_pixels, finder.side))
        second += [pixels for _, pixels in runner.looks(whole, whole_pixels)]
    return first, second


def quantize(source: Path, target: Path, inputs: Sequence[Tensor]) -> None:
    """Write an ONNX model whose backbones compute with 8 bits.

    Args:
        inputs: (B, 3, S, S) bytes, which give the ranges of the maps.

    Raises:
        OptionError: when packages are missing.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise missing_package(error, "onnx") from error

    with quiet_libraries(("",), logging.CRITICAL), np.errstate(invalid="ignore"):  # channels whose weights are all 0
        quantize_static(
            source,
            target,
            _Batches(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=before_the_last_convolutions(onnx.load(source)),
            op_types_to_quantize=list(COMPUTED),
        )


def before_the_last_convolutions(proto: Any) -> list[str]:
    """Return the names of the nodes of the backbones up to their last convolutions.

    The sum and the ReLU behind those stay as they are: their maps, of which each filter votes for the highest cell,
    would have equal cells.
    """
    inside = {node.name: node for node in proto.graph.node if "backbone" in _namespace(node)}
    giver = {output: node for node in inside.values() for output in node.output}
    waiting = [node for node in inside.values() if node.op_type == "Conv"]
    found = {node.name for node in waiting}
    while waiting:
        for name in waiting.pop().input:
            node = giver.get(name)
            if node is not None and node.name not in found:
                found.add(node.name)
                waiting.append(node)
    return [name for name, node in inside.items() if name in found and node.op_type in COMPUTED]


def agreement(expected: Sequence[Keypoints], found: Sequence[Keypoints], ranked: bool) -> float:
    """Return the share of the expected keypoints that are found near their place again.

    Args:
        ranked: whether keypoints are ranks, which may be exchanged; otherwise the numbers must be the same.
    """
    others: dict[str, list[Keypoints]] = {}
    for each in found:
        others.setdefault(each.file_name, []).append(each)

    agreeing = total = 0
    for each in expected:
        side = max((each.window or (0, 0, each.width, each.height))[2:])
        near = np.zeros(len(each.xy), bool)
        for other in others.get(each.file_name, []):
            distances = np.linalg.norm(each.xy[:, None] - other.xy, axis=2)  # NaN is near nothing
            near |= (distances < NEAR * side).any(1) if ranked else np.diagonal(distances) < NEAR * side
        agreeing += int(near.sum())
        total += int(each.found.sum())
    return agreeing / max(total, 1)


class _Batches:
    """Gives onnxruntime one batch after the other; it asks for an object with this method."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self._left = (batch for each in inputs for batch in torch.split(each, BATCH))

    def get_next(self) -> Mapping[str, NDArray[np.uint8]] | None:
        """Return the next batch; None after the last one."""
        batch = next(self._left, None)
        return None if batch is None else {"pixels": batch.numpy()}


def _namespace(node: Any) -> str:
    return next((str(entry.value) for entry in node.metadata_props if entry.key == "namespace"), "")


def _keypoints(path: Path, files: Sequence[ListedImage]) -> list[Keypoints]:
    predictor = open_onnx_predictor(DiscoverConfig(images=(), checkpoint=path, device="cpu"))
    return [each for _, batch in predictor.batches(files, Progress()) for each in batch.keypoints()]
