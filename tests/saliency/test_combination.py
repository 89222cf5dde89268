"""Standardise, sigmoid, weighted sum."""

import numpy as np
import pytest
import torch

from lmpnet_cli.saliency.combination import combine, standardise


def literal(coarse, fine, weight):
    def relevance(a):
        deviation = a.std()
        z = (a - a.mean()) / deviation if deviation > 0 else np.zeros_like(a)
        return 1 / (1 + np.exp(-z))

    return weight * relevance(coarse) + (1 - weight) * relevance(fine)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_the_combination_is_the_papers(weight):
    random = np.random.default_rng(0)
    coarse, fine = random.exponential(size=(3, 5, 7)) * 1e-4, random.exponential(size=(3, 5, 7)) * 30
    found = combine(torch.from_numpy(coarse), torch.from_numpy(fine), weight)
    for index in range(3):
        np.testing.assert_allclose(found[index].numpy(), literal(coarse[index], fine[index], weight), atol=1e-6)


def test_standardised_maps_have_mean_0_and_deviation_1():
    maps = standardise(torch.rand(4, 9, 9) * 7 + 3)
    torch.testing.assert_close(maps.mean((1, 2)), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(maps.flatten(1).std(1, correction=0), torch.ones(4))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-30, 12345.678])
def test_a_constant_map_says_nothing(value):
    constant = torch.full((1, 6, 6), value)
    assert standardise(constant).eq(0).all()
    assert combine(constant, constant, 0.5).eq(0.5).all()


def test_weak_maps_count_as_much_as_strong_ones():
    maps = torch.rand(1, 8, 8)
    torch.testing.assert_close(standardise(maps * 1e-12), standardise(maps), atol=1e-4, rtol=1e-4)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="expected two maps of the same shape"):
        combine(torch.zeros(1, 4, 4), torch.zeros(1, 4, 5), 0.5)
