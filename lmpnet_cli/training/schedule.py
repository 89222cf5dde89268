"""What changes from step to step of a training: learning rate and leak."""

import math
from typing import Any

from lmpnet_cli.config import TrainConfig


class Schedule:
    """Linear warm-up and cosine decay of the learning rate; epsilon rises linearly from 0 to its value.

    A full epsilon at the first step makes pooled values of dense maps large and negative in every filter, and the loss
    explodes.
    """

    def __init__(self, config: TrainConfig, steps: int, batch: int) -> None:
        """
        Args:
            steps: of the whole phase.
            batch: images in one step, all processes together; the peak is `learning_rate` at 64.
        """
        self.config, self.steps = config, max(steps, 1)
        self.peak = config.learning_rate * batch / 64

    def learning_rate(self, step: int) -> float:
        """Of the backbone at this step, counted from 0."""
        warmup = self.config.warmup * self.steps
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return self.peak * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def epsilon(self, step: int) -> float:
        """The leak at this step."""
        warmup = self.config.epsilon_warmup * self.steps
        return self.config.epsilon * (min(1.0, step / warmup) if warmup else 1.0)

    def set(self, optimizer: Any, step: int) -> float:
        """Gives each parameter group its learning rate and returns epsilon."""
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(step) * group["factor"]
        return self.epsilon(step)
