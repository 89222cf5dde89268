import pytest
import torch

from lmpnet_cli.model.selection import concatenate, propose, select


def test_a_proposal_is_the_first_maximum_of_a_map():
    maps = torch.tensor([[[[0.0, 3.0], [3.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]]]])
    proposals = propose(maps)
    assert proposals.cells[0, [0, 2]].tolist() == [1, 3]
    assert proposals.strengths.tolist() == [[3.0, 0.0, 2.0]]
    assert proposals.live.tolist() == [[True, False, True]]
    assert proposals.map_size == (2, 2)


def test_the_strongest_are_chosen_for_each_image_anew():
    maps = torch.tensor([[5.0, 1.0, 3.0], [1.0, 4.0, 2.0]]).view(2, 3, 1, 1)
    assert select(propose(maps), 1).live.tolist() == [[True, False, False], [False, True, False]]
    assert select(propose(maps), 2).live.tolist() == [[True, False, True], [False, True, True]]


def test_exactly_m_are_kept_among_equals_and_the_lower_index_first():
    assert select(propose(torch.ones(1, 5, 2, 2)), 3).live.tolist() == [[True, True, True, False, False]]


@pytest.mark.parametrize("filters", [None, 3, 99])
def test_all_are_kept_when_there_are_no_more(filters):
    assert select(propose(torch.rand(1, 3, 2, 2) + 0.1), filters).live.all()


def test_a_dead_filter_is_not_revived_by_selection():
    assert select(propose(torch.zeros(1, 3, 2, 2)), 2).live.sum() == 0


def test_two_networks_share_one_list():
    both = concatenate(propose(torch.rand(2, 3, 4, 4)), propose(torch.rand(2, 5, 4, 4)))
    assert both.cells.shape == both.live.shape == (2, 8)
    with pytest.raises(ValueError, match="one size"):
        concatenate(propose(torch.rand(2, 3, 4, 4)), propose(torch.rand(2, 5, 5, 4)))
