"""Coarse scale: how much does the predicted class lose when a patch is hidden? (papers.md 2.1)

1. An occluder slides over the image; what it hides becomes random colours, so that no edge is created.
2. A patch scores the drop of the class's probability, max(f(x) - f(h(x)), 0): only decreases count.
3. A pixel gets the mean score of all patches that cover it.

The number of forward passes is the cost: 729 patches for 224 pixels, patch 16 and stride 8.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Classify = Callable[[Tensor], Tensor]
"""(N, 3, S, T) RGB in 0 to 255 -> (N, classes) logits; normalisation is its own affair."""


def patch_corners(length: int, patch: int, stride: int) -> Tensor:
    """First pixels of the patches along one side; a last one lies flush with the border, so every pixel is covered.

    >>> patch_corners(20, 8, 8).tolist()
    [0, 8, 12]
    """
    if not (1 <= patch <= length and 1 <= stride <= patch):
        raise ValueError(f"expected 1 <= stride <= patch <= {length}, received stride {stride} and patch {patch}")
    corners = torch.arange(0, length - patch + 1, stride)
    last = length - patch
    return corners if corners[-1] == last else torch.cat([corners, torch.tensor([last])])


def random_colors(patches: int, patch: int, seed: int) -> Tensor:
    """(patches, 3, patch, patch) fresh random colours for every patch, bytes; the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (patches, 3, patch, patch), dtype=torch.uint8, generator=generator)


def show_through(fill: Tensor, patch: int, stride: int) -> Tensor:
    """The colours of a (3, S, T) picture at every patch, in place of random ones; (patches, 3, patch, patch)."""
    rows, columns = (patch_corners(length, patch, stride) for length in fill.shape[1:])
    return torch.stack([fill[:, y : y + patch, x : x + patch] for y in rows.tolist() for x in columns.tolist()])


def margin(logits: Tensor, target: Tensor) -> Tensor:
    """The log-odds of a class: its logit over the log-sum-exp of all others, (N, classes), (N,) -> (N,).

    The probability is its sigmoid; where that rounds to 1 the margin still tells how sure the classifier is.
    """
    logits = logits.float()
    own = logits.gather(1, target[:, None])
    return own[:, 0] - logits.scatter(1, target[:, None], -torch.inf).logsumexp(1)


def probability_drop(before: Tensor, left: Tensor) -> Tensor:
    """What the probability loses, never negative, from the margins before and after.

    Of a sure class the complements are told apart where the probabilities are not.
    """
    drop = torch.where(before > 0, (-left).sigmoid() - (-before).sigmoid(), before.sigmoid() - left.sigmoid())
    return drop.clamp(min=0)


def patch_places(size: Sequence[int], colors: Tensor, stride: int) -> tuple[Tensor, tuple[int, int]]:
    """(patches, 2) row and column of the first pixel of every patch, row by row; how many rows and columns there are.

    Args:
        size: height and width of the images.
        colors: (patches, 3, patch, patch), one for each place.

    Raises:
        ValueError: when there are more or fewer colours than places.
    """
    rows, columns = (patch_corners(length, colors.shape[-1], stride) for length in size)
    if len(colors) != len(rows) * len(columns):
        raise ValueError(f"expected colours for {len(rows)} x {len(columns)} patches, received {len(colors)}")
    return torch.cartesian_prod(rows, columns), (len(rows), len(columns))


def hide(copies: Tensor, colors: Tensor, places: Tensor) -> Tensor:
    """Hides one patch of each copy, in place.

    Args:
        copies: (N, 3, S, T) bytes.
        colors: (N, 3, patch, patch) what hides the patches.
        places: (N, 2) row and column of their first pixels.
    """
    pixels = torch.arange(colors.shape[-1], device=copies.device)
    rows, columns = places[:, :1] + pixels, places[:, 1:] + pixels  # (N, patch)
    own = torch.arange(len(copies), device=copies.device)
    copies[own[:, None, None], :, rows[:, :, None], columns[:, None, :]] = colors.permute(0, 2, 3, 1)
    return copies


def occlusion_scores(
    classify: Classify, images: Tensor, target: Tensor, colors: Tensor, stride: int, batch_size: int
) -> Tensor:
    """Drop of the target's probability for every patch, never negative.

    Args:
        images: (B, 3, S, T) RGB bytes.
        target: (B,) class whose probability is watched, as a rule the predicted one.
        colors: (patches, 3, patch, patch) what hides each patch, row by row.
        stride: of the patches in pixels.
        batch_size: occluded copies in one forward pass; patches of several images share it.

    Returns:
        (B, rows, columns), one score for each patch.
    """
    places, grid = patch_places(images.shape[2:], colors, stride)
    places, colors, count = places.to(images.device), colors.to(images.device), len(places)
    images = images.contiguous(memory_format=torch.channels_last)
    whole = margin(classify(images), target)
    scores = []
    for pairs in torch.split(torch.arange(len(images) * count, device=images.device), batch_size):
        image, place = pairs // count, pairs % count
        hidden = hide(images[image], colors[place], places[place])  # of copies: an index makes them
        scores.append(probability_drop(whole[image], margin(classify(hidden), target[image])))
    return torch.cat(scores).view(len(images), *grid)


def spread(scores: Tensor, size: tuple[int, int], patch: int, stride: int) -> Tensor:
    """Patch scores to pixels: the mean over all patches that cover a pixel.

    Args:
        scores: (B, rows, columns) as `occlusion_scores` gives them.
        size: height and width of the images.

    Returns:
        (B, height, width).
    """
    down, across = (
        torch.stack([(pixels >= corner) & (pixels < corner + patch) for corner in patch_corners(length, patch, stride)])
        for length, pixels in ((length, torch.arange(length)) for length in size)
    )  # (rows, height), (columns, width): which patch covers which pixel
    down, across = down.to(scores), across.to(scores)
    total = torch.einsum("rh,brc,cw->bhw", down, scores, across)
    return total / (down.sum(0)[:, None] * across.sum(0))
