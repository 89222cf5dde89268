"""Learning parts on drawn maps whose parts are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_parts import K, drawn, learned, reduced

from lmpnet_cli.model.part_head import PartHead, soft_argmax
from lmpnet_cli.parts.learning import Recipe, Restart, learn_weights, losses, share_on_object


def test_each_index_is_one_part_in_images_that_were_not_learned_from(part_head):
    maps, positions = drawn(40, seed=9)
    found = soft_argmax(part_head(maps)[:, :K])
    away = np.linalg.norm(found.positions.numpy()[:, :, None] - positions[:, None], axis=-1)  # (N, k, parts)
    nearest = away.argmin(2)
    assert sorted(nearest[0]) == [0, 1, 2]
    assert (nearest == nearest[0]).mean() > 0.95
    assert np.median(away.min(2)) < 0.7
    assert found.scores.min(0).values.median() > 0.5


def test_a_seed_repeats_and_another_one_differs():
    recipe = Recipe(parts=K, starts=1, steps=3, batch=16)
    one, again, other = learned(0, recipe), learned(0, recipe), learned(1, recipe)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in one.state_dict().items())
    assert not torch.equal(one.get_buffer("weight"), other.get_buffer("weight"))


def test_optimisation_lowers_the_loss_that_it_reports():
    part_head, features = reduced(drawn()[0])
    notes: list[float] = []
    counts: list[int] = []

    def callback(count: int, note: str) -> None:
        counts.append(count)
        notes.append(float(note.split()[1]))

    recipe = Recipe(parts=K, starts=1, steps=20, batch=16)
    learn_weights(features, part_head.spec, 0, recipe, callback)
    assert sum(counts) == recipe.all_steps == 20
    assert np.mean(notes[-3:]) < np.mean(notes[:3])


def test_the_restart_with_the_lowest_loss_after_the_trial_continues():
    part_head, features = reduced(drawn()[0], k=4)
    notes: list[float] = []
    recipe = Recipe(parts=K, starts=3, trial=6, steps=10, batch=16)
    kept = learn_weights(features, part_head.spec, 0, recipe, lambda _, note: notes.append(float(note.split()[1])))
    assert len(notes) == recipe.all_steps == 3 * 6 + 4
    recent_losses = [np.mean(notes[start : start + 6]) for start in (0, 6, 12)]
    seeds = torch.randint(2**31, (3,), generator=torch.Generator().manual_seed(0)).tolist()
    alone = []
    for seed in seeds:
        restart = Restart(features, part_head.spec, seed, recipe)
        restart.run(10, lambda *_: None)
        alone.append(restart.model.linear())
    best = int(np.argmin(recent_losses))
    torch.testing.assert_close(alone[best], kept)  # an interrupted restart ends where an uninterrupted one does
    assert not torch.equal(alone[best - 1][0], kept[0])


def test_superfluous_parts_become_background():
    maps, positions = drawn()
    part_head, features = reduced(maps, k=2)
    weight, bias = learn_weights(features, part_head.spec, 1, Recipe(parts=3, starts=2, trial=20, steps=60, batch=32))
    assert weight.shape[1] == len(bias) == 3 + part_head.spec.backgrounds
    both = PartHead(replace(part_head.spec, backgrounds=3))
    both.load_state_dict({**part_head.state_dict(), "weight": weight, "bias": bias})
    found = soft_argmax(both(maps)[:, :2]).positions.numpy()
    nearest = np.linalg.norm(found[:, :, None] - positions[:, None], axis=-1).argmin(2)
    assert (nearest == nearest[0]).mean() > 0.95
    # the parts are in a row: the third follows from both ends, or from one end and the middle
    assert nearest[0, 0] != nearest[0, 1]


def test_parts_are_dropped_after_the_optimisation():
    part_head, features = reduced(drawn(32)[0], k=2)
    recipe = Recipe(parts=3, starts=2, trial=2, steps=4, batch=16)
    weight, bias = learn_weights(features, part_head.spec, 1, recipe)
    all_weight, all_bias = learn_weights(features, replace(part_head.spec, names=("a", "b", "c")), 1, recipe)
    torch.testing.assert_close(bias.sort().values, all_bias.sort().values)
    torch.testing.assert_close(weight.sum(1), all_weight.sum(1))


def literal_losses(shares, flipped, features, background, k, recipe):
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
            look = (p[..., None] * features[n]).sum((0, 1))
            looks.append(look / np.linalg.norm(look))
        for one in range(k):
            for other in range(k):
                if one != other:
                    sums["orthogonality"] += max(0, looks[one] @ looks[other]) ** 2 / (images * k)
        sums["flip_equivariance"] += ((shares[n] - flipped[n]) ** 2).sum() / (images * height * width)
        sums["objectness"] += (shares[n, ..., :k].sum(-1) * background[n]).sum() / (images * height * width)
    return {name: getattr(recipe, name) * value for name, value in sums.items()}


def test_losses_are_those_of_the_literal_twin():
    generator = torch.Generator().manual_seed(0)
    shares, flipped = (torch.randn(2, 13, 14, 5, generator=generator).softmax(-1) for _ in range(2))
    features, background = torch.randn(2, 13, 14, 7, generator=generator), torch.rand(2, 13, 14, generator=generator)
    given = losses(shares, flipped, features, background, 3, Recipe())
    arrays = [each.double().numpy() for each in (shares, flipped, features, background)]
    expected = literal_losses(*arrays, 3, Recipe())
    assert {name: value.item() for name, value in given.items()} == pytest.approx(expected, rel=1e-4)


def test_a_loss_that_is_not_finite_is_refused():
    part_head, features = reduced(drawn(20)[0])
    recipe = Recipe(parts=K, starts=1, steps=3, batch=8, learning_rate=float("nan"))
    with pytest.raises(ValueError, match="loss is nan"):
        learn_weights(features, part_head.spec, 0, recipe)


def test_the_share_on_the_object_is_that_of_a_slow_count(part_head):
    _, features = reduced(drawn()[0])
    count, height, width, _ = features.original.shape
    expected = np.zeros(part_head.spec.k)
    for image in features.original.float():
        shares = part_head.anywhere(image[None])[0].numpy() ** 2
        for part in range(part_head.spec.k):
            rows, columns = np.mgrid[:height, :width]
            centre = [
                round(float((shares[..., part] * axis).sum() / shares[..., part].sum())) for axis in (rows, columns)
            ]
            expected[part] += bool(image[centre[0], centre[1], -1] > features.object_threshold)
    found = share_on_object(part_head, features)
    np.testing.assert_allclose(found, expected / count, atol=1e-6)
    assert found.min() > 0.9  # the drawn parts are on the object
    beside = replace(features, original=torch.cat([features.original[..., :-1], -features.original[..., -1:]], -1))
    assert share_on_object(part_head, beside).max() < 0.5
