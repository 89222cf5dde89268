import math

import pytest
import torch

from lmpnet_cli.model.fusion import fuse, select_voters


def peak(row, column, height=1.0, size=14):
    maps = torch.zeros(size, size)
    maps[row, column] = height
    return maps


def stack(*maps):
    return torch.stack(maps)[None]


def keypoints(*maps, filters=None, margin=0, threshold=3.0, **options):
    """The detections of one network's maps, or of a network's and its replica's."""
    return fuse(select_voters(maps, filters, margin), thresholds=(threshold,), **options)[0]


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
    assert keypoints(stack(maps), k=1).positions[0, 0].tolist() == [5.0, 5.25]


def test_score_is_the_share_of_the_activation_that_voted():
    output = stack(peak(2, 2, 3.0), peak(2, 2, 2.0), peak(10, 10, 5.0))
    assert keypoints(output, k=2).scores[0].tolist() == pytest.approx([0.5, 0.5])


def test_the_votes_of_both_networks_fall_to_one_erasing_rule():
    network, replica = stack(peak(2, 2), peak(2, 3)), stack(peak(3, 2, 2.0), peak(10, 10))
    result = keypoints(network, replica, k=5, threshold=3.0)
    assert (~result.scores.isnan()).sum() == 2
    assert result.replica_shares[0, :2].tolist() == pytest.approx([0.5, 1.0])


def test_threshold_counts_cells_of_a_14_grid_whatever_the_map():
    """Two peaks 4 cells apart on a 28 x 28 map are 2 apart on the grid: erased at thr 2.1, kept at thr 2."""
    maps = stack(peak(8, 8, 2.0, size=28), peak(8, 12, 1.0, size=28))
    found = [int((~keypoints(maps, k=2, threshold=thr).scores.isnan()).sum()) for thr in (2.0, 2.1)]
    assert found == [2, 1]


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
    result = keypoints(output, k=9, threshold=5)
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
