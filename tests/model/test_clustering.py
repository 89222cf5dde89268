"""Algorithm 1: the letter in NumPy, loop by loop, against the batched version."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lmpnet_cli.model.clustering import cell_distances, cluster, learnable_clustering
from lmpnet_cli.model.selection import Proposals, propose


def softmax(values):
    shifted = np.exp(values - values.max())
    return shifted / shifted.sum()


def algorithm_1(raw, k, n, threshold):
    """Algorithm 1 on the raw maps (c, h, w) of one image, open questions settled as in the package; Yout and cells."""
    c, h, w = raw.shape
    x = np.zeros((c, h, w))
    position, strength, live = [], raw.reshape(c, -1).max(1), []
    for j in range(c):
        position.append(np.unravel_index(raw[j].argmax(), (h, w)))
        live.append(bool(raw[j].max() > 0))
        if live[j]:
            x[j][position[j]] = 1
    yout, cells = np.zeros((k, h, w)), []
    weights = np.ones((c, k))
    for i in range(k):
        if x.max() == 0:
            break
        tie = np.zeros((h, w))
        for j in range(c):
            if live[j]:
                tie[position[j]] += float(strength[j])
        for _ in range(n):
            soft = softmax(weights[:, i])
            y = np.zeros((h, w))
            for j in range(c):
                y += soft[j] * x[j]
            candidates = [cell for cell in np.ndindex(h, w) if y[cell] >= y.max() * (1 - 1e-12)]
            peak = max(candidates, key=lambda cell: (tie[cell], -np.ravel_multi_index(cell, (h, w))))
            d = np.array([np.hypot(*np.subtract(peak, position[j])) if live[j] else np.inf for j in range(c)])
            weights[:, i] = soft + np.where(live, 1 / np.maximum(d, 0.5), 0)
        soft = softmax(weights[:, i])
        yout[i] = sum(soft[j] * x[j] for j in range(c))
        cells.append(int(np.ravel_multi_index(peak, (h, w))))
        for j in range(c):
            if live[j] and d[j] < threshold:
                x[j] = 0
                live[j] = False
    return yout, cells


def check(raw, k, n, threshold):
    result = cluster(propose(torch.from_numpy(raw)), k, n, threshold)
    for image in range(len(raw)):
        yout, cells = algorithm_1(raw[image].astype(np.float64), k, n, threshold)
        found = result.found[image].numpy()
        assert found.tolist() == [True] * len(cells) + [False] * (k - len(cells))
        assert result.cells[image][result.found[image]].tolist() == cells
        np.testing.assert_allclose(result.votes[image].numpy(), yout, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [1.0, 2.0, 3.0, 2.5])
def test_agrees_with_the_letter_on_random_maps(seed, threshold):
    random = np.random.default_rng(seed)
    raw = random.normal(size=(3, 40, 7, 6)).astype(np.float32)
    raw[:, ::7] = -1  # filters that answer nowhere
    check(raw, k=5, n=5, threshold=threshold)


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
)
def test_agrees_with_the_letter_on_ties(raw, k, n, threshold):
    check(raw, k, n, threshold)


def worked_example(n):
    """Three proposals at (1, 1), one at (1, 2), two at (3, 3) on a 4 x 4 map."""
    cells = torch.tensor([[5, 5, 5, 6, 15, 15]])
    return cluster(Proposals(cells, torch.ones(1, 6), torch.ones(1, 6, dtype=torch.bool), (4, 4)), 5, n, 2.0)


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


@pytest.mark.parametrize(("threshold", "side"), [(1.0, 1), (2.0, 3), (3.0, 5)])
def test_erased_block(threshold, side):
    """One proposal in every cell of an 11 x 11 map, a second one in the middle: thr 1, 2, 3 erase 1, 9, 25 cells."""
    cells = torch.cat([torch.arange(121), torch.tensor([60])])[None]
    proposals = Proposals(cells, torch.ones(1, 122), torch.ones(1, 122, dtype=torch.bool), (11, 11))
    members = cluster(proposals, 1, 1, threshold).members[0, 0]
    erased = cells[0][members].unique()
    rows, columns = erased // 11 - 5, erased % 11 - 5
    assert len(erased) == side**2
    assert max(rows.abs().max(), columns.abs().max()) == side // 2


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


def test_distances_are_euclidean_in_cells():
    distances = cell_distances(3, 4)
    assert distances.shape == (12, 12)
    assert distances[0, 11].item() == pytest.approx(np.hypot(2, 3))
    assert distances[5, 5] == 0


@pytest.mark.parametrize("wrong", [{"k": 0}, {"iterations": 0}, {"threshold": -1.0}])
def test_exceptions(wrong):
    with pytest.raises(ValueError, match="expected k >= 1"):
        learnable_clustering(torch.rand(1, 2, 3, 3), **wrong)
