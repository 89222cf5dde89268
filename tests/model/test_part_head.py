"""The part head against a literal twin, and what it must not depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lmpnet_cli.model.cell_features import activation, centred_features, context_features
from lmpnet_cli.model.part_head import PartHead, PartHeadSpec, soft_argmax

SPEC = PartHeadSpec(("a", "b", "c"), channels=6, directions=4, backgrounds=2, windows=(1, 3))


def filled(spec: PartHeadSpec = SPEC, seed: int = 0) -> PartHead:
    made = PartHead(spec)
    generator = torch.Generator().manual_seed(seed)
    made.load_state_dict(
        {key: torch.randn(value.shape, generator=generator) for key, value in made.state_dict().items()}
    )
    made.get_buffer("level").copy_(torch.tensor([1.5, 0.7, 0.4]))
    return made


def maps(count: int = 3, side: int = 5, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 6, side, side, generator=torch.Generator().manual_seed(seed)).relu()


def literal(made: PartHead, image: np.ndarray) -> np.ndarray:
    """One (C, H, W) image, cell by cell, by the words of the module's docstring."""
    w = {key: value.double().numpy() for key, value in made.state_dict().items()}
    height, width = image.shape[1:]

    def unit(vector):
        return vector / max(np.linalg.norm(vector), 1e-12)

    units = np.array([[unit(image[:, r, c]) for c in range(width)] for r in range(height)])
    mean = units.mean((0, 1))
    cells = np.array([[(unit(units[r, c] - mean) - w["centre"]) @ w["projection"] for c in range(width)] for r in range(height)])  # fmt: skip
    reach = round(2 * height / 14)
    shares = np.zeros((made.spec.k + 1, height, width))
    for r in range(height):
        for c in range(width):
            views = []
            for window in made.spec.windows:
                half = 0 if window == 1 else (2 * max(0, round((window * height / 14 - 1) / 2)) + 1) // 2
                block = cells[max(0, r - half) : r + half + 1, max(0, c - half) : c + half + 1]
                views.append(unit(block.mean((0, 1))) / np.sqrt(len(made.spec.windows)))
            inner_r, inner_c = np.clip(r, reach, height - 1 - reach), np.clip(c, reach, width - 1 - reach)
            total = min(image[:, a, b].sum() for a in (r, inner_r) for b in (c, inner_c))
            active = (np.log(max(total, 1e-6)) - w["level"][0]) / w["level"][1]
            logits = np.concatenate([*views, [0.2 * active]]) @ w["weight"] + w["bias"]
            exp = np.exp(logits - logits.max())
            soft = exp / exp.sum()
            of_object = 1 / (1 + np.exp(-(active - w["level"][2]) / 0.3))
            shares[: made.spec.k, r, c] = of_object * soft[: made.spec.k]
            shares[-1, r, c] = 1 - shares[: made.spec.k, r, c].sum()
    return shares


@pytest.mark.parametrize("side", [5, 14])
def test_shares_are_those_of_the_literal_twin(side):
    made, given = filled(), maps(2, side)
    expected = np.array([literal(made, image) for image in given.double().numpy()])
    np.testing.assert_allclose(made(given).numpy(), expected, atol=2e-5)


def test_shares_sum_to_one_and_the_last_is_the_background():
    shares = filled()(maps())
    assert shares.shape == (3, 4, 5, 5)
    torch.testing.assert_close(shares.sum(1), torch.ones(3, 5, 5))


def test_parts_end_where_the_object_does():
    made, given = filled(), maps(2, 14)
    active = made.cells(given)[..., -1]
    made.get_buffer("level")[2] = active.median()
    shares = made(given)
    everywhere = filled()
    everywhere.get_buffer("level")[2] = -1000.0
    ratio = shares[:, 0] / everywhere(given)[:, 0]
    torch.testing.assert_close(ratio, 1 / (1 + torch.exp((active.median() - active) / 0.3)))
    torch.testing.assert_close(everywhere(given)[:, -1], 1 - everywhere(given)[:, :-1].sum(1))


def test_an_image_does_not_depend_on_its_batch():
    made, given = filled(), maps(4)
    torch.testing.assert_close(made(given)[2:3], made(given[2:3]))


def test_mirrored_maps_give_mirrored_parts():
    made, given = filled(replace(SPEC, windows=(1, 3, 7))), maps(side=14)
    torch.testing.assert_close(made(given.flip(3)), made(given).flip(3), atol=1e-5, rtol=1e-4)


def test_brightness_changes_the_activation_alone():
    given = maps()
    torch.testing.assert_close(centred_features(5 * given), centred_features(given))
    torch.testing.assert_close(activation(5 * given), activation(given) + np.log(5))


def test_cells_that_are_all_alike_or_dead_give_finite_numbers():
    for given in (torch.zeros(1, 6, 5, 5), torch.ones(1, 6, 5, 5)):
        assert filled()(given).isfinite().all()


def test_what_padding_answers_at_the_border_is_not_active():
    total = torch.ones(1, 1, 14, 14)
    total[..., 12:] = 50  # two columns at the right edge, on empty sky
    total[:, :, 5:9, 6:9] = 20
    active = activation(total).exp()[0]
    assert active[3, 13] == 1 and active[6, 7] == pytest.approx(20)
    total[..., 6:13, 9:] = 20  # an object that reaches the edge stays
    assert activation(total).exp()[0, 8, 13] == pytest.approx(20)


@pytest.mark.parametrize(("side", "sizes"), [(14, (1, 3, 7)), (7, (1, 1, 3)), (28, (1, 5, 13)), (20, (1, 5, 9))])
def test_windows_grow_with_the_map_and_have_a_middle(side, sizes):
    cells = torch.zeros(1, side, side, 3)
    cells[0, side // 2, side // 2, :2] = 1.0
    around = context_features(cells, (1, 3, 7))
    for index, size in enumerate(sizes):
        reached = around[0, ..., 2 * index : 2 * index + 2].abs().sum(-1) > 0
        assert int(reached.sum()) == size**2, (side, size)


def test_positions_are_weighted_means_and_scores_need_neighbours():
    parts = torch.zeros(1, 3, 14, 14)
    parts[0, 0, 2, 3] = 1.0  # one cell
    parts[0, 1, 1:4, 1:4] = 0.9  # a block
    parts[0, 2, 0, 0], parts[0, 2, 0, 3] = 1.0, 0.5  # weights 1 and 1/4
    found = soft_argmax(parts)
    torch.testing.assert_close(found.positions[0], torch.tensor([[2.0, 3.0], [2.0, 2.0], [0.0, 0.6]]))
    torch.testing.assert_close(found.scores[0], torch.tensor([1 / 9, 0.9, 1 / 9]))
    for side, expected in ((7, 1.0), (28, 1 / 25)):  # windows are in cells of a 14 x 14 grid
        one = torch.zeros(1, 1, side, side)
        one[0, 0, 3, 3] = 1.0
        assert soft_argmax(one).scores.item() == pytest.approx(expected)


def test_a_part_that_is_nowhere_lies_in_the_middle_with_score_zero():
    found = soft_argmax(torch.zeros(1, 1, 5, 7))
    assert found.positions[0, 0].tolist() == pytest.approx([2, 3]) and found.scores.item() == 0
