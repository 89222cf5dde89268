"""Sub-pixel positions: rendered corners at known places, cv2.cornerSubPix, hand-worked and degenerate windows."""

import cv2
import numpy as np
import pytest
import torch

from lmpnet_cli.saliency.foerstner import gradients, refine


def corner(x, y, size=32, angle=0.0, shift=6):
    """A bright quadrant with its tip at (x, y), turned by `angle`, drawn 64 times too large and averaged down."""
    scale = 64
    grid = (np.arange(size * scale) + 0.5) / scale - 0.5
    u, v = np.meshgrid(grid - x, grid - y)
    a, b = np.cos(angle) * u + np.sin(angle) * v, -np.sin(angle) * u + np.cos(angle) * v
    sharp = ((a > 0) & (b > 0)).astype(np.float32)
    image = sharp.reshape(size, scale, size, scale).mean((1, 3))
    return cv2.GaussianBlur(image, (0, 0), 0.7)


def saddle(x, y, size=32):
    """Two bright quadrants that meet at (x, y): symmetric, so blur does not move the tip."""
    scale = 64
    grid = (np.arange(size * scale) + 0.5) / scale - 0.5
    u, v = np.meshgrid(grid - x, grid - y)
    return ((u > 0) == (v > 0)).astype(np.float32).reshape(size, scale, size, scale).mean((1, 3))


def refined(image, row, column, **options):
    points = torch.tensor([[[float(row), float(column)]]])
    return refine(torch.from_numpy(image)[None], points, **options)[0, 0].numpy()


@pytest.mark.parametrize(("x", "y"), [(15.3, 15.8), (16.0, 15.5), (14.9, 16.2), (15.51, 14.7)])
def test_a_checkered_corner_is_found_within_a_tenth_of_a_pixel(x, y):
    found = refined(saddle(x, y), round(y), round(x))
    np.testing.assert_allclose(found, [y, x], atol=0.1)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("x", "y"), [(15.3, 15.8), (14.6, 16.1)])
def test_a_single_corner_is_found_within_a_tenth_of_its_blurred_tip(x, y, angle):
    """Blur rounds a single corner; its gradient lines still meet at the tip when the window holds enough of them."""
    image = corner(x, y, angle=angle)
    found = refined(image, round(y), round(x), radius=4)
    oracle = np.array([[[round(x), round(y)]]], np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
    cv2.cornerSubPix((image * 255).astype(np.float32), oracle, (4, 4), (-1, -1), criteria)
    assert np.abs(found[::-1] - oracle[0, 0]).max() < 0.1
    assert np.abs(found - [y, x]).max() < 0.35  # of the sharp tip, which no window sees any more


def test_cv2_agrees_on_checkered_corners():
    random = np.random.default_rng(3)
    for _ in range(10):
        x, y = random.uniform(14, 17, 2)
        image = saddle(x, y)
        oracle = np.array([[[round(x), round(y)]]], np.float32)
        criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
        cv2.cornerSubPix((image * 255).astype(np.float32), oracle, (3, 3), (-1, -1), criteria)
        found = refined(image, round(y), round(x))
        np.testing.assert_allclose(found[::-1], oracle[0, 0], atol=0.1)


def test_the_equations_of_the_paper():
    """A literal least squares on one window, with absolute u and v."""
    image = saddle(12.3, 17.6) + 0.05 * np.random.default_rng(0).random((32, 32)).astype(np.float32)
    ix, iy = (each[0].double().numpy() for each in gradients(torch.from_numpy(image)[None]))
    a, b = np.zeros((2, 2)), np.zeros(2)
    for v in range(18 - 3, 18 + 4):
        for u in range(12 - 3, 12 + 4):
            g = np.array([ix[v, u], iy[v, u]])
            a += np.outer(g, g)
            b += np.outer(g, g) @ [u, v]
    np.testing.assert_allclose(refined(image, 18, 12)[::-1], np.linalg.solve(a, b), atol=1e-4)


def test_central_differences():
    image = torch.tensor([[0.0, 1, 4], [10, 11, 14]])[None]
    ix, iy = gradients(image)
    assert ix[0].tolist() == [[0.5, 2, 1.5], [0.5, 2, 1.5]]
    assert iy[0].tolist() == [[5, 5, 5], [5, 5, 5]]


def test_plain_areas_and_straight_edges_keep_the_start():
    plain = np.full((20, 20), 0.4, np.float32)
    edge = np.zeros((20, 20), np.float32)
    edge[:, 11:] = 1
    slanted = np.clip((np.add.outer(np.arange(20), np.arange(20)) - 18) / 4, 0, 1).astype(np.float32)
    for image in (plain, edge, slanted):
        np.testing.assert_array_equal(refined(image, 9, 10), [9, 10])


def test_a_solution_outside_the_window_keeps_the_start():
    """Lines that meet far away: a fan of edges through (10, 60) seen through a window at (10, 20)."""
    v, u = np.mgrid[0:21, 0:40].astype(np.float32)
    fan = np.sin(np.arctan2(v - 10, 60 - u) * 40).astype(np.float32)
    ix, iy = (each[0].double().numpy() for each in gradients(torch.from_numpy(fan)[None]))
    window = np.s_[10 - 3 : 10 + 4, 20 - 3 : 20 + 4]
    g = np.stack([ix[window].ravel(), iy[window].ravel()], 1)
    assert np.linalg.eigvalsh(g.T @ g)[0] > 1e-3 * np.linalg.eigvalsh(g.T @ g)[1]  # it is no straight edge
    np.testing.assert_array_equal(refined(fan, 10, 20), [10, 20])


def test_borders_batches_and_missing_points():
    images = np.stack([saddle(15.3, 15.8), saddle(14.2, 16.4)])
    points = torch.tensor(
        [[[16.0, 15.0], [torch.nan, torch.nan], [0.0, 31.0]], [[16.0, 14.0], [0.0, 0.0], [31.0, 31.0]]]
    )
    together = refine(torch.from_numpy(images), points)
    assert together[0, 1].isnan().all()
    np.testing.assert_array_equal(together[1, 1], [0, 0])
    for index in range(2):
        alone = refine(torch.from_numpy(images[index : index + 1]), points[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], equal_nan=True)
    assert (together[:, 0] - points[:, 0]).abs().max() <= 3
