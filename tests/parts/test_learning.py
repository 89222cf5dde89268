"""Learning on drawn maps whose parts are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lmpnet_cli.model.part_head import EXTREME, PartHead, PartHeadSpec, soft_argmax
from lmpnet_cli.parts import learning, visibility
from lmpnet_cli.parts.affine import random_affines, warp
from lmpnet_cli.parts.initialization import Directions, first_centres, object_level
from lmpnet_cli.parts.learning import (
    Material,
    Recipe,
    learn,
    losses,
)
from lmpnet_cli.parts.visibility import visibility_threshold

SIDE, K = 14, 3


def drawn(count: int = 96, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """(N, 12, 14, 14) maps with an object of three parts in a row, and the parts' rows and columns (N, 3, 2)."""
    random = np.random.default_rng(seed)
    given = 0.2 * random.uniform(size=(count, 12, SIDE, SIDE))
    given[:, 9:] += 0.5  # background filters
    places = np.zeros((count, K, 2))
    for image in range(count):
        warp, row, column = random.choice([-1, 1]), random.integers(4, 10), random.integers(6, 8)
        for part in range(K):
            y, x = row, column + 4 * warp * (part - 1)
            given[image, 3 * part : 3 * part + 3, y - 1 : y + 2, x - 1 : x + 2] += random.uniform(3, 6)
            places[image, part] = y, x
    return torch.from_numpy(given).float(), places


def reduced(given: torch.Tensor, k: int = K) -> tuple[PartHead, Material]:
    spec = PartHeadSpec(tuple(f"kp{i + 1}" for i in range(k)), 12, 8, 2)
    made = PartHead(spec)
    first = Directions()
    first.add(given)
    centre, projection = first.principal(8)
    made.load_state_dict({"centre": centre, "projection": projection}, strict=False)
    cells = made.cells(given)
    made.get_buffer("level")[:2] = torch.stack([cells[..., -1].mean(), cells[..., -1].std()])
    made.get_buffer("level")[2] = object_level(made.cells(given)[..., -1])
    theta = random_affines(len(given), torch.Generator().manual_seed(0))
    return made, Material(*(made.cells(each) for each in (given, given.flip(3), warp(given, theta)[0])), theta)


def learned(seed: int = 0, recipe: Recipe = Recipe(parts=K, starts=2, steps=150, batch=48)) -> PartHead:  # noqa: B008 (frozen)
    made, material = reduced(drawn()[0])
    weight, bias = learn(material, made.spec, seed, recipe)
    made.load_state_dict({"weight": weight, "bias": bias}, strict=False)
    return made


@pytest.fixture(scope="module")
def part_head() -> PartHead:
    return learned(seed=1)


def test_principal_directions_are_those_of_a_singular_value_decomposition():
    given, _ = drawn(8)
    first = Directions()
    for batch in given.split(3):
        first.add(batch)
    centre, directions = first.principal(4)
    from lmpnet_cli.model.part_head import centred_features

    cells = centred_features(given).flatten(0, 2).double()
    _, _, expected = np.linalg.svd((cells - cells.mean(0)).numpy(), full_matrices=False)
    np.testing.assert_allclose(centre.numpy(), cells.mean(0).numpy(), atol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(expected[:4].T * directions.numpy(), 0)), 1, atol=1e-3)


def test_the_object_is_where_filters_are_active():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(-0.6, 0.1, 700), random.normal(1.4, 0.2, 300)])
    for shift in (0, 5):
        level = object_level(torch.from_numpy(values + shift).float())
        assert -0.6 < level - shift < 1.0  # between the two kinds, nearer to the lower one
        assert ((values + shift > level) == (np.arange(1000) >= 700)).mean() > 0.9
    assert object_level(torch.zeros(5)) == 0


def test_each_keypoint_is_one_part_on_images_that_were_not_learned_from(part_head):
    given, places = drawn(40, seed=9)
    found = soft_argmax(part_head(given)[:, :K])
    away = np.linalg.norm(found.positions.numpy()[:, :, None] - places[:, None], axis=-1)  # (N, k, parts)
    nearest = away.argmin(2)
    assert sorted(nearest[0]) == [0, 1, 2]
    assert (nearest == nearest[0]).mean() > 0.95
    assert np.median(away.min(2)) < 0.7
    assert found.scores.min(0).values.median() > 0.5


def test_a_seed_repeats_and_another_one_differs():
    recipe = Recipe(parts=K, starts=1, steps=5)
    one, again, other = learned(0, recipe), learned(0, recipe), learned(1, recipe)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in one.state_dict().items())
    assert not torch.equal(one.get_buffer("weight"), other.get_buffer("weight"))


def test_the_descent_lowers_the_losses_that_it_reports():
    made, material = reduced(drawn()[0])
    notes: list[float] = []
    counts: list[int] = []
    recipe = Recipe(parts=K, starts=1, steps=20, batch=32)
    learn(material, made.spec, 0, recipe, lambda n, note: (counts.append(n), notes.append(float(note.split()[1]))))
    assert sum(counts) == recipe.images(len(material.cells)) == 20 * 32
    assert np.mean(notes[-3:]) < np.mean(notes[:3])


def test_of_several_starts_the_one_that_is_lowest_after_the_trial_goes_on():
    made, material = reduced(drawn()[0], k=4)
    notes: list[float] = []
    recipe = Recipe(parts=K, starts=3, trial=6, steps=10, batch=32)
    kept = learn(material, made.spec, 0, recipe, lambda _, note: notes.append(float(note.split()[1])))
    assert len(notes) == 3 * 6 + 4 and recipe.images(96) == len(notes) * 32
    heights = [np.mean(notes[start : start + 6]) for start in (0, 6, 12)]
    seeds = torch.randint(2**31, (3,), generator=torch.Generator().manual_seed(0)).tolist()
    alone = []
    for seed in seeds:
        restart = learning._Restart(material, made.spec, seed, recipe)
        restart.run(10, lambda *_: None)
        alone.append(restart.model.linear())
    best = int(np.argmin(heights))
    torch.testing.assert_close(alone[best], kept)  # an interrupted descent is the same as one in one go
    assert not torch.equal(alone[best - 1][0], kept[0])


def test_fewer_parts_than_are_learned_are_chosen_from_them_and_the_others_become_background():
    given, places = drawn()
    made, material = reduced(given, k=2)
    recipe = Recipe(parts=3, starts=2, steps=120, batch=32)
    weight, bias = learn(material, made.spec, 1, recipe)
    assert weight.shape[1] == len(bias) == 3 + made.spec.backgrounds
    both = PartHead(replace(made.spec, backgrounds=3))
    both.load_state_dict({**made.state_dict(), "weight": weight, "bias": bias})
    found = soft_argmax(both(given)[:, :2]).positions.numpy()
    nearest = np.linalg.norm(found[:, :, None] - places[:, None], axis=-1).argmin(2)
    assert (nearest == nearest[0]).mean() > 0.95
    # parts lie in a row: from both ends, or from one and the middle, the third follows
    assert nearest[0, 0] != nearest[0, 1]
    _, all_bias = learn(material, replace(made.spec, names=("a", "b", "c")), 1, recipe)
    torch.testing.assert_close(bias.sort().values, all_bias.sort().values)


def literal_losses(shares, mirrored, around, elsewhere, k, recipe):
    """The same in loops."""
    images, height, width, _ = shares.shape
    sums = dict.fromkeys(("presence", "concentration", "orthogonality", "flip_equivariance", "objectness"), 0.0)
    for n in range(images):
        looks = []
        for part in range(k):
            p = shares[n, :, :, part]
            best = max(p[r : r + 3, c : c + 3].mean() for r in range(height - 2) for c in range(width - 2))
            sums["presence"] += (1 - best) / (images * k)
            ys, xs = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
            mass = p.sum()
            cy, cx = (p * ys[:, None]).sum() / mass, (p * xs[None]).sum() / mass
            spread = (p * ((ys[:, None] - cy) ** 2 + (xs[None] - cx) ** 2)).sum() / mass
            sums["concentration"] += spread / (images * k)
            look = (p[..., None] * around[n]).sum((0, 1))
            looks.append(look / np.linalg.norm(look))
        for one in range(k):
            for other in range(k):
                if one != other:
                    sums["orthogonality"] += max(0, looks[one] @ looks[other]) ** 2 / (images * k)
        sums["flip_equivariance"] += ((shares[n] - mirrored[n]) ** 2).sum() / (images * height * width)
        sums["objectness"] += (shares[n, ..., :k].sum(-1) * elsewhere[n]).sum() / (images * height * width)
    return {name: getattr(recipe, name) * value for name, value in sums.items()}


def test_losses_are_those_of_the_literal_twin():
    generator = torch.Generator().manual_seed(0)
    shares, mirrored = (torch.randn(2, 13, 14, 5, generator=generator).softmax(-1) for _ in range(2))
    around, elsewhere = torch.randn(2, 13, 14, 7, generator=generator), torch.rand(2, 13, 14, generator=generator)
    given = losses(shares, mirrored, around, elsewhere, 3, Recipe())
    arrays = [each.double().numpy() for each in (shares, mirrored, around, elsewhere)]
    expected = literal_losses(*arrays, 3, Recipe())
    assert {name: value.item() for name, value in given.items()} == pytest.approx(expected, rel=1e-4)


def test_too_few_different_cells_are_refused():
    active = torch.zeros(2, 4, 4, dtype=torch.bool)
    active[:, :2] = True
    with pytest.raises(ValueError, match="at least 3 different cells"):
        first_centres(torch.ones(2, 4, 4, 5), active, 3, 1, 0)


def test_visibility_begins_where_mirror_images_agree(part_head, monkeypatch):
    _, material = reduced(drawn(60, seed=4)[0])
    assert visibility_threshold(part_head, material, 0.95) <= 0.5
    monkeypatch.setattr(visibility, "PRESENT", 1.0)
    threshold = visibility_threshold(part_head, material, 0.95)
    assert threshold == pytest.approx(part_head.located(material.cells).scores.min().item())  # they agree everywhere
    shuffled = material.mirrored[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    assert visibility_threshold(part_head, replace(material, mirrored=shuffled)) == 1.0  # they agree about nothing


def test_the_threshold_is_where_the_share_of_confirmed_places_falls_below_the_agreement(part_head, monkeypatch):
    monkeypatch.setattr(visibility, "PRESENT", 1.0)
    _, material = reduced(drawn(60, seed=4)[0])
    half = replace(material, mirrored=torch.cat([material.mirrored[:30], material.mirrored[:30]]))
    parts, other = (part_head.shares(each)[:, :K] for each in (half.cells, half.mirrored))
    found, again = soft_argmax(parts), soft_argmax(other.flip(3))
    good = ((found.positions - again.positions).norm(dim=-1) < 1).flatten().numpy()
    scores = found.scores.flatten().numpy()
    shares = {score: good[scores >= score].mean() for score in scores}
    agreement = float(np.median(list(shares.values())))
    expected = min(score for score, share in shares.items() if share >= agreement)
    assert visibility_threshold(part_head, half, agreement) == pytest.approx(expected)


def test_the_threshold_is_not_below_what_any_cell_gives_any_part(part_head):
    _, material = reduced(drawn(20, seed=4)[0])
    nothing = torch.zeros_like(material.cells)  # the mirror images agree, for there is nothing to be seen
    assert visibility_threshold(part_head, replace(material, cells=nothing, mirrored=nothing)) >= 1 / (K + 2)


def test_silent_cells_do_not_turn_mean_and_deviation():
    given, _ = drawn(40)
    given = given + 0.1
    before, silent = Directions(), Directions()
    before.add(given)
    dead = given.clone()
    dead[:, :, 12:, :3] = 0  # log 1e-6 where the others have about 0
    silent.add(dead)
    mean, deviation = before.level().tolist()
    again, spread = silent.level().tolist()
    assert abs(again - mean) < deviation / 4 and spread < 1.5 * deviation


def test_silent_cells_do_not_make_everything_the_object():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(-0.6, 0.5, 7000), random.normal(1.4, 0.5, 3000)])
    level = object_level(torch.from_numpy(values).float())
    silent = np.concatenate([values, np.full(50, -EXTREME)])  # as `Vocabulary.cells` clips them
    assert object_level(torch.from_numpy(silent).float()) == pytest.approx(level, abs=0.1)
    silent[-50:] = -20  # as they would be
    assert object_level(torch.from_numpy(silent).float()) < -1


def test_cells_are_clipped_where_the_activation_says_no_more():
    made, _ = reduced(drawn(4)[0])
    given = drawn(4)[0]
    given[:, :, 5:8, 5:8] = 0
    active = made.cells(given)[..., -1]
    assert active.min() == -EXTREME and active.half().isfinite().all()


def test_a_loss_that_is_not_finite_is_refused():
    made, material = reduced(drawn(20)[0])
    recipe = Recipe(parts=K, starts=1, steps=3, batch=8, learning_rate=float("nan"))
    with pytest.raises(ValueError, match="loss is nan"):
        learn(material, made.spec, 0, recipe)


def test_a_turned_image_shows_each_place_where_theta_says():
    theta = random_affines(6, torch.Generator().manual_seed(3))
    assert (theta[:, :, :2].det()[::2] < 0).all() and (theta[:, :, :2].det()[1::2] > 0).all()
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    planes = torch.stack([columns, rows])[None].expand(6, -1, -1, -1)
    warped, inside = warp(planes, theta)
    assert inside.any() and not inside.all()
    for image, row, column in inside.nonzero()[::7].tolist():
        place = torch.tensor([(column + 0.5) / 3 - 1, (row + 0.5) / 4 - 1, 1.0])
        x, y = (theta[image] @ place).tolist()  # in the image, from -1 to 1
        expected = [(x + 1) * 3 - 0.5, (y + 1) * 4 - 0.5]
        assert warped[image, :, row, column].tolist() == pytest.approx(expected, abs=1e-4)
