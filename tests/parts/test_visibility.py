"""The score from which a part counts as visible."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_parts import K, drawn, reduced

from lmpnet_cli.model.part_head import soft_argmax
from lmpnet_cli.parts.visibility import visibility_threshold


def test_visibility_begins_where_flipped_images_agree(part_head):
    _, features = reduced(drawn(60, seed=4)[0])
    assert visibility_threshold(part_head, features, 0.95) <= 0.5
    threshold = visibility_threshold(part_head, features, 0.95, highest=1.0)
    assert threshold == pytest.approx(part_head.located(features.original).scores.min().item())  # they agree everywhere
    shuffled = features.flipped[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    assert visibility_threshold(part_head, replace(features, flipped=shuffled), highest=1.0) == 1.0  # and here nowhere


def test_the_threshold_is_where_the_share_of_confirmed_positions_falls_below_the_agreement(part_head):
    _, features = reduced(drawn(60, seed=4)[0])
    half = replace(features, flipped=torch.cat([features.flipped[:30], features.flipped[:30]]))
    parts, flipped = (part_head.shares(view)[:, :K] for view in (half.original, half.flipped))
    found, again = soft_argmax(parts), soft_argmax(flipped.flip(3))
    good = ((found.positions - again.positions).norm(dim=-1) < 1).flatten().numpy()
    scores = found.scores.flatten().numpy()
    shares = {score: good[scores >= score].mean() for score in scores}
    agreement = float(np.median(list(shares.values())))
    expected = min(score for score, share in shares.items() if share >= agreement)
    assert visibility_threshold(part_head, half, agreement, highest=1.0) == pytest.approx(expected)


def test_the_threshold_is_at_least_what_any_cell_gives_any_part(part_head):
    _, features = reduced(drawn(20, seed=4)[0])
    nothing = torch.zeros_like(features.original)  # both images agree, because there is nothing to see
    assert visibility_threshold(part_head, replace(features, original=nothing, flipped=nothing)) >= 1 / (K + 2)
