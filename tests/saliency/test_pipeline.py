"""Both maps together: where the points end up."""

import torch
from torch import nn

from lmpnet_cli.saliency.occlusion import random_colors
from lmpnet_cli.saliency.pipeline import coarse_map, detect, fast_occlusion_works, keep_apart, seconds_per_image

OPTIONS = {"k": 3, "coarse_weight": 0.5, "radius": 8, "keep": 1.0}


def test_two_points_do_not_move_to_one_corner():
    starts = torch.tensor([[[10.0, 10.0], [16.0, 16.0], [30.0, 30.0]]])
    refined = torch.tensor([[[13.0, 13.0], [13.0, 13.0], [31.0, 30.0]]])
    assert keep_apart(starts, refined, 8).tolist() == [[[13, 13], [16, 16], [31, 30]]]
    missing = torch.tensor([[[10.0, 10.0], [torch.nan, torch.nan]]])
    kept = keep_apart(missing, missing, 8)
    assert kept[0, 0].tolist() == [10, 10] and kept[0, 1].isnan().all()


def test_points_lie_where_both_maps_agree():
    coarse, fine = torch.zeros(1, 40, 40), torch.zeros(1, 40, 40)
    coarse[0, 8:16, 8:16] = 1  # a wide blob, as patches make it
    fine[0, 12, 10] = 1  # sharp, inside
    fine[0, 30, 30] = 1  # sharp, outside
    points = detect(torch.zeros(1, 3, 40, 40, dtype=torch.uint8), coarse, fine, **OPTIONS)
    assert points.positions[0, 0].tolist() == [12, 10] and points.positions[0, 1].tolist() == [30, 30]
    assert 0 < points.scores[0, 2] < points.scores[0, 1] < points.scores[0, 0] < 1


def test_positions_are_refined_on_the_image():
    """Four squares that meet at the border of rows 19 and 20, columns 19 and 20."""
    image = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    image[..., :20, :20] = image[..., 20:, 20:] = 200
    fine = torch.zeros(1, 40, 40)
    fine[0, 21, 18] = 1
    points = detect(image, torch.zeros(1, 40, 40), fine, **OPTIONS | {"k": 1})
    torch.testing.assert_close(points.positions, torch.full((1, 1, 2), 19.5), atol=0.05, rtol=0)


def test_draws_are_averaged():
    def classify(images):
        return images.float().mean((2, 3))[:, :2] / 20

    images = torch.full((1, 3, 16, 16), 90, dtype=torch.uint8)
    draws = torch.stack([random_colors(9, 8, seed) for seed in (1, 2)])
    options = {"stride": 4, "batch_size": 8}
    both = coarse_map(classify, images, torch.tensor([0]), draws, **options)
    alone = [coarse_map(classify, images, torch.tensor([0]), draws[i : i + 1], **options) for i in (0, 1)]
    assert not torch.equal(*alone)
    torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)
    assert coarse_map(classify, images, torch.tensor([0]), torch.empty(0), **options).eq(0).all()


def test_the_fast_occlusion_gives_the_same_map():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(5), nn.Flatten(), nn.Linear(100, 3))
    network.eval().requires_grad_(False)

    def classify(images):
        return network(images.float() / 64 - 2)

    assert fast_occlusion_works(classify, 28, torch.device("cpu"))
    assert not fast_occlusion_works(classify, 28, torch.device("cuda"))  # whole copies are faster on a GPU
    images = torch.randint(0, 256, (2, 3, 28, 28), dtype=torch.uint8)
    draws = torch.stack([random_colors(36, 8, seed) for seed in (1, 2)])
    fast, whole = (
        coarse_map(classify, images, torch.tensor([0, 2]), draws, stride=4, batch_size=7, fast=fast)
        for fast in (True, False)
    )
    torch.testing.assert_close(fast, whole, atol=1e-6, rtol=1e-4)
    assert whole.max() > 1e-4


def test_one_pass_after_the_first_is_timed():
    calls = []

    def classify(images):
        calls.append(len(images))
        return images.float().mean((2, 3))

    image = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    draws = random_colors(9, 8, 0)[None]
    assert seconds_per_image(classify, image, draws, stride=4, batch_size=4) > 0
    assert calls == [1, 4, 4]  # the whole image, and two passes of occluded copies
    calls.clear()
    seconds_per_image(classify, image, draws, stride=4, batch_size=16)
    assert calls == [1, 9, 1, 9]  # one pass holds all copies, so it is repeated
