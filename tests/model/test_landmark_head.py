"""The landmark head: its probabilities against a slow twin, its position, its visibility."""

import numpy as np
import pytest
import torch

from lmpnet_cli.model.landmark_head import LandmarkHead, LandmarkHeadSpec, most_likely, quarters

SPEC = LandmarkHeadSpec(("beak", "tail"), channels=6, directions=4, windows=(1, 3))


def filled() -> LandmarkHead:
    generator = torch.Generator().manual_seed(0)
    head = LandmarkHead(SPEC)
    head.load_state_dict(
        {key: torch.randn(value.shape, generator=generator) for key, value in head.state_dict().items()}
    )
    head.get_buffer("level").copy_(torch.tensor([0.0, 1.0, 0.0]))
    return head


def test_shares_are_those_of_a_slow_twin():
    head, cells = filled(), torch.randn(1, 14, 14, 5, generator=torch.Generator().manual_seed(1))
    values, weight = cells[0].double().numpy(), head.get_buffer("weight").double().numpy()
    scores = np.zeros((14, 14, 2))
    for row in range(14):
        for column in range(14):
            around = values[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2, :4].mean((0, 1))
            own = values[row, column, :4]
            views = [each / np.linalg.norm(each) / np.sqrt(2) for each in (own, around)]
            scores[row, column] = np.concatenate([*views, [0.2 * values[row, column, 4]]]) @ weight
    shares = np.exp(scores) / np.exp(scores).sum((0, 1))
    np.testing.assert_allclose(head.shares(cells)[0].permute(1, 2, 0).numpy(), shares, rtol=1e-4)
    assert head.shares(cells).sum((2, 3)).numpy() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [(14, 14), (28, 28), (7, 9)])
def test_the_position_is_the_middle_of_the_probability(size):
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1])
    spread = max(0.6, 0.6 * size[0] / 14)
    row, column = size[0] * 0.4 + 0.3, size[1] * 0.6 + 0.2
    shares = torch.exp(-0.5 * (((rows - row) / spread) ** 2 + ((columns - column) / spread) ** 2))[None, None]
    found = most_likely(shares / shares.sum())
    torch.testing.assert_close(found.positions[0, 0], torch.tensor([row, column]), atol=0.1, rtol=0)
    assert 0.3 < found.scores.item() <= 1


def test_one_strong_cell_loses_against_a_neighbourhood():
    shares = torch.zeros(1, 1, 14, 14)
    shares[..., 2, 2] = 0.3
    shares[..., 9:12, 9:12] = 0.7 / 9
    found = most_likely(shares)
    assert found.positions[0, 0].tolist() == pytest.approx([10, 10]) and found.scores.item() == pytest.approx(0.7)


def test_a_landmark_in_the_corner_is_found_there():
    shares = torch.zeros(1, 1, 14, 14)
    shares[..., 13, 0] = 1.0
    found = most_likely(shares)
    assert found.positions[0, 0].tolist() == [13, 0] and found.scores.item() == 1


def test_quarters_tell_left_from_right_and_ignore_the_activation():
    cells = torch.zeros(2, 4, 6, 3)
    cells[0, :, :3, 0] = cells[1, :, 3:, 0] = 1.0
    cells[..., 2] = torch.randn(2, 4, 6)
    first, second = quarters(cells)
    half = 0.5**0.5
    assert first.tolist() == pytest.approx([half, 0, 0, 0, half, 0, 0, 0])
    assert second.tolist() == pytest.approx([0, 0, half, 0, 0, 0, half, 0])


def test_scores_are_those_of_the_place_times_visibility():
    head, maps = filled(), torch.rand(3, 6, 14, 14, generator=torch.Generator().manual_seed(2))
    shares, visible = head(maps)
    located = head.located(maps)
    torch.testing.assert_close(located.scores, most_likely(shares).scores * visible)
    assert ((visible > 0) & (visible < 1)).all()


@pytest.mark.parametrize(
    "changes",
    [{"names": (1,)}, {"channels": 0}, {"directions": -1}, {"windows": ()}, {"windows": (99,)}, {"margin": 2}],
)
def test_impossible_descriptions_are_refused(changes):
    with pytest.raises(ValueError, match=r"expected|out of range"):
        LandmarkHeadSpec(**{"names": ("a",), "channels": 3} | changes)
