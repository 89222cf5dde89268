"""Learning rate and leak at each step."""

import pytest

from lmpnet_cli.training.schedule import Schedule

OPTIONS = {"learning_rate": 0.64, "epsilon": 0.1, "epsilon_warmup": 0.5, "warmup": 0.1}


def test_the_learning_rate_rises_and_falls_and_epsilon_rises():
    schedule = Schedule(**OPTIONS, steps=100, batch_size=32)
    assert schedule.peak == pytest.approx(0.32)
    rates = [schedule.learning_rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.032, rel=1e-3)
    assert max(rates) == pytest.approx(0.32, rel=0.03)
    assert rates[-1] < 0.001
    assert [schedule.epsilon(step) for step in (0, 25, 50, 99)] == pytest.approx([0, 0.05, 0.1, 0.1])


@pytest.mark.parametrize(
    ("warmup", "epochs", "first"),
    # an epoch has 4 steps; epsilon has its final value from step warmup * 4 * epochs on
    [(0.5, 2, 1), (0.5, 30, 15), (0.4, 8, 3), (0.0, 5, 0), (0.1, 30, 3), (0.5, 1, 0), (1.0, 1, 0), (1.0, 5, 4)],
)
def test_the_first_epoch_that_ends_with_the_final_epsilon(warmup, epochs, first):
    schedule = Schedule(**OPTIONS | {"epsilon_warmup": warmup}, steps=4 * epochs, batch_size=64)
    assert schedule.first_with_final_epsilon(4) == first
    ends = [schedule.epsilon(4 * epoch + 3) for epoch in range(epochs)]
    if warmup < 1:
        assert ends.index(pytest.approx(0.1)) == first


def test_without_warmup_both_start_at_their_final_values():
    schedule = Schedule(**OPTIONS | {"warmup": 0.0, "epsilon_warmup": 0.0}, steps=10, batch_size=64)
    assert schedule.learning_rate(0) == schedule.peak == 0.64
    assert schedule.epsilon(0) == 0.1
