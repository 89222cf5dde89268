import math

import numpy as np
import pytest
import torch
from algorithm_1 import algorithm_1, between

from lmpnet_cli.model.fusion import fuse, select_voters
from lmpnet_cli.model.reading import Reading


def peak(row, column, height=1.0, size=14):
    maps = torch.zeros(size, size)
    maps[row, column] = height
    return maps


def stack(*maps):
    return torch.stack(maps)[None]


def keypoints(*maps, filters=None, margin=0, threshold=3.0, **options):
    """The detections of one network's maps, or of a network's and its replica's."""
    k = options.pop("k", 5)
    return fuse(select_voters(maps, filters, margin), k, (threshold,), Reading(**options))[0]


def test_a_lone_peak_is_found_at_its_cell():
    result = keypoints(stack(peak(3, 9)), k=2)
    assert result.positions[0, 0].tolist() == [3.0, 9.0]
    assert result.scores[0, 0].item() == 1.0
    assert math.isnan(result.scores[0, 1].item())
    assert result.positions[0, 1].isnan().all()


def test_position_is_the_centroid_of_the_raw_maps_around_the_winner():
    maps = peak(5, 5, 3.0)
    maps[5, 6] = 1.0
    maps[5, 8] = 2.0  # outside the 3 x 3 cells
    assert keypoints(stack(maps), k=1, position="centroid").positions[0, 0].tolist() == [5.0, 5.25]
    assert keypoints(stack(maps), k=1, position="cell").positions[0, 0].tolist() == [5.0, 5.0]


def test_score_is_the_share_of_the_activation_that_voted():
    output = stack(peak(2, 2, 3.0), peak(2, 2, 2.0), peak(10, 10, 5.0))
    assert keypoints(output, k=2).scores[0].tolist() == pytest.approx([0.5, 0.5])


def test_the_votes_of_both_networks_fall_to_one_erasing_rule():
    network, replica = stack(peak(2, 2), peak(2, 3)), stack(peak(3, 2, 2.0), peak(10, 10))
    result = keypoints(network, replica, k=5, threshold=3.0)
    assert (~result.scores.isnan()).sum() == 2
    assert result.replica_shares[0, :2].tolist() == pytest.approx([0.5, 1.0])


def test_threshold_counts_cells_of_a_14_grid_whatever_the_map():
    """Two peaks 4 cells apart on a 28 x 28 map are 2 apart on the grid, squared 4: erased just above, kept at it."""
    maps = stack(peak(8, 8, 2.0, size=28), peak(8, 12, 1.0, size=28))
    for distance, thr in (("euclidean", 2.0), ("squared", 4.0)):
        near, at = (keypoints(maps, k=2, threshold=each, distance=distance).scores for each in (thr + 0.1, thr))
        assert (int((~near.isnan()).sum()), int((~at.isnan()).sum())) == (1, 2)


def test_the_margin_has_no_vote():
    output = stack(peak(0, 6, 9.0), peak(7, 13, 9.0), peak(1, 1), peak(12, 12))
    found = [int((~keypoints(output, k=5, margin=margin).scores.isnan()).sum()) for margin in (0, 1, 2)]
    assert found == [4, 2, 0]


def test_inner_iterations_change_neither_position_nor_score():
    output = torch.randn(4, 30, 9, 9).relu()
    once, often = keypoints(output, iterations=1), keypoints(output, iterations=9)
    torch.testing.assert_close(once.positions, often.positions, equal_nan=True)
    torch.testing.assert_close(once.scores, often.scores, equal_nan=True)


def test_filters_are_selected_for_each_network():
    network, replica = stack(peak(1, 1, 9.0), peak(7, 7, 8.0)), stack(peak(12, 12, 1.0), peak(7, 1, 0.5))
    result = keypoints(network, replica, k=4, filters=1)
    assert [tuple(p) for p in result.positions[0, :2].tolist()] == [(1.0, 1.0), (12.0, 12.0)]
    assert result.scores[0, 2:].isnan().all()


def test_scores_and_positions_are_finite_or_nan_together():
    output = torch.randn(8, 20, 7, 7).relu()
    result = keypoints(output, k=9, threshold=25)
    missing = result.scores.isnan()
    assert torch.equal(missing, result.positions[..., 0].isnan())
    assert missing.any()
    assert ((result.scores[~missing] > 0) & (result.scores[~missing] <= 1)).all()


def test_a_sweep_gives_what_single_thresholds_give():
    maps = [torch.randn(3, 25, 9, 9).relu(), torch.randn(3, 25, 9, 9).relu()]
    thresholds = (0.5, 3.0, 6.0, 3.0)
    for threshold, swept in zip(thresholds, fuse(select_voters(maps, 12), 4, thresholds), strict=True):
        alone = keypoints(*maps, filters=12, k=4, threshold=threshold)
        assert swept.map_size == alone.map_size == (9, 9)
        for name in ("positions", "scores", "replica_shares"):
            torch.testing.assert_close(getattr(swept, name), getattr(alone, name), equal_nan=True)


@pytest.mark.parametrize("distance", ["squared", "euclidean"])
@pytest.mark.parametrize("thr", [1.0, 2.0, 3.0])
def test_cells_of_one_image_are_never_nearer_than_thr(distance, thr):
    maps = [torch.randn(4, 40, 14, 14).relu() for _ in range(2)]
    for fusion in ("proposals", "predictions"):
        reading = {"distance": distance, "fusion": fusion, "position": "cell"}
        positions = keypoints(*maps, threshold=thr, **reading).positions
        apart = (positions[:, :, None] - positions[:, None]).square().sum(-1)[:, *np.triu_indices(5, 1)]
        assert (apart[~apart.isnan()] >= (thr if distance == "squared" else thr**2)).all()


def letter_of_predictions(network, replica, k, thr, distance):
    """Each network by itself by Algorithm 1, then the lists merged by votes; cells and scores of one image."""
    of_each = [algorithm_1(raw, k, 1, thr, distance) for raw in (network, replica)]
    strengths = [raw.reshape(len(raw), -1).max(1).clip(0) for raw in (network, replica)]
    candidates = []
    for raw, strength, (_, cells, members) in zip((network, replica), strengths, of_each, strict=True):
        for cell, own in zip(cells, members, strict=True):
            votes = sum(raw[j].argmax() == cell for j in own)
            candidates.append((votes, np.unravel_index(cell, raw.shape[1:]), sum(strength[j] for j in own)))
    total, found = sum(map(sum, strengths)), []
    while candidates and len(found) < k:
        best = max(candidates, key=lambda each: each[0])  # the first of equal ones
        same = [each for each in candidates if between(best[1], each[1], distance) < thr]
        found.append((best[1], sum(each[2] for each in same) / total))
        candidates = [each for each in candidates if between(best[1], each[1], distance) >= thr]
    return found


@pytest.mark.parametrize("distance", ["squared", "euclidean"])
@pytest.mark.parametrize("thr", [1.0, 2.0, 3.0])
def test_predictions_are_merged_as_by_the_letter(distance, thr):
    random = np.random.default_rng(int(thr))
    network, replica = (random.normal(size=(3, 60, 14, 14)).astype(np.float32).clip(0) for _ in range(2))
    for raw in (network, replica):  # some cells get many votes
        for index in range(30):
            raw[:, index, index % 7, index % 3] += 9
    result = keypoints(
        torch.from_numpy(network),
        torch.from_numpy(replica),
        threshold=thr,
        distance=distance,
        fusion="predictions",
        position="cell",
    )
    for image in range(3):
        found = letter_of_predictions(network[image], replica[image], 5, thr, distance)
        assert result.positions[image].tolist() == [[float(row), float(column)] for (row, column), _ in found]
        assert result.scores[image].tolist() == pytest.approx([score for _, score in found], abs=1e-5)


def test_predictions_of_one_network_are_its_proposals():
    maps = torch.randn(2, 30, 9, 9).relu()
    one, other = (keypoints(maps, fusion=fusion) for fusion in ("proposals", "predictions"))
    torch.testing.assert_close(one.positions, other.positions, equal_nan=True)


def test_predictions_keep_the_first_keypoint_of_the_network_that_has_more_votes():
    """Two votes of the network at (2, 2), three of the replica at (10, 10), one more of it beside the network's."""
    network, replica = stack(peak(2, 2), peak(2, 2)), stack(*[peak(10, 10)] * 3, peak(2, 3))
    result = keypoints(network, replica, k=2, fusion="predictions", position="cell")
    assert result.positions[0].tolist() == [[10.0, 10.0], [2.0, 2.0]]
    assert result.replica_shares[0].tolist() == pytest.approx([1.0, 1 / 3])
    assert result.scores[0].tolist() == pytest.approx([0.5, 0.5])
    missing = keypoints(network, replica, k=4, fusion="predictions")
    assert missing.scores[0].isnan().tolist() == [False, False, True, True]


@pytest.mark.parametrize("wrong", [{"distance": "cosine"}, {"fusion": "maps"}, {"position": "mean"}])
def test_an_unknown_reading_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"expected {name} out of"):
        Reading(**wrong)
