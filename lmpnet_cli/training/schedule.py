"""What changes from step to step of a training: learning rate and leak."""

import math
from typing import Any


class Schedule:
    """Linear warm-up and cosine decay of the learning rate; epsilon rises linearly from 0 to its final value.

    With the full epsilon from the first step, the pooled values of dense maps are large and negative in every filter,
    and the loss explodes.

    The learning rate is computed from the step alone, so a resumed training needs no further state. torch's schedulers
    compute it from the previous rate: they store state, and round differently (by up to 4e-17 within 100 steps).
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        warmup: float,
        epsilon: float,
        epsilon_warmup: float,
        steps: int,
        batch_size: int,
    ) -> None:
        """
        Args:
            learning_rate: peak for a batch of 64 images; it is scaled with the batch size.
            warmup: share of the steps over which the learning rate rises.
            epsilon: the final leak.
            epsilon_warmup: share of the steps over which epsilon rises.
            steps: number of steps of the whole phase.
            batch_size: images per step, in all processes together.
        """
        self.steps = max(steps, 1)
        self.peak = learning_rate * batch_size / 64
        self.final_epsilon = epsilon

        self._warmup_steps, self._epsilon_steps = warmup * self.steps, epsilon_warmup * self.steps

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of the backbone at a step (0-based)."""
        rise = min(1.0, (step + 1) / self._warmup_steps) if self._warmup_steps else 1.0
        return self.peak * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def epsilon(self, step: int) -> float:
        """Return the leak at a step (0-based)."""
        return self.final_epsilon * (min(1.0, step / self._epsilon_steps) if self._epsilon_steps else 1.0)

    def first_with_final_epsilon(self, steps_per_epoch: int) -> int:
        """Return the first epoch (0-based) whose last step has the final epsilon; the last epoch where none has it."""
        last_steps = range(steps_per_epoch - 1, self.steps, steps_per_epoch)
        complete = (math.isclose(self.epsilon(step), self.final_epsilon) for step in last_steps)
        return next((epoch for epoch, each in enumerate(complete) if each), len(last_steps) - 1)

    def set(self, optimizer: Any, step: int) -> float:
        """Set the learning rate of each parameter group and return epsilon."""
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(step) * group["factor"]
        return self.epsilon(step)
