"""Affine maps: where a warped image shows each position."""

import pytest
import torch

from lmpnet_cli.parts.affine import random_affines, warp


def test_a_warped_image_shows_each_position_where_theta_says():
    theta = random_affines(6, torch.Generator().manual_seed(3))
    assert (theta[:, :, :2].det()[::2] < 0).all() and (theta[:, :, :2].det()[1::2] > 0).all()
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    planes = torch.stack([columns, rows])[None].expand(6, -1, -1, -1)
    warped, inside = warp(planes, theta)
    assert inside.any() and not inside.all()
    for image, row, column in inside.nonzero()[::7].tolist():
        position = torch.tensor([(column + 0.5) / 3 - 1, (row + 0.5) / 4 - 1, 1.0])
        x, y = (theta[image] @ position).tolist()  # in the image, from -1 to 1
        expected = [(x + 1) * 3 - 0.5, (y + 1) * 4 - 0.5]
        assert warped[image, :, row, column].tolist() == pytest.approx(expected, abs=1e-4)
