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


def test_without_warmup_both_start_at_their_final_values():
    schedule = Schedule(**OPTIONS | {"warmup": 0.0, "epsilon_warmup": 0.0}, steps=10, batch_size=64)
    assert schedule.learning_rate(0) == schedule.peak == 0.64
    assert schedule.epsilon(0) == 0.1
