"""Choosing parts by drawn positions."""

import numpy as np
import torch

from lmpnet_cli.parts.selection import most_informative_parts


def drawn_positions(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Two free parts 1 and 3, part 0 between them, part 4 beside part 3, and part 2, which is noise in every image."""
    random = np.random.default_rng(0)
    one, three = random.normal(size=(2, count, 2))
    views = []
    for _ in range(2):
        noise = 3 * random.normal(size=(count, 2))
        views.append(np.stack([(one + three) / 2, one, noise, three, three + 0.3 * random.normal(size=(count, 2))], 1))
    return torch.from_numpy(views[0]).float(), torch.from_numpy(views[1]).float()


EVERYWHERE = torch.ones(5)


def test_the_parts_that_predict_all_positions_are_kept():
    assert most_informative_parts(*drawn_positions(), 2, EVERYWHERE, EVERYWHERE) in {
        (0, 1),
        (0, 3),
        (1, 3),
    }  # any two of these predict the third
    assert 2 not in most_informative_parts(
        *drawn_positions(), 4, EVERYWHERE, EVERYWHERE
    )  # it moves most, but does not predict itself in the other view


def test_without_the_other_view_the_noise_would_be_kept():
    given, _ = drawn_positions()
    assert 2 in most_informative_parts(given, given, 3, EVERYWHERE, EVERYWHERE)


def test_the_choice_is_that_of_an_independent_least_squares():
    from itertools import combinations

    from sklearn.linear_model import LinearRegression

    random = np.random.default_rng(1)
    mixed = random.normal(size=(100, 3)) @ random.normal(size=(3, 10))
    given, again = (torch.from_numpy(mixed + 0.3 * random.normal(size=(100, 10))).view(100, 5, 2) for _ in range(2))
    wanted = again.flatten(1).numpy()

    def error(parts):
        known = given[:, list(parts)].flatten(1).numpy()
        left = wanted - LinearRegression().fit(known, wanted).predict(known)
        return np.linalg.norm(left.reshape(len(left), -1, 2), axis=2).mean()

    for k in (1, 2, 3):
        assert most_informative_parts(given, again, k, EVERYWHERE, EVERYWHERE) == min(
            combinations(range(5), k), key=error
        )


def test_parts_that_never_move_do_no_harm():
    given = torch.zeros(10, 4, 2)
    given[:, 3] = torch.arange(20.0).view(10, 2)
    assert most_informative_parts(given, given, 1, EVERYWHERE[:4], EVERYWHERE[:4]) == (3,)
    assert most_informative_parts(given, given, 4, EVERYWHERE[:4], EVERYWHERE[:4]) == (0, 1, 2, 3)


def test_with_few_images_the_parts_on_the_object_are_taken():
    given, again = (each[:7] for each in drawn_positions())
    assert most_informative_parts(given, again, 2, torch.tensor([0.1, 0.5, 0.2, 0.9, 0.9]), EVERYWHERE) == (3, 4)


def test_parts_beside_the_object_are_left_out_while_there_are_others():
    given = drawn_positions()
    shares = torch.tensor([0.9, 0.9, 1.0, 0.5, 0.85])
    assert set(most_informative_parts(*given, 2, shares, EVERYWHERE)) <= {0, 1, 2, 4}
    assert most_informative_parts(*given, 4, shares, EVERYWHERE) == (0, 1, 2, 4)
    assert most_informative_parts(*given, 5, shares, EVERYWHERE) == (0, 1, 2, 3, 4)
    assert most_informative_parts(*given, 2, torch.tensor([0.1, 0.5, 0.2, 0.0, 0.3]), EVERYWHERE) == (1, 4)


def test_unstable_parts_are_left_out_while_there_are_others():
    given = drawn_positions()
    steady = torch.tensor([0.95, 0.91, 1.0, 0.89, 0.93])
    assert most_informative_parts(*given, 4, EVERYWHERE, steady) == (0, 1, 2, 4)
    assert most_informative_parts(*given, 5, EVERYWHERE, steady) == (0, 1, 2, 3, 4)
    beside = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.4])  # half the required share, so it is further off than part 3
    assert most_informative_parts(*given, 4, beside, steady) == (0, 1, 2, 3)
