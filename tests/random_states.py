"""The states of the random generators that a caller may use, to see that a call leaves them alone."""

import random
from typing import Any

import numpy as np
import torch


def generators() -> tuple[Any, ...]:
    """Return the states of the generators of Python, NumPy and torch, to be compared."""
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
