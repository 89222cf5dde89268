import itertools
import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmpnet_cli.evaluation.pck import GroundTruth, close_pairs, greedy_pck, score

NAN = math.nan


def points(*rows):
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def slow_any_match(predicted, truth, tolerance):
    return [any(math.dist(p, t) < tolerance for t in truth) for p in predicted]


def slow_matchings(predicted, truth, tolerance):
    """Every one-to-one matching: (matches, sum of distances, matched predictions)."""
    near = {(i, j): math.dist(p, t) for i, p in enumerate(predicted) for j, t in enumerate(truth)}
    near = {output: distance for output, distance in near.items() if distance < tolerance}
    size = max(len(predicted), len(truth))
    for order in permutations(range(size)):
        pairs = [output for output in enumerate(order) if output in near]
        yield len(pairs), sum(near[output] for output in pairs), [i in dict(pairs) for i in range(len(predicted))]


def slow_one_to_one(predicted, truth, tolerance):
    return min(slow_matchings(predicted, truth, tolerance), key=lambda each: (-each[0], each[1]))[2]


def random_scene(seed):
    random = np.random.default_rng(seed)
    predicted, truth = (random.uniform(0, 10, (random.integers(0, 6), 2)) for _ in range(2))
    for rows in (predicted, truth):
        rows[random.random(len(rows)) < 0.2] = NAN
    return predicted, truth, random.uniform(0.5, 6)


@pytest.mark.parametrize("seed", range(60))
def test_greedy_pck_equals_its_slow_twins(seed):
    predicted, truth, tolerance = random_scene(seed)
    assert greedy_pck(predicted, truth, tolerance).tolist() == slow_any_match(predicted, truth, tolerance)
    assert greedy_pck(predicted, truth, tolerance, True).tolist() == slow_one_to_one(predicted, truth, tolerance)


grid = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(grid, grid, st.sampled_from([0.0, 1.0, 1.5, 2.5, 1e9]))
def test_a_matching_has_most_matches_and_then_the_smallest_sum_also_with_ties(predicted, truth, tolerance):
    predicted, truth = points(*predicted), points(*truth)
    all_of_them = list(slow_matchings(predicted, truth, tolerance))
    best = min((-count, total) for count, total, _ in all_of_them)
    correct = greedy_pck(predicted, truth, tolerance, one_to_one=True).tolist()
    reached = min((-count, total) for count, total, rows in all_of_them if rows == correct)
    assert reached == pytest.approx(best)


@pytest.mark.parametrize("one_to_one", [False, True])
def test_trivial_realistic_and_outlier(one_to_one):
    truth = points((10, 10), (50, 20), (30, 80), (90, 90))
    assert greedy_pck(truth, truth, 1.0, one_to_one).all()
    assert greedy_pck(truth[::-1] + 0.5, truth, 1.0, one_to_one).all()
    away = truth.copy()
    away[2] = 1000, 1000
    assert greedy_pck(away, truth, 1.0, one_to_one).tolist() == [True, True, False, True]


@pytest.mark.parametrize("one_to_one", [False, True])
def test_a_point_at_exactly_the_tolerance_is_wrong(one_to_one):
    truth = points((0, 0))
    assert not greedy_pck(points((3, 4)), truth, 5.0, one_to_one).any()
    assert greedy_pck(points((3, 4)), truth, np.nextafter(5.0, 6.0), one_to_one).all()


@pytest.mark.parametrize("one_to_one", [False, True])
@pytest.mark.parametrize("tolerance", [1.0, 1e300, math.inf, math.nan])
def test_missing_rows_match_nothing_whatever_the_tolerance(one_to_one, tolerance):
    correct = greedy_pck(points((NAN, NAN), (1, 1)), points((1, 1), (NAN, NAN)), tolerance, one_to_one)
    assert correct.tolist() == [False, not math.isnan(tolerance)]
    assert greedy_pck(points((1, 1)), points(), tolerance, one_to_one).tolist() == [False]
    assert greedy_pck(points(), points((1, 1)), tolerance, one_to_one).tolist() == []


def test_identical_predictions_count_once_one_to_one():
    assert greedy_pck(points(*[(5, 5)] * 5), points((5, 5), (99, 99)), 2.0).sum() == 5
    assert greedy_pck(points(*[(5, 5)] * 5), points((5, 5), (99, 99)), 2.0, one_to_one=True).sum() == 1


@pytest.mark.parametrize("shapes", [((3,), (2, 2)), ((2, 2), (2, 3)), ((1, 2, 2), (2, 2))])
def test_other_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="expected arrays"):
        greedy_pck(np.zeros(shapes[0]), np.zeros(shapes[1]), 1.0)


def test_close_pairs_by_hand():
    predicted = np.array([points((0, 0), (1, 0), (3, 0), (NAN, NAN)), points((0, 0), (9, 0), (NAN, NAN), (NAN, NAN))])
    assert close_pairs(predicted, np.array([2.0, 2.0])) == (1, 4)
    assert close_pairs(predicted, np.array([1.0, 9.1])) == (1, 4)  # compared with <
    assert close_pairs(predicted[:, :1], np.array([2.0, 2.0])) == (0, 0)


SCENES = [
    GroundTruth(points((10, 10), (50, 50), (NAN, NAN)), (200, 100), (0.0, 0.0, 20.0, 50.0)),  # tolerances 10 and 5
    GroundTruth(points((0, 0), (NAN, NAN), (NAN, NAN)), (100, 300), None),  # tolerance 10, no box
]
PREDICTIONS = [points((17, 10), (10, 12), (NAN, NAN)), points((0, 5), (80, 80), (99, 299))]


def test_score_by_hand():
    row = score(PREDICTIONS, SCENES, alpha=0.1)
    assert list(row) == [
        "found",
        "greedy_pck",
        "greedy_pck_one_to_one",
        "greedy_pck_bbox",
        "greedy_pck_bbox_one_to_one",
        "coverage",
        "duplicate_rate",
        "landmark_recall",
    ]
    assert row["found"] == 2.5
    low, high = row["greedy_pck"].pop("ci95")
    assert 33.33 <= low <= 50 <= high <= 66.67
    assert row["greedy_pck"] == {"kp": [100.0, 50.0, 0.0], "mean": 50.0, "found_only_mean": 60.0}
    one_to_one = row["greedy_pck_one_to_one"]
    assert (one_to_one["kp"], one_to_one["mean"]) == ([50.0, 50.0, 0.0], 33.33)
    box = row["greedy_pck_bbox"]  # of the first scene alone
    assert (box["kp"], box["mean"], box["found_only_mean"]) == ([0.0, 100.0, 0.0], 33.33, 50.0)
    assert row["coverage"] == 66.67  # 2 of 3 visible parts
    assert row["duplicate_rate"] == 25.0  # 1 of 1 pair, 0 of 3
    assert row["landmark_recall"] == [100.0, 0.0, None]


def test_score_is_the_same_for_the_same_seed_and_without_boxes_or_keypoints_has_no_figure():
    assert score(PREDICTIONS, SCENES, 0.1, seed=4) == score(PREDICTIONS, SCENES, 0.1, seed=4)
    row = score([np.full((3, 2), NAN)], SCENES[1:], 0.1)
    assert row["greedy_pck_bbox"] is None and row["duplicate_rate"] is None
    assert row["greedy_pck"] == {"kp": [0.0] * 3, "mean": 0.0, "found_only_mean": None, "ci95": [0.0, 0.0]}


def test_score_equals_a_loop_over_images_and_points():
    random = np.random.default_rng(5)
    ground_truths, predictions = [], []
    for index in range(40):
        size = (int(random.integers(60, 200)), int(random.integers(60, 200)))
        parts = random.uniform(0, 1, (6, 2)) * size
        parts[random.random(6) < 0.3] = NAN
        parts[0] = np.array(size) / 2
        box = None if index % 4 == 0 else (0.0, 0.0, *random.uniform(20, 100, 2))
        found = parts[random.integers(0, 6, 5)] + random.normal(0, 8, (5, 2))  # some are missing, some meet
        ground_truths.append(GroundTruth(parts, size, box))
        predictions.append(found)
    row = score(predictions, ground_truths, 0.1)
    for key, one_to_one, boxed in (
        ("greedy_pck", False, False),
        ("greedy_pck_one_to_one", True, False),
        ("greedy_pck_bbox", False, True),
        ("greedy_pck_bbox_one_to_one", True, True),
    ):
        hits = [
            greedy_pck(p, s.visible, 0.1 * (max(s.bbox[2:]) if boxed else min(s.size)), one_to_one)
            for p, s in zip(predictions, ground_truths, strict=True)
            if s.bbox or not boxed
        ]
        assert row[key]["kp"] == pytest.approx(100 * np.mean(hits, axis=0), abs=0.006)
        assert row[key]["mean"] == pytest.approx(100 * np.mean(hits), abs=0.006)
    reached, shown, close, pairs = np.zeros(6), np.zeros(6), 0, 0
    for found, ground_truth in zip(predictions, ground_truths, strict=True):
        tolerance = 0.1 * min(ground_truth.size)
        for part, place in enumerate(ground_truth.landmarks):
            shown[part] += not np.isnan(place[0])
            reached[part] += any(math.dist(place, point) < tolerance for point in found)
        there = [point for point in found if not np.isnan(point[0])]
        for one, other in itertools.combinations(there, 2):
            pairs, close = pairs + 1, close + (math.dist(one, other) < tolerance)
    assert 0 < close < pairs and 0 < reached.sum() < shown.sum()
    assert row["landmark_recall"] == pytest.approx(100 * reached / shown, abs=0.006)
    assert row["coverage"] == pytest.approx(100 * reached.sum() / shown.sum(), abs=0.006)
    assert row["duplicate_rate"] == pytest.approx(100 * close / pairs, abs=0.006)
