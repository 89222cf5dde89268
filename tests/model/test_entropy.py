"""Feature-map entropy by hand and against a NumPy twin."""

import math

import numpy as np
import pytest
import torch

from lmpnet_cli.model.entropy import feature_map_entropy


def test_entropy_by_hand():
    uniform, peak, halves = torch.ones(7, 7), torch.zeros(7, 7), torch.full((7, 7), -3.0)
    peak[2, 3], halves[0, 0], halves[6, 6] = 5.0, 0.25, 0.25  # what is negative counts as zero
    entropy = feature_map_entropy(torch.stack([uniform, peak, halves, torch.zeros(7, 7), -uniform])[None])
    assert entropy.shape == (1, 5)
    assert entropy[0, :3].tolist() == pytest.approx([math.log(49), 0.0, math.log(2)])
    assert entropy[0, 3:].isnan().all()


def test_entropy_equals_its_numpy_twin():
    maps = torch.randn(3, 6, 5, 9, generator=torch.Generator().manual_seed(0))
    for maps_of_image, row in zip(maps.numpy(), feature_map_entropy(maps), strict=True):
        for values, entropy in zip(maps_of_image, row, strict=True):
            share = np.maximum(values, 0) / np.maximum(values, 0).sum()
            assert entropy.item() == pytest.approx(-sum(p * math.log(p) for p in share.flat if p > 0), rel=1e-5)
    torch.testing.assert_close(feature_map_entropy(maps * 1e-6), feature_map_entropy(maps))
