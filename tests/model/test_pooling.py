"""Pooling against equations 1 to 3 written out in NumPy."""

import numpy as np
import pytest
import torch

from lmpnet_cli.model.pooling import (
    LeakyMaxPool2d,
    average_pool,
    leaky_max_pool,
    max_pool,
    pooling,
)


def twin(x: np.ndarray, kind: str, epsilon: float) -> np.ndarray:
    """Equation by equation: one vector w for each map, Y = w . x."""
    b, c, h, w = x.shape
    result = np.zeros((b, c))
    for i in range(b):
        for j in range(c):
            row = x[i, j].reshape(-1)
            weights = np.full(h * w, {"average": 1 / (h * w), "max": 0.0, "leaky_max": -epsilon}[kind])
            if kind != "average":
                weights[row.argmax()] = 1.0
            result[i, j] = weights @ row
    return result


def test_smoke():
    assert leaky_max_pool(torch.rand(2, 3, 4, 5)).shape == (2, 3)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 1, 0, 4), (2,)])
def test_exceptions(shape):
    with pytest.raises(ValueError, match="expected maps"):
        leaky_max_pool(torch.zeros(shape))


@pytest.mark.parametrize("kind", ["average", "max", "leaky_max"])
@pytest.mark.parametrize("epsilon", [0.0, 0.01, 0.1])
def test_values_agree_with_the_equations(kind, epsilon):
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    tensor = torch.from_numpy(x)
    expected = twin(x, kind, epsilon)
    np.testing.assert_allclose(pooling(kind, epsilon)(tensor).numpy(), expected, rtol=1e-12)


def test_values_worked_by_hand():
    assert leaky_max_pool(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item() == pytest.approx(3.4)
    for side, epsilon, value in ((7, 0.1, -3.8), (7, 0.01, 0.52), (14, 0.1, -18.5), (14, 0.01, -0.95)):
        ones = torch.ones(1, 1, side, side)
        assert leaky_max_pool(ones, epsilon).item() == pytest.approx(value, abs=1e-4)


def test_one_cell_counts_among_equal_maxima():
    """Figure 3, the dense map: 1 - 3 epsilon."""
    assert leaky_max_pool(torch.ones(1, 1, 2, 2), 0.1).item() == pytest.approx(0.7)


@pytest.mark.parametrize("function", [leaky_max_pool, average_pool, max_pool])
def test_gradcheck(function):
    x = torch.randperm(2 * 2 * 3 * 3).reshape(2, 2, 3, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(function, x)


def test_gradient_is_the_pooling_vector_with_ties_too():
    x = torch.tensor([[[[2.0, 1.0], [2.0, 0.0]]]], requires_grad=True)
    leaky_max_pool(x, 0.1).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[[[1.0, -0.1], [-0.1, -0.1]]]]))


def test_epsilon_zero_is_max_pooling():
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(leaky_max_pool(x, 0.0), torch.nn.AdaptiveMaxPool2d(1)(x).flatten(1))


def test_module_is_the_function():
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(LeakyMaxPool2d(0.05)(x), leaky_max_pool(x, 0.05))
    assert "0.05" in repr(LeakyMaxPool2d(0.05))
