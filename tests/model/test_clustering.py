"""Algorithm 1: the letter, loop by loop, against the batched version."""

import numpy as np
import pytest
import torch
from algorithm_1 import algorithm_1
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lmpnet_cli.model.clustering import cluster, erasing_limit, learnable_clustering, squared_distances, to_map_cells
from lmpnet_cli.model.selection import Proposals, propose


def check(raw, k, n, threshold, distance):
    result = cluster(propose(torch.from_numpy(raw)), k, n, threshold, distance)
    for image in range(len(raw)):
        yout, cells, members = algorithm_1(raw[image].astype(np.float64), k, n, threshold, distance)
        found = result.found[image].numpy()
        assert found.tolist() == [True] * len(cells) + [False] * (k - len(cells))
        assert result.cells[image][result.found[image]].tolist() == cells
        assert [row.nonzero().flatten().tolist() for row in result.members[image][: len(cells)]] == members
        np.testing.assert_allclose(result.votes[image].numpy(), yout, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [1.0, 2.0, 3.0, 2.5])
@pytest.mark.parametrize("distance", ["squared", "euclidean"])
def test_agrees_with_the_letter_on_random_maps(seed, threshold, distance):
    random = np.random.default_rng(seed)
    raw = random.normal(size=(3, 40, 7, 6)).astype(np.float32)
    raw[:, ::7] = -1  # filters that answer nowhere
    check(raw, k=5, n=5, threshold=threshold, distance=distance)


@settings(max_examples=80, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.just(2), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4)),
        elements=st.sampled_from([0.0, 0.0, 1.0, 2.0]),
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]),
    st.sampled_from(["squared", "euclidean"]),
)
def test_agrees_with_the_letter_on_ties(raw, k, n, threshold, distance):
    check(raw, k, n, threshold, distance)


def worked_example(n):
    """Three proposals at (1, 1), one at (1, 2), two at (3, 3) on a 4 x 4 map."""
    cells = torch.tensor([[5, 5, 5, 6, 15, 15]])
    return cluster(
        Proposals(cells, torch.ones(1, 6), torch.ones(1, 6, dtype=torch.bool), (4, 4)), 5, n, 2.0, "euclidean"
    )


@pytest.mark.parametrize(
    ("n", "values"),
    [(1, (0.7993, 0.0980, 0.1027)), (2, (0.8283, 0.0858, 0.0858)), (5, (0.8315, 0.0841, 0.0845))],
)
def test_worked_example(n, values):
    result = worked_example(n)
    votes = result.votes[0, 0]
    for cell, value in zip(((1, 1), (1, 2), (3, 3)), values, strict=True):
        assert votes[cell].item() == pytest.approx(value, abs=6e-5)
    assert result.found[0].tolist() == [True, True, False, False, False]
    assert result.cells[0, :2].tolist() == [5, 15]
    assert result.members[0, 0].tolist() == [True] * 4 + [False] * 2
    assert not result.votes[0, 2:].any()


def test_inner_iterations_never_move_a_keypoint():
    maps = torch.randn(16, 64, 14, 14, generator=torch.Generator().manual_seed(0))
    once, often = (cluster(propose(maps), 5, n, 3.0) for n in (1, 7))
    assert torch.equal(once.cells, often.cells)
    assert not torch.allclose(once.votes, often.votes)


@pytest.mark.parametrize(
    ("distance", "threshold", "erased"),
    [
        ("squared", 1.0, {0}),
        ("squared", 2.0, {0, 1}),
        ("squared", 3.0, {0, 1, 2}),
        ("euclidean", 1.0, {0}),
        ("euclidean", 2.0, {0, 1, 2}),
        ("euclidean", 3.0, {0, 1, 2, 4, 5, 8}),
    ],
)
def test_erased_cells(distance, threshold, erased):
    """One proposal in every cell of an 11 x 11 map, a second one in the middle; `erased` are squared distances to it.

    At thr 1, 2, 3 the squared distance erases 1, 5, 9 cells and the Euclidean one 1, 9, 25.
    """
    cells = torch.cat([torch.arange(121), torch.tensor([60])])[None]
    proposals = Proposals(cells, torch.ones(1, 122), torch.ones(1, 122, dtype=torch.bool), (11, 11))
    members = cluster(proposals, 1, 1, threshold, distance).members[0, 0]
    gone = cells[0][members].unique()
    assert set(((gone // 11 - 5) ** 2 + (gone % 11 - 5) ** 2).tolist()) == erased
    counts = {("squared", 1.0): 1, ("squared", 2.0): 5, ("squared", 3.0): 9}
    counts |= {("euclidean", 1.0): 1, ("euclidean", 2.0): 9, ("euclidean", 3.0): 25}
    assert len(gone) == counts[distance, threshold]


@pytest.mark.parametrize("distance", ["squared", "euclidean"])
@pytest.mark.parametrize("side", [7, 14, 28])
def test_the_same_region_is_erased_on_every_map(side, distance):
    """Cells of a map of any size are erased within the same distance in cells of the 14 x 14 grid."""
    limit = erasing_limit(to_map_cells(8.0, (side, side), distance), distance)
    reach = squared_distances(side, side)[0] < limit  # from the corner
    farthest = (squared_distances(side, side)[0][reach].max().item() ** 0.5) * 14 / side
    assert farthest < (8.0 if distance == "euclidean" else 8.0**0.5) <= farthest + 14 / side


def test_a_threshold_that_erases_everything_leaves_one_keypoint():
    maps = torch.rand(1, 30, 14, 14)
    assert cluster(propose(maps), 5, 1, 2 * 14.0**2).found[0].tolist() == [True, False, False, False, False]


def test_equal_votes_go_to_the_stronger_then_to_the_first_cell():
    cells = torch.tensor([[9, 3, 7]])
    live = torch.ones(1, 3, dtype=torch.bool)
    assert cluster(Proposals(cells, torch.tensor([[1.0, 1.0, 2.0]]), live, (4, 4)), 1).cells.item() == 7
    assert cluster(Proposals(cells, torch.ones(1, 3), live, (4, 4)), 1).cells.item() == 3


def test_ties_do_not_depend_on_the_scale_of_the_maps():
    maps = torch.zeros(1, 3, 4, 4)
    for filter_, cell, strength in ((0, 9, 1.0), (1, 3, 1.0), (2, 7, 1.5)):
        maps[0, filter_].view(-1)[cell] = strength
    for scale in (1e-12, 1.0, 1e12):
        assert cluster(propose(maps * scale), 3).cells[0, 0] == 7


def test_no_proposal_no_keypoint():
    result = learnable_clustering(torch.zeros(2, 4, 5, 5), k=3)
    assert result.shape == (2, 3, 5, 5)
    assert not result.any()


def test_an_image_does_not_depend_on_its_batch():
    maps = torch.randn(6, 32, 9, 9).relu()
    together = learnable_clustering(maps, 4)
    for index in range(6):
        torch.testing.assert_close(learnable_clustering(maps[index : index + 1], 4)[0], together[index])


def test_distances_are_squared_in_whole_cells():
    distances = squared_distances(3, 4)
    assert distances.shape == (12, 12) and not distances.is_floating_point()
    assert distances[0, 11].item() == 2 * 2 + 3 * 3
    assert distances[5, 5] == 0


def test_the_diagonal_neighbour_is_at_the_root_of_two():
    """The root of 2, squared as a float, is not 2; the cell at that distance is not nearer than it."""
    assert [erasing_limit(thr, "euclidean") for thr in (1.0, 1.4, 1.5, 2.0, 3.0)] == [1, 2, 3, 4, 9]


@pytest.mark.parametrize("wrong", [{"k": 0}, {"iterations": 0}, {"threshold": -1.0}])
def test_exceptions(wrong):
    with pytest.raises(ValueError, match="expected k >= 1"):
        learnable_clustering(torch.rand(1, 2, 3, 3), **wrong)


def test_an_unknown_distance_is_refused():
    with pytest.raises(ValueError, match="distance squared or euclidean, received 'manhattan'"):
        learnable_clustering(torch.rand(1, 2, 3, 3), distance="manhattan")
