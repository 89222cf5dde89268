"""Landmark regression against a literal twin, NMI and ARI against their formulas, and hand-worked cases."""

import itertools
from math import comb

import numpy as np
import pytest
import torch

from lmpnet_cli.evaluation.part_metrics import (
    agreement,
    consistency,
    cross_regression,
    flip_error,
    in_box,
    landmark_regression,
    read_maps,
    visibility,
    voronoi,
)


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


def ground_truths(count, k=3, parts=4, seed=0):
    random = np.random.default_rng(seed)
    landmarks = random.uniform(size=(count, parts, 2))
    keypoints = landmarks[:, :k] + random.normal(scale=0.1, size=(count, k, 2))
    landmarks[random.uniform(size=(count, parts)) < 0.3] = np.nan
    return np.nan_to_num(keypoints, nan=0.5), landmarks


def test_regression_is_the_protocols():
    fit, test = ground_truths(80), ground_truths(30, seed=1)
    result = landmark_regression(fit, test)
    assert result.error == pytest.approx(literal_regression(fit, test))
    visible = ~np.isnan(test[1][..., 0])
    assert result.error == pytest.approx(np.average(result.by_landmark, weights=visible.sum(0)))  # micro average
    assert result.by_landmark[3] > 2 * result.by_landmark[0]  # no keypoint follows the fourth one


@pytest.mark.parametrize("count", [4, 7, 40])  # fewer images than coordinates, too
def test_regression_is_that_of_scikit_learn(count):
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import StandardScaler

    (keypoints, landmarks), (found, truth) = ground_truths(count, seed=2), ground_truths(30, seed=1)
    landmarks, truth = np.nan_to_num(landmarks, nan=0.3), np.nan_to_num(truth, nan=0.3)
    keypoints[:, 1], found[:, 1, 0] = 0.1, np.nan  # one that never moves in the images of the fit
    keypoints[0, 0], found[3, 0] = np.nan, np.nan
    errors = []
    for part in range(4):
        inputs, outputs = StandardScaler(), StandardScaler()
        known = np.nan_to_num(inputs.fit_transform(keypoints.reshape(count, -1)))
        line = LinearRegression(fit_intercept=False).fit(known, outputs.fit_transform(landmarks[:, part]))
        given = np.nan_to_num(inputs.transform(found.reshape(30, -1)))
        guess = outputs.inverse_transform(line.predict(given))
        errors.append(100 * np.linalg.norm(guess - truth[:, part], axis=1).mean())
    result = landmark_regression((keypoints, landmarks), (found, truth))
    assert result.by_landmark == pytest.approx(errors)


def test_landmarks_that_are_linear_in_the_keypoints_have_no_error():
    random = np.random.default_rng(0)
    keypoints = random.uniform(size=(50, 2, 2))
    landmarks = np.stack([2 * keypoints[:, 0] - keypoints[:, 1] + 3, keypoints.mean(1)], 1)
    assert landmark_regression((keypoints[:30], landmarks[:30]), (keypoints[30:], landmarks[30:])).error < 1e-9


def test_a_missing_keypoint_counts_as_one_at_its_mean():
    (keypoints, landmarks), test = ground_truths(80), ground_truths(1, seed=3)
    test[1][:] = 0.4
    missing = test[0].copy()
    missing[0, 1] = np.nan
    landmarks = np.nan_to_num(landmarks, nan=0.3)  # all shown, so that the mean is that of all images
    at_mean = test[0].copy()
    at_mean[0, 1] = keypoints[:, 1].mean(0)
    one, other = (landmark_regression((keypoints, landmarks), (each, test[1])).error for each in (missing, at_mean))
    assert one == pytest.approx(other)


def test_keypoints_that_never_move_predict_the_mean():
    _, landmarks = ground_truths(60)
    _, truth = ground_truths(20, seed=5)
    still = [np.full((n, 1, 2), 0.5) for n in (60, 20)]
    errors = 100 * np.linalg.norm(np.nanmean(landmarks, 0) - truth, axis=2)
    assert landmark_regression((still[0], landmarks), (still[1], truth)).error == pytest.approx(np.nanmean(errors))


def test_nothing_visible_is_refused_and_a_hidden_landmark_is_left_out():
    keypoints, landmarks = ground_truths(20)
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


def test_maps_are_read_where_the_landmark_lies_after_bilinear_enlargement():
    random = np.random.default_rng(0)
    shares = torch.from_numpy(random.uniform(size=(2, 4, 3, 5)))
    # the centre of pixel (row, column) of maps enlarged 10 times
    pixels = [(0, 0), (29, 49), (14, 20), (7, 33), (22, 8)]
    landmarks = np.array([[((column + 0.5) / 50, (row + 0.5) / 30) for row, column in pixels] + [(np.nan, np.nan)]] * 2)
    large = torch.nn.functional.interpolate(shares, scale_factor=10, mode="bilinear", align_corners=False).argmax(1)
    expected = [[int(large[image, row, column]) for row, column in pixels] + [-1] for image in range(2)]
    assert read_maps(shares, landmarks).tolist() == expected


def test_folds_score_each_image_by_a_fit_on_the_others():
    keypoints, landmarks = ground_truths(23)
    result = cross_regression(keypoints, landmarks, folds=5)
    errors = []
    for fold in range(5):
        own = np.arange(23) % 5 == fold
        part = landmark_regression((keypoints[~own], landmarks[~own]), (keypoints[own], landmarks[own]))
        errors.append((part.error, (~np.isnan(landmarks[own][..., 0])).sum()))
    assert result.error == pytest.approx(np.average([e for e, _ in errors], weights=[n for _, n in errors]))


def test_a_keypoint_that_is_never_found_says_nothing():
    fit, test = ground_truths(40), ground_truths(10, seed=1)
    for keypoints, _ in (fit, test):
        keypoints[:, 2] = np.nan
    one = landmark_regression(fit, test).error
    assert one == pytest.approx(landmark_regression((fit[0][:, :2], fit[1]), (test[0][:, :2], test[1])).error)


def test_consistency_counts_keypoints_that_keep_to_one_landmark():
    landmarks = np.zeros((10, 2, 2))
    landmarks[:, 1] = 0.5
    keypoints = np.zeros((10, 3, 2))
    keypoints[:, 0] = 0.15, -0.16  # within 36/224 = 0.1607 in x and in y, always
    keypoints[:7, 1], keypoints[7:, 1] = 0.5, 0.9  # on the second landmark 7 times of 10
    keypoints[:, 2] = np.nan
    keypoints[:5, 2] = 0.4, 0.6  # found 5 times, on the second landmark each time
    assert consistency(keypoints, landmarks) == pytest.approx(200 / 3)
    landmarks[:3, 0] = np.nan  # hidden landmarks do not count
    assert consistency(keypoints, landmarks) == pytest.approx(200 / 3)


def test_visibility_is_precision_and_recall_over_all_pairs():
    scores = np.array([0.9, 0.8, 0.7, 0.4, 0.2])
    shown = np.array([True, False, True, True, False])
    values = visibility(scores, shown, 0.7)
    assert (values["precision"], values["recall"]) == (pytest.approx(200 / 3), pytest.approx(200 / 3))
    assert values["visible"] == 60
    # precision at each true pair, in falling order of scores
    assert values["average_precision"] == pytest.approx(100 * (1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert [point[2] == 0.7 for point in values["curve"]].count(True) == 1
    assert visibility(scores, shown, 0.95)["precision"] is None


def test_points_in_the_box_and_mirrored():
    box = np.array([[10.0, 20, 40, 80]])
    np.testing.assert_allclose(
        in_box(np.array([[[10.0, 20], [50, 100], [30, 40]]]), box), [[[0, 0], [1, 1], [0.5, 0.25]]]
    )
    points = np.array([[[0.0, 5], [np.nan, np.nan]]])
    mirrored = np.array([[[95.0, 8], [3, 3]]])  # of 100 columns: 99 - 95 = 4 beside, 3 below
    assert flip_error(points, mirrored, np.array([100.0]), np.array([50.0])) == pytest.approx(10)
