"""Landmark regression against a literal twin, NMI and ARI against their formulas, and hand-worked cases."""

import itertools
from math import comb

import numpy as np
import pytest

from lmpnet_cli.identity_metrics import agreement, flip_error, in_box, landmark_regression, read_maps, voronoi


def literal_regression(fit, test):
    """Protocol A word by word, with the normal equations."""
    (keypoints, landmarks), (found, truth) = fit, test
    total, count = 0.0, 0
    for part in range(truth.shape[1]):
        rows = [i for i in range(len(landmarks)) if not np.isnan(landmarks[i, part, 0])]
        x = np.array([keypoints[i].ravel() for i in rows])
        y = np.array([landmarks[i, part] for i in rows])
        mean_x, std_x, mean_y, std_y = x.mean(0), x.std(0), y.mean(0), y.std(0)
        beta = np.linalg.solve(
            ((x - mean_x) / std_x).T @ ((x - mean_x) / std_x), ((x - mean_x) / std_x).T @ ((y - mean_y) / std_y)
        )
        for i in range(len(truth)):
            if not np.isnan(truth[i, part, 0]):
                guess = ((found[i].ravel() - mean_x) / std_x) @ beta * std_y + mean_y
                total, count = total + np.hypot(*(guess - truth[i, part])), count + 1
    return 100 * total / count


def scenes(count, k=3, parts=4, seed=0):
    random = np.random.default_rng(seed)
    landmarks = random.uniform(size=(count, parts, 2))
    keypoints = landmarks[:, :k] + random.normal(scale=0.1, size=(count, k, 2))
    landmarks[random.uniform(size=(count, parts)) < 0.3] = np.nan
    return np.nan_to_num(keypoints, nan=0.5), landmarks


def test_regression_is_the_protocols():
    fit, test = scenes(80), scenes(30, seed=1)
    result = landmark_regression(fit, test)
    assert result.error == pytest.approx(literal_regression(fit, test))
    visible = ~np.isnan(test[1][..., 0])
    assert result.error == pytest.approx(np.average(result.by_landmark, weights=visible.sum(0)))  # micro average
    assert result.by_landmark[3] > 2 * result.by_landmark[0]  # no keypoint follows the fourth one


def test_landmarks_that_are_linear_in_the_keypoints_have_no_error():
    random = np.random.default_rng(0)
    keypoints = random.uniform(size=(50, 2, 2))
    landmarks = np.stack([2 * keypoints[:, 0] - keypoints[:, 1] + 3, keypoints.mean(1)], 1)
    assert landmark_regression((keypoints[:30], landmarks[:30]), (keypoints[30:], landmarks[30:])).error < 1e-9


def test_a_missing_keypoint_counts_as_one_at_its_mean():
    (keypoints, landmarks), test = scenes(80), scenes(1, seed=3)
    test[1][:] = 0.4
    missing = test[0].copy()
    missing[0, 1] = np.nan
    landmarks = np.nan_to_num(landmarks, nan=0.3)  # all shown, so that the mean is that of all images
    at_mean = test[0].copy()
    at_mean[0, 1] = keypoints[:, 1].mean(0)
    one, other = (landmark_regression((keypoints, landmarks), (each, test[1])).error for each in (missing, at_mean))
    assert one == pytest.approx(other)


def test_keypoints_that_never_move_predict_the_mean():
    _, landmarks = scenes(60)
    _, truth = scenes(20, seed=5)
    still = [np.full((n, 1, 2), 0.5) for n in (60, 20)]
    errors = 100 * np.linalg.norm(np.nanmean(landmarks, 0) - truth, axis=2)
    assert landmark_regression((still[0], landmarks), (still[1], truth)).error == pytest.approx(np.nanmean(errors))


def test_nothing_visible_is_refused_and_a_hidden_landmark_is_left_out():
    keypoints, landmarks = scenes(20)
    hidden = np.full_like(landmarks, np.nan)
    with pytest.raises(ValueError, match="received none"):
        landmark_regression((keypoints, landmarks), (keypoints, hidden))
    hidden[:, 0] = landmarks[:, 0]
    result = landmark_regression((keypoints, landmarks), (keypoints, hidden))
    assert np.isnan(result.by_landmark[1:]).all() and result.error == pytest.approx(result.by_landmark[0])


def test_nmi_and_ari_are_their_formulas():
    random = np.random.default_rng(0)
    landmarks = random.integers(0, 4, 300)
    parts = np.where(random.uniform(size=300) < 0.5, landmarks, random.integers(0, 3, 300))
    table = np.array([[((landmarks == a) & (parts == b)).sum() for b in range(4)] for a in range(4)])
    share = table / 300
    rows, columns = share.sum(1), share.sum(0)
    information = sum(
        share[a, b] * np.log(share[a, b] / (rows[a] * columns[b]))
        for a, b in itertools.product(range(4), repeat=2)
        if share[a, b]
    )
    entropy = [-(each * np.log(each, where=each > 0, out=np.zeros(4))).sum() for each in (rows, columns)]
    pairs = sum(comb(n, 2) for n in table.ravel().tolist())
    a, b = (sum(comb(n, 2) for n in table.sum(axis).tolist()) for axis in (0, 1))
    chance = a * b / comb(300, 2)
    expected = (100 * 2 * information / sum(entropy), 100 * (pairs - chance) / ((a + b) / 2 - chance))
    assert agreement(landmarks, parts) == pytest.approx(expected)


def test_voronoi_takes_the_nearest_keypoint_that_was_found():
    landmarks = np.array([[[0.0, 0], [10, 0]], [[0.0, 0], [10, 0]], [[1.0, 1], [np.nan, np.nan]]])
    keypoints = np.array([[[1.0, 0], [9, 0]], [[2.0, 0], [8, 0]], [[np.nan, np.nan], [500, 0]]])
    # pairs (0, 0), (1, 1), (0, 0), (1, 1), (0, 1)
    assert voronoi(keypoints, landmarks) == pytest.approx(
        agreement(np.array([0, 1, 0, 1, 0]), np.array([0, 1, 0, 1, 1]))
    )
    none = np.full((3, 2, 2), np.nan)
    assert voronoi(none, landmarks)[0] == pytest.approx(0)


def test_maps_are_read_where_the_landmark_lies():
    labels = np.array([[[0, 1, 2], [3, 4, 5]]])  # 2 rows, 3 columns
    places = {(0.0, 0.0): 0, (0.34, 0.49): 1, (0.99, 0.2): 2, (1.0, 1.0): 5, (0.5, 0.5): 4}
    landmarks = np.array([[*places, (np.nan, np.nan)]])
    expected = agreement(np.arange(5), np.array(list(places.values())))
    assert read_maps(labels, landmarks) == pytest.approx(expected)
    twice = np.repeat(labels, 2, 0)
    moved = np.concatenate([landmarks, landmarks[:, [1, 0, 2, 3, 4, 5]]])
    parts = np.array([0, 1, 2, 5, 4, 1, 0, 2, 5, 4])
    assert read_maps(twice, moved) == pytest.approx(agreement(np.tile(np.arange(5), 2), parts))


def test_points_in_the_box_and_mirrored():
    box = np.array([[10.0, 20, 40, 80]])
    np.testing.assert_allclose(
        in_box(np.array([[[10.0, 20], [50, 100], [30, 40]]]), box), [[[0, 0], [1, 1], [0.5, 0.25]]]
    )
    points = np.array([[[0.0, 5], [np.nan, np.nan]]])
    mirrored = np.array([[[95.0, 8], [3, 3]]])  # of 100 columns: 99 - 95 = 4 beside, 3 below
    assert flip_error(points, mirrored, np.array([100.0]), np.array([50.0])) == pytest.approx(10)
