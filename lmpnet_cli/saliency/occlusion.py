"""Coarse scale: how much probability does the class lose when a patch is hidden? (poster, "occlusion")

1. An occluder slides over the image. Random colours replace what it hides, so that it creates no edges (P2).
2. A patch scores the drop of the class's probability, max(f(x) - f(h(x)), 0): only decreases count.
3. A pixel gets the mean score of all patches that cover it (P4).

The cost is the number of forward passes: 729 patches for 224 pixels, patch 16 and stride 8. The numbers P1 to P4 are
those of docs/papers.md.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Classify = Callable[[Tensor], Tensor]
"""Map (N, 3, S, T) RGB images in 0 to 255 to (N, classes) logits; the function normalises its input itself."""

ScoreBatches = Callable[[Classify, Tensor, Tensor, Tensor, int, int], Iterator[tuple[Tensor, Tensor]]]
"""The signature of `score_batches`."""


def patch_corners(length: int, patch: int, stride: int) -> Tensor:
    """Return the first pixel of each patch along one side.

    The last patch is flush with the border, so that every pixel is covered (docs/papers.md P3).

    >>> patch_corners(20, 8, 8).tolist()
    [0, 8, 12]
    """
    if not (1 <= patch <= length and 1 <= stride <= patch):
        raise ValueError(f"expected 1 <= stride <= patch <= {length}, received stride {stride} and patch {patch}")

    corners = torch.arange(0, length - patch + 1, stride)
    last = length - patch
    return corners if corners[-1] == last else torch.cat([corners, torch.tensor([last])])


def random_colors(patches: int, patch: int, seed: int) -> Tensor:
    """Draw (patches, 3, patch, patch) random bytes, different for each patch and the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (patches, 3, patch, patch), dtype=torch.uint8, generator=generator)


def colors_from_image(fill: Tensor, patch: int, stride: int) -> Tensor:
    """Cut the patches (patches, 3, patch, patch) out of a (3, S, T) image, to use in place of random colours."""
    rows, columns = (patch_corners(length, patch, stride) for length in fill.shape[1:])
    return torch.stack([fill[:, y : y + patch, x : x + patch] for y in rows.tolist() for x in columns.tolist()])


def log_odds(logits: Tensor, target: Tensor) -> Tensor:
    """Return the log-odds of a class, log p / (1 - p), from (N, classes) logits and (N,) classes: (N,).

    This is the class's logit minus the log-sum-exp of all others. The probability is its sigmoid; where the probability
    rounds to 1, the log-odds still tell how certain the classifier is.
    """
    logits = logits.float()
    own = logits.gather(1, target[:, None])
    return own[:, 0] - logits.scatter(1, target[:, None], -torch.inf).logsumexp(1)


def probability_drop(before: Tensor, after: Tensor) -> Tensor:
    """Return the loss of probability from the log-odds before and after; a gain counts as 0.

    For a class with a probability near 1 the difference is taken between the complements, which are small and exact.
    """
    drop = torch.where(before > 0, (-after).sigmoid() - (-before).sigmoid(), before.sigmoid() - after.sigmoid())
    return drop.clamp(min=0)


def patch_positions(size: Sequence[int], colors: Tensor, stride: int) -> tuple[Tensor, tuple[int, int]]:
    """Return (patches, 2) row and column of each patch's first pixel, row by row, and the shape of the patch grid.

    Args:
        size: height and width of the images.
        colors: (patches, 3, patch, patch), one for each position.

    Raises:
        ValueError: if the number of colours differs from the number of positions.
    """
    rows, columns = (patch_corners(length, colors.shape[-1], stride) for length in size)
    if len(colors) != len(rows) * len(columns):
        raise ValueError(f"expected colours for {len(rows)} x {len(columns)} patches, received {len(colors)}")
    return torch.cartesian_prod(rows, columns), (len(rows), len(columns))


def hide_patches(copies: Tensor, colors: Tensor, positions: Tensor) -> Tensor:
    """Hide one patch of each image, in place.

    Args:
        copies: (N, 3, S, T) bytes.
        colors: (N, 3, patch, patch) what hides the patches.
        positions: (N, 2) row and column of their first pixels.

    Returns:
        `copies`.
    """
    pixels = torch.arange(colors.shape[-1], device=copies.device)
    rows, columns = positions[:, :1] + pixels, positions[:, 1:] + pixels  # (N, patch)

    numbers = torch.arange(len(copies), device=copies.device)
    copies[numbers[:, None, None], :, rows[:, :, None], columns[:, None, :]] = colors.permute(0, 2, 3, 1)
    return copies


def score_batches(
    classify: Classify, images: Tensor, target: Tensor, colors: Tensor, stride: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Score the patches, one forward pass after another. See `occlusion_scores` for the arguments.

    Yields:
        (N,) indices into the patches of all images, image by image, and their (N,) scores.
    """
    positions, _ = patch_positions(images.shape[2:], colors, stride)
    positions, colors, patches = positions.to(images.device), colors.to(images.device), len(positions)
    images = images.contiguous(memory_format=torch.channels_last)
    before = log_odds(classify(images), target)

    for indices in torch.split(torch.arange(len(images) * patches, device=images.device), batch_size):
        image, patch = indices // patches, indices % patches
        occluded = hide_patches(images[image], colors[patch], positions[patch])  # indexing has copied the images
        after = log_odds(classify(occluded), target[image])
        yield indices, probability_drop(before[image], after)


def occlusion_scores(
    classify: Classify,
    images: Tensor,
    target: Tensor,
    colors: Tensor,
    stride: int,
    batch_size: int,
    batches: ScoreBatches = score_batches,
) -> Tensor:
    """Return the drop of the target's probability for every patch, never negative.

    Args:
        images: (B, 3, S, T) RGB bytes.
        target: (B,) class whose probability is measured, normally the predicted one (docs/papers.md P1).
        colors: (patches, 3, patch, patch) what hides each patch, row by row.
        stride: of the patches in pixels.
        batch_size: occluded copies per forward pass; patches of several images share it.
        batches: how the scores are computed, by default from whole occluded copies.

    Returns:
        (B, rows, columns), one score for each patch.
    """
    _, grid = patch_positions(images.shape[2:], colors, stride)
    scores = torch.empty(len(images) * len(colors), device=images.device)
    for indices, values in batches(classify, images, target, colors, stride, batch_size):
        scores[indices] = values
    return scores.view(len(images), *grid)


def scores_to_pixels(scores: Tensor, size: tuple[int, int], patch: int, stride: int) -> Tensor:
    """Give each pixel the mean score of all patches that cover it.

    Args:
        scores: (B, rows, columns) as returned by `occlusion_scores`.
        size: height and width of the images.

    Returns:
        (B, height, width).
    """
    vertical = _coverage(size[0], patch, stride).to(scores)  # (rows, height)
    horizontal = _coverage(size[1], patch, stride).to(scores)  # (columns, width)
    total = torch.einsum("rh,brc,cw->bhw", vertical, scores, horizontal)
    return total / (vertical.sum(0)[:, None] * horizontal.sum(0))


def _coverage(length: int, patch: int, stride: int) -> Tensor:
    """Return which patch covers which pixel along one side, (patches, length) of bool."""
    pixels = torch.arange(length)
    corners = patch_corners(length, patch, stride)[:, None]
    return (pixels >= corners) & (pixels < corners + patch)
