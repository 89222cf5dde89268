"""The coarse map: patches, scores and their spread, against a literal loop and hand-worked cases."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lmpnet_cli.saliency.occlusion import (
    colors_from_image,
    occlusion_scores,
    patch_corners,
    random_colors,
    scores_to_pixels,
)


def tiny_classifier(size=24, classes=3):
    torch.manual_seed(4)
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(45, classes)
    )
    network.eval().requires_grad_(False)
    return lambda images: network(images.float() / 64 - 2)


def random_images(count=2, height=24, width=24):
    return torch.randint(
        0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def literal_scores(classify, image, target, colors, stride):
    """Section 2.1 word by word, one patch at a time."""
    patch = colors.shape[-1]
    whole = classify(image[None]).softmax(1)[0, target]
    rows = patch_corners(image.shape[1], patch, stride).tolist()
    columns = patch_corners(image.shape[2], patch, stride).tolist()
    scores = np.zeros((len(rows), len(columns)))
    for r, y in enumerate(rows):
        for c, x in enumerate(columns):
            hidden = image.clone()
            hidden[:, y : y + patch, x : x + patch] = colors[r * len(columns) + c]
            scores[r, c] = max(float(whole - classify(hidden[None]).softmax(1)[0, target]), 0.0)
    return scores


def test_the_papers_grid_has_729_patches_and_inner_pixels_lie_under_four():
    corners = patch_corners(224, 16, 8)
    assert len(corners) == 27
    covered = [sum(corner <= pixel < corner + 16 for corner in corners.tolist()) for pixel in range(224)]
    assert set(covered[8:-8]) == {2}  # along each side, so four in the plane
    assert min(covered) == 1


@pytest.mark.parametrize(("length", "patch", "stride"), [(20, 8, 8), (17, 4, 3), (5, 5, 5), (224, 16, 12), (9, 4, 1)])
def test_every_pixel_lies_under_a_patch_inside_the_image(length, patch, stride):
    corners = patch_corners(length, patch, stride).tolist()
    assert corners == sorted(set(corners)) and corners[0] == 0 and corners[-1] == length - patch
    assert all(b - a <= stride for a, b in itertools.pairwise(corners))


@pytest.mark.parametrize(("patch", "stride"), [(0, 1), (25, 8), (4, 5), (4, 0)])
def test_patches_that_cannot_be_are_refused(patch, stride):
    with pytest.raises(ValueError, match="expected 1 <= stride <= patch"):
        patch_corners(24, patch, stride)


def test_colors_are_fresh_for_every_patch_and_follow_the_seed():
    first = random_colors(9, 8, seed=3)
    assert first.shape == (9, 3, 8, 8) and first.dtype == torch.uint8
    assert torch.equal(first, random_colors(9, 8, seed=3))
    assert not torch.equal(first, random_colors(9, 8, seed=4))
    assert all(not torch.equal(first[0], other) for other in first[1:])
    assert 120 < random_colors(50, 16, seed=0).float().mean() < 135  # uniform over 0 to 255


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize(("height", "width"), [(24, 24), (21, 30)])
def test_scores_are_the_papers(height, width, batch_size):
    classify = tiny_classifier()
    images = random_images(2, height, width)
    target = torch.tensor([0, 2])
    count = len(patch_corners(height, 8, 4)) * len(patch_corners(width, 8, 4))
    colors = random_colors(count, 8, seed=0)
    before = images.clone()
    scores = occlusion_scores(classify, images, target, colors, stride=4, batch_size=batch_size)
    for index in range(2):
        literal = literal_scores(classify, images[index], target[index], colors, 4)
        np.testing.assert_allclose(scores[index].numpy(), literal, atol=1e-6)
        assert literal.max() > 1e-4  # there is something to compare
    assert torch.equal(images, before)
    assert (scores >= 0).all() and (scores == 0).any()


def test_a_classifier_that_looks_at_one_pixel():
    """Logits 0 and 4 [pixel is white]: hiding the pixel in black loses sigmoid(4) - sigmoid(0), others nothing."""

    def classify(images):
        seen = (images[:, 0, 9, 4] > 127).float()
        return torch.stack([torch.zeros_like(seen), 4 * seen], 1)

    images = torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    colors = torch.zeros(9, 3, 8, 8, dtype=torch.uint8)
    scores = occlusion_scores(classify, images, torch.tensor([1]), colors, 4, 32)
    drop = torch.sigmoid(torch.tensor(4.0)) - 0.5
    # corners 0, 4, 8: rows 4 and 8 cover row 9, columns 0 and 4 cover column 4
    expected = torch.tensor([[0, 0, 0], [1, 1, 0], [1, 1, 0]]) * drop
    torch.testing.assert_close(scores[0], expected)
    # the other class only gains, so nothing counts
    assert occlusion_scores(classify, images, torch.tensor([0]), colors, 4, 32).eq(0).all()
    assert int(scores_to_pixels(scores, (16, 16), 8, 4)[0].argmax()) // 16 in range(8, 12)


@pytest.mark.parametrize("gap", [2.0, 20.0, 60.0])
def test_a_sure_classifier_still_shows_what_it_needs(gap):
    """p rounds to 1 from a gap of 17 on; what is lost of it is told by the complement."""

    def classify(images):
        seen = (images[:, 0, 9, 4] > 127).float()
        return torch.stack([torch.zeros_like(seen), gap * (0.8 + 0.2 * seen)], 1)

    images = torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    scores = occlusion_scores(classify, images, torch.tensor([1]), torch.zeros(9, 3, 8, 8, dtype=torch.uint8), 4, 16)
    whole, less = np.float64(gap), 0.8 * np.float64(gap)
    expected = 1 / (1 + np.exp(less)) - 1 / (1 + np.exp(whole))
    np.testing.assert_allclose(scores[0, 1, 0].item(), expected, rtol=1e-4)
    assert scores[0, 0, 0] == 0


def test_a_pixel_gets_the_mean_of_the_patches_that_cover_it():
    """4 x 4 pixels, patches of 2 with stride 1, scores 1 to 9 row by row."""
    scores = torch.arange(1.0, 10).view(1, 3, 3)
    expected = torch.tensor(
        [[1, 1.5, 2.5, 3], [2.5, 3, 4, 4.5], [5.5, 6, 7, 7.5], [7, 7.5, 8.5, 9]]
    )  # the corner has one patch, the edge two, the inside four
    torch.testing.assert_close(scores_to_pixels(scores, (4, 4), 2, 1)[0], expected)


def test_patches_are_cut_out_of_an_image():
    fill = torch.arange(3 * 6 * 6, dtype=torch.uint8).view(3, 6, 6)
    colors = colors_from_image(fill, 4, 2)
    assert len(colors) == 4
    assert torch.equal(colors[1], fill[:, 0:4, 2:6])


def test_the_number_of_colors_is_checked():
    with pytest.raises(ValueError, match="expected colours for 3 x 3 patches, received 4"):
        occlusion_scores(tiny_classifier(), random_images(1, 16, 16), torch.tensor([0]), random_colors(4, 8, 0), 4, 32)


@pytest.mark.parametrize("stride", [8, 4])
def test_captum_agrees_with_the_same_colors(stride):
    """captum keeps the sign of a change and fills from one image: given the clamped drop, it gives the same map."""
    from captum.attr import Occlusion

    classify = tiny_classifier()
    images, fill = random_images(1), random_images(2)[1]
    target = torch.tensor([1])
    whole = classify(images).softmax(1)[0, 1]
    minus_drop = lambda batch: (classify(batch).softmax(1)[:, 1] - whole).clamp(max=0)  # noqa: E731
    oracle = Occlusion(minus_drop).attribute(
        images.float(), sliding_window_shapes=(3, 8, 8), strides=(3, stride, stride), baselines=fill[None].float()
    )
    scores = occlusion_scores(classify, images, target, colors_from_image(fill, 8, stride), stride, 32)
    torch.testing.assert_close(
        scores_to_pixels(scores, (24, 24), 8, stride)[0], oracle[0, 0].float(), atol=1e-6, rtol=1e-4
    )
