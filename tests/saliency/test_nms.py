"""Non-maximum suppression: distances by name, plateaus, and a literal twin."""

import math

import numpy as np
import pytest
import torch

from lmpnet_cli.config.method import MAX_POINTS as LARGEST_K
from lmpnet_cli.saliency.nms import MAX_POINTS, local_maxima, strongest_points


def literal(values, radius):
    """Every pair of pixels."""
    height, width = values.shape
    cells = [(y, x) for y in range(height) for x in range(width)]
    stronger = lambda a, b: (values[a], -cells.index(a)) > (values[b], -cells.index(b))  # noqa: E731
    kept = np.zeros(values.shape, bool)
    for cell in cells:
        kept[cell] = not any(
            other != cell and math.dist(cell, other) < radius and stronger(other, cell) for other in cells
        )
    return kept


@pytest.mark.parametrize("radius", [0, 0.5, 1, 1.5, 2, 2.5, 3, 4.2, 30])
def test_against_the_literal_twin(radius):
    random = np.random.default_rng(1)
    for values in (random.random((9, 7)), random.integers(0, 4, (6, 10)).astype(float), np.ones((5, 5))):
        found = local_maxima(torch.from_numpy(values)[None], radius)[0].numpy()
        np.testing.assert_array_equal(found, literal(values, radius))


def two_peaks(distance):
    maps = torch.zeros(1, 20, 20)
    maps[0, 8, 5], maps[0, 8, 5 + distance] = 1.0, 0.9
    return maps


def test_a_peak_two_pixels_away_dies_and_five_pixels_away_lives():
    assert not local_maxima(two_peaks(2), radius=4)[0, 8, 7]
    assert local_maxima(two_peaks(5), radius=4)[0, 8, 10]
    assert local_maxima(two_peaks(4), radius=4)[0, 8, 9]  # strictly nearer
    assert not local_maxima(two_peaks(4), radius=4.1)[0, 8, 9]


def test_the_neighbourhood_is_round():
    maps = torch.zeros(1, 20, 20)
    maps[0, 10, 10], maps[0, 13, 13] = 1.0, 0.9  # 4.24 away
    assert local_maxima(maps, radius=4)[0, 13, 13]
    assert not local_maxima(maps, radius=4.3)[0, 13, 13]


def test_a_plateau_yields_one_point():
    maps = torch.zeros(1, 20, 20)
    maps[0, 4:8, 6:10] = 1.0
    peaks = local_maxima(maps, radius=6)[0]
    assert peaks[4, 6] and peaks[4:8, 6:10].sum() == 1
    assert local_maxima(torch.ones(1, 6, 6), radius=100).sum() == 1


def test_forty_percent_are_kept_rounded_up_and_then_at_most_k():
    maps = torch.zeros(1, 30, 30) + 1e-3 * torch.rand(1, 30, 30)
    places = [(3, 3), (3, 15), (3, 27), (15, 3), (15, 15), (15, 27)]
    for rank, (y, x) in enumerate(places):
        maps[0, y, x] = 1 - 0.1 * rank
    peaks = int(local_maxima(maps, 11).sum())
    allowed = math.ceil(0.4 * peaks)
    positions, scores = strongest_points(maps, 11, keep=0.4, k=50)
    assert int((~scores.isnan()).sum()) == allowed < peaks
    assert positions[0, 0].tolist() == [3, 3] and positions[0, 1].tolist() == [3, 15]
    assert (scores[0, :allowed].diff() <= 0).all()
    positions, scores = strongest_points(maps, 11, keep=1.0, k=2)
    assert positions.tolist() == [[[3, 3], [3, 15]]]
    torch.testing.assert_close(scores, torch.tensor([[1.0, 0.9]]))


def test_images_of_a_batch_have_their_own_number_of_points():
    checkers = torch.zeros(8, 8)
    checkers[::4, ::4] = torch.tensor([[1.0, 0.9], [0.8, 0.7]])
    maps = torch.stack([torch.ones(8, 8), checkers])
    positions, scores = strongest_points(maps, 3, keep=1.0, k=3)
    assert scores.isnan().sum(1).tolist() == [2, 0]
    assert positions[1].tolist() == [[0, 0], [0, 4], [4, 0]]
    positions, scores = strongest_points(maps, 40, keep=1.0, k=3)
    assert scores.isnan().sum(1).tolist() == [2, 2]
    assert positions[0, 0].tolist() == [0, 0] and positions[0, 1:].isnan().all()
    assert strongest_points(torch.ones(1, 2, 2), 9, 1.0, 6)[1].shape == (1, 6)


def test_without_k_all_that_are_kept_are_returned():
    maps = torch.rand(2, 40, 40, generator=torch.manual_seed(0))
    maps[1, :, 12:] = 0  # has fewer maxima
    expected = [math.ceil(0.4 * int(each)) for each in local_maxima(maps, 4).sum((1, 2))]
    positions, scores = strongest_points(maps, 4, keep=0.4, k=None)
    assert (~scores.isnan()).sum(1).tolist() == expected and expected[0] > expected[1] > 5
    assert positions.shape == (2, expected[0], 2)
    limited, _ = strongest_points(maps, 4, keep=0.4, k=5)
    assert torch.equal(positions[:, :5], limited)


def test_an_image_has_at_most_a_thousand_points():
    noise = torch.rand(1, 64, 64)
    assert strongest_points(noise, 0, keep=1.0, k=None)[1].shape == (1, MAX_POINTS)
    assert LARGEST_K == MAX_POINTS
