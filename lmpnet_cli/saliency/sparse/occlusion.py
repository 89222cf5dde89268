"""Score patches at about a third of the cost, without whole occluded copies (poster, "occlusion").

Occluded copies differ from the image in one patch. Here only what a patch changes is computed, layer by layer
(`PatchedTensor`), so the scores are the same up to rounding. Deep layers see the whole image, which is why the gain is
a factor of three and not of a hundred.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lmpnet_cli.saliency.occlusion import Classify, hide_patches, log_odds, patch_positions, probability_drop
from lmpnet_cli.saliency.sparse.patched_tensor import PatchedTensor
from lmpnet_cli.saliency.sparse.recording import Recording
from lmpnet_cli.saliency.sparse.windows import Span

TOLERANCE = 1e-3  # of the largest change that patches make in the logits; rounding causes a tenth of that


def score_batches(
    classify: Classify, images: Tensor, target: Tensor, colors: Tensor, stride: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Score the patches like `saliency.occlusion.score_batches`; arguments and results are the same."""
    positions, grid = patch_positions(images.shape[2:], colors, stride)
    for index in range(len(images)):
        image, image_target, recording = images[index, None], target[index, None], Recording()
        with torch.inference_mode():
            before = log_odds(classify(image), image_target)

        for chosen in _neighbours(*grid, batch_size):
            logits = patched_logits(classify, image, recording, colors[chosen], positions[chosen])
            after = log_odds(logits, image_target.expand(len(logits)))
            yield (index * len(positions) + chosen).to(images.device), probability_drop(before, after)


def patched_logits(
    classify: Classify, image: Tensor, recording: Recording, colors: Tensor, positions: Tensor
) -> Tensor:
    """Return the logits of copies of one image, each with one patch hidden.

    Args:
        image: (1, 3, S, T) RGB bytes.
        recording: a new one for each image, the same one for all its patches.
        colors: (N, 3, patch, patch) what hides the patches.
        positions: (N, 2) row and column of their first pixels.

    Returns:
        (N, classes).
    """
    if len(colors) == 1:  # a factor of one copy has the same shape as a factor of all copies, so take two copies
        return patched_logits(classify, image, recording, colors.repeat(2, 1, 1, 1), positions.repeat(2, 1))[:1]

    patch = colors.shape[-1]
    rows, columns = (tuple(starts) for starts in positions.T.tolist())
    height, width = image.shape[2:]

    # a PatchedTensor created in inference mode would lose its windows in the first layer
    with torch.inference_mode(False), torch.no_grad(), recording:
        base = image.clone(memory_format=torch.channels_last)
        windows = colors.to(image.device).clone(memory_format=torch.channels_last)
        spans = Span(rows, patch, height), Span(columns, patch, width)
        logits = classify(PatchedTensor(recording, base, windows, *spans))
        return logits.whole() if isinstance(logits, PatchedTensor) else logits


def is_supported(classify: Classify, size: int) -> bool:
    """Return whether a network gives the same logits for patches as for whole copies; this is tried on noise.

    It does not, for example, if it inspects the type of its tensors, or changes a tensor in place that it also reads
    through another name.
    """
    generator = torch.Generator().manual_seed(0)
    patch = max(1, size // 14)
    image = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    colors = torch.randint(0, 256, (4, 3, patch, patch), dtype=torch.uint8, generator=generator)
    last, middle = size - patch, (size - patch) // 2
    positions = torch.tensor([[0, 0], [middle, last], [middle, middle], [last, middle // 2]])

    copies = hide_patches(image.repeat(len(positions), 1, 1, 1), colors, positions)
    with torch.inference_mode():
        expected, unoccluded = classify(copies), classify(image)
    tolerance = TOLERANCE * (expected - unoccluded).abs().max()

    # the first pass records, the second replays, and the third has small windows only
    recording = Recording()
    for count in (len(positions), len(positions), 1):
        try:
            logits = patched_logits(classify, image, recording, colors[:count], positions[:count])
        except Exception:  # whatever the network does with such tensors, whole copies will do
            return False
        if logits.shape != expected[:count].shape or not bool(((logits - expected[:count]).abs() <= tolerance).all()):
            return False
    return True


def _neighbours(rows: int, columns: int, batch_size: int) -> list[Tensor]:
    """Split the patches, numbered row by row, into batches of neighbours: windows of one size fit those tightest."""
    band = max(1, math.isqrt(batch_size))
    numbers = torch.arange(rows * columns).view(rows, columns)
    ordered = torch.cat([rows_of_band.T.flatten() for rows_of_band in torch.split(numbers, band)])
    return list(torch.split(ordered, batch_size))
