"""Coarse scale at a third of the cost: occluded copies go through the network as their patches (papers.md 2.1).

`occlusion_scores` sends whole copies, which differ from the picture in one patch. Here only what a patch changes is
computed, layer by layer (`PatchedTensor`), so the scores are the same up to rounding. Deep layers see the whole
picture, which is why the gain is three times and not hundred times.
"""

import math

import torch
from torch import Tensor

from lmpnet_cli.saliency.occlusion import Classify, margin, patch_corners, probability_drop
from lmpnet_cli.saliency.patched import PatchedTensor
from lmpnet_cli.saliency.walk import Walk
from lmpnet_cli.saliency.windows import Span

TOLERANCE = 1e-3  # of logits computed in either way


def local_occlusion_scores(
    classify: Classify, images: Tensor, target: Tensor, colors: Tensor, stride: int, batch_size: int
) -> Tensor:
    """As `occlusion_scores`; arguments and result are the same."""
    corners = [patch_corners(length, colors.shape[-1], stride) for length in images.shape[2:]]
    places = torch.cartesian_prod(*corners)  # row by row
    scores = torch.empty(len(images), len(places))
    for index, image in enumerate(images):
        own, walk = target[index : index + 1], Walk()
        with torch.inference_mode():
            before = margin(classify(image[None]), own)
        for chunk in _neighbours(len(corners[0]), len(corners[1]), batch_size):
            left = patched_logits(classify, image[None], walk, colors[chunk], places[chunk])
            scores[index, chunk] = probability_drop(before, margin(left, own.expand(len(left)))).cpu()
    return scores.view(len(images), *map(len, corners)).to(images.device)


def patched_logits(classify: Classify, image: Tensor, walk: Walk, colors: Tensor, places: Tensor) -> Tensor:
    """Logits of copies of one picture, each with a patch of its own.

    Args:
        image: (1, 3, S, T) RGB bytes.
        walk: a new one for every picture.
        colors: (N, 3, patch, patch) the patches.
        places: (N, 2) row and column of their first pixels.

    Returns:
        (N, classes).
    """
    if len(colors) == 1:  # factors of one copy look like factors of all copies
        return patched_logits(classify, image, walk, colors.repeat(2, 1, 1, 1), places.repeat(2, 1))[:1]
    patch = colors.shape[-1]
    rows, columns = (tuple(each) for each in places.T.tolist())
    height, width = image.shape[2:]
    # no stand-in for a tensor may be made in inference mode
    with torch.inference_mode(False), torch.no_grad(), walk:
        base, windows = (each.clone(memory_format=torch.channels_last) for each in (image, colors.to(image.device)))
        logits = classify(PatchedTensor(walk, base, windows, Span(rows, patch, height), Span(columns, patch, width)))
        return logits.whole() if isinstance(logits, PatchedTensor) else logits


def works_locally(classify: Classify, size: int) -> bool:
    """Whether a network gives the same logits for patches as for whole copies, tried with noise.

    Not so where it changes parts of a tensor in place, or looks into the memory of a tensor.
    """
    generator = torch.Generator().manual_seed(0)
    patch = max(1, size // 14)
    image = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    colors = torch.randint(0, 256, (4, 3, patch, patch), dtype=torch.uint8, generator=generator)
    last, middle = size - patch, (size - patch) // 2
    places = torch.tensor([[0, 0], [middle, last], [middle, middle], [last, middle // 2]])
    whole = image.repeat(len(places), 1, 1, 1)
    for copy, color, (row, column) in zip(whole, colors, places.tolist(), strict=True):
        copy[:, row : row + patch, column : column + patch] = color
    walk = Walk()
    try:
        # the second way reads what the first one has kept
        ways = [patched_logits(classify, image, walk, colors, places) for _ in range(2)]
    except (RuntimeError, TypeError, IndexError):
        return False
    with torch.inference_mode():
        expected = classify(whole)
    return all(torch.allclose(way, expected, rtol=TOLERANCE, atol=TOLERANCE) for way in ways)


def _neighbours(rows: int, columns: int, batch_size: int) -> list[Tensor]:
    """Places row by row, in batches that lie near each other: windows of one size fit them tightest."""
    band = max(1, math.isqrt(batch_size))
    order = torch.arange(rows * columns).view(rows, columns)
    near = torch.cat([each.T.flatten() for each in torch.split(order, band)])
    return list(torch.split(near, batch_size))
