"""Which landmarks are detected, and how often."""

import numpy as np

from lmpnet_cli.saliency.histogram import histogram, matched

NAN = [np.nan, np.nan]


def test_a_detection_stands_for_the_nearest_landmark_only():
    landmarks = np.array([[0.0, 0.0], [10.0, 0.0], NAN])
    # 4 from the first, 6 from the second: within the tolerance of both, and for the first alone
    assert matched(np.array([[4.0, 0.0]]), landmarks, 7).tolist() == [True, False, False]
    assert matched(np.array([[4.0, 0.0]]), landmarks, 4).tolist() == [False, False, False]  # strictly nearer
    # several detections on one landmark count once; missing ones for nothing
    assert matched(np.array([[1.0, 0.0], [0.0, 1.0], NAN, [9.0, 0.0]]), landmarks, 3).tolist() == [True, True, False]


def test_empty_sides():
    assert matched(np.array([NAN, NAN]), np.zeros((2, 2)), 5).tolist() == [False, False]
    assert matched(np.zeros((3, 2)), np.array([NAN, NAN]), 5).tolist() == [False, False]


def test_counts_rates_and_the_most_frequent():
    landmarks = [np.array([[0.0, 0], [5, 5], NAN]), np.array([[0.0, 0], NAN, NAN]), np.array([[1.0, 0], [3, 3], NAN])]
    hits = [np.array([True, True, False]), np.array([True, False, False]), np.array([False, True, False])]
    counts = histogram(hits, landmarks)
    assert counts.images == 3
    assert counts.visible.tolist() == [3, 2, 0] and counts.detected.tolist() == [2, 2, 0]
    np.testing.assert_allclose(counts.rates, [2 / 3, 1.0, np.nan])
    assert counts.most_frequent == 0  # the first of equals
    assert histogram([np.zeros(3, bool)], landmarks[:1]).most_frequent is None
