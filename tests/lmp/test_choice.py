"""Which parts are kept."""

import itertools

import numpy as np
import torch

from lmpnet_cli.lmp.choice import telling_parts


def drawn(count: int = 200) -> torch.Tensor:
    random = np.random.default_rng(0)
    free = random.normal(size=(count, 3, 2))
    places = [free[:, 0], free[:, 1], (free[:, 0] + free[:, 1]) / 2, free[:, 2]]  # the third lies between the first two
    return torch.from_numpy(np.stack(places, 1) + 0.05 * random.normal(size=(count, 4, 2)))


def unexplained(places: np.ndarray, rest: tuple[int, ...]) -> float:
    flat = places.reshape(len(places), -1)
    flat = (flat - flat.mean(0)) / flat.std(0, ddof=1)
    given = flat.reshape(len(places), -1, 2)[:, list(rest)].reshape(len(places), -1)
    away = flat - given @ np.linalg.lstsq(given, flat, rcond=None)[0]
    return float(np.hypot(away[:, ::2], away[:, 1::2]).mean())


def test_a_part_that_follows_from_others_is_dropped_first():
    places = drawn()
    kept = telling_parts(places, 3)
    best = min(itertools.combinations(range(4), 3), key=lambda rest: unexplained(places.numpy(), rest))
    assert tuple(kept) == best
    assert 3 in kept  # nothing else tells where that one is
    assert telling_parts(places, 4) == [0, 1, 2, 3]


def test_scale_and_place_of_a_part_do_not_matter():
    places = drawn()
    moved = places * torch.tensor([1.0, 50.0, 1.0, 0.1])[None, :, None] + 7
    assert telling_parts(moved, 2) == telling_parts(places, 2)


def test_a_part_that_never_moves_is_no_error():
    places = drawn()
    places[:, 0] = 3.0
    assert 0 not in telling_parts(places, 3)
