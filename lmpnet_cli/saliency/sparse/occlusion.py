"""Coarse scale at a third of the cost: occluded copies go through the network as their patches (papers.md 2.1).

`occlusion_scores` sends whole copies, which differ from the picture in one patch. Here only what a patch changes is
computed, layer by layer (`PatchedTensor`), so the scores are the same up to rounding. Deep layers see the whole
picture, which is why the gain is three times and not hundred times.
"""

import math

import torch
from torch import Tensor

from lmpnet_cli.saliency.occlusion import Classify, hide, margin, patch_places, probability_drop
from lmpnet_cli.saliency.sparse.patched_tensor import PatchedTensor
from lmpnet_cli.saliency.sparse.walk import Walk
from lmpnet_cli.saliency.sparse.windows import Span

ALL, CORNER = slice(None), slice(1)
TOLERANCE = 1e-3  # of the largest change that patches make in the logits; rounding makes a tenth of that


def local_occlusion_scores(
    classify: Classify, images: Tensor, target: Tensor, colors: Tensor, stride: int, batch_size: int
) -> Tensor:
    """As `occlusion_scores`; arguments and result are the same."""
    places, grid = patch_places(images.shape[2:], colors, stride)
    scores = torch.empty(len(images), len(places))
    for index, image in enumerate(images):
        own, walk = target[index : index + 1], Walk()
        with torch.inference_mode():
            before = margin(classify(image[None]), own)
        for chunk in _neighbours(*grid, batch_size):
            left = patched_logits(classify, image[None], walk, colors[chunk], places[chunk])
            scores[index, chunk] = probability_drop(before, margin(left, own.expand(len(left)))).cpu()
    return scores.view(len(images), *grid).to(images.device)


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
    # a stand-in that is made in inference mode loses its windows in the first layer
    with torch.inference_mode(False), torch.no_grad(), walk:
        base, windows = (each.clone(memory_format=torch.channels_last) for each in (image, colors.to(image.device)))
        logits = classify(PatchedTensor(walk, base, windows, Span(rows, patch, height), Span(columns, patch, width)))
        return logits.whole() if isinstance(logits, PatchedTensor) else logits


def works_locally(classify: Classify, size: int) -> bool:
    """Whether a network gives the same logits for patches as for whole copies, tried with noise.

    Not so, for one, where it looks at the type of its tensors, or changes a tensor in place that it also reads through
    another name.
    """
    generator = torch.Generator().manual_seed(0)
    patch = max(1, size // 14)
    image = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    colors = torch.randint(0, 256, (4, 3, patch, patch), dtype=torch.uint8, generator=generator)
    last, middle = size - patch, (size - patch) // 2
    places = torch.tensor([[0, 0], [middle, last], [middle, middle], [last, middle // 2]])
    whole = hide(image.repeat(len(places), 1, 1, 1), colors, places)
    with torch.inference_mode():
        expected, unpatched = classify(whole), classify(image)
    most = TOLERANCE * (expected - unpatched).abs().max()
    walk = Walk()
    try:
        # the second way reads what the first one has kept; the last has small windows only
        ways = [patched_logits(classify, image, walk, colors[kept], places[kept]) for kept in (ALL, ALL, CORNER)]
    except Exception:  # whatever the network does with such tensors, whole copies will do
        return False
    return all(
        way.shape == expected[kept].shape and bool(((way - expected[kept]).abs() <= most).all())
        for way, kept in zip(ways, (ALL, ALL, CORNER), strict=True)
    )


def _neighbours(rows: int, columns: int, batch_size: int) -> list[Tensor]:
    """Places row by row, in batches that lie near each other: windows of one size fit them tightest."""
    band = max(1, math.isqrt(batch_size))
    order = torch.arange(rows * columns).view(rows, columns)
    near = torch.cat([each.T.flatten() for each in torch.split(order, band)])
    return list(torch.split(near, batch_size))
