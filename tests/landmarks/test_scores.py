"""Named PCK: a hand-worked case, and the mean shape."""

import numpy as np
import pytest

from lmpnet_cli.landmarks.scores import mean_shape_in_boxes, named_scores, placed

HIDDEN = [np.nan, np.nan]


def test_a_landmark_counts_only_under_its_own_name():
    beak, tail = [10.0, 10.0], [90.0, 50.0]
    landmarks = np.array([[beak, tail], [beak, HIDDEN], [beak, tail]])
    points = np.array([[[13.0, 14.0], [90.0, 61.0]], [HIDDEN, tail], [tail, beak]])
    row = named_scores(points, landmarks, np.array([100.0, 100.0, 100.0]), ("beak", "tail"))

    # the beak is 5 away, missing, and under the wrong name; the tail 11 away, and under the wrong name
    far = np.hypot(80, 40)
    assert row["by_landmark"]["beak"] == {
        "pck": pytest.approx(100 / 3, abs=0.01),
        "error": pytest.approx((5 + far) / 2, abs=0.01),
        "found": pytest.approx(200 / 3, abs=0.01),
        "imagined": None,
        "images": 3,
    }
    assert row["by_landmark"]["tail"]["pck"] == 0 and row["by_landmark"]["tail"]["imagined"] == 100
    assert row["pck"] == 20 and row["found"] == 80 and row["alpha"] == 0.1
    assert row["error"] == pytest.approx((5 + far + 11 + far) / 4, abs=0.01)


def test_a_distance_of_exactly_the_tolerance_is_too_far():
    points = np.array([[[10.0, 0.0]], [[9.99, 0.0]]])
    assert named_scores(points, np.zeros((2, 1, 2)), np.array([100.0, 100.0]), ("a",))["pck"] == 50


def test_the_mean_shape_is_placed_in_each_box():
    boxes = np.array([[0.0, 0.0, 10.0, 20.0], [100.0, 100.0, 20.0, 10.0]])
    landmarks = np.array([[[2.0, 10.0], HIDDEN], [[108.0, 105.0], HIDDEN]])
    shape = mean_shape_in_boxes(landmarks, boxes)
    np.testing.assert_allclose(shape, [[0.3, 0.5], HIDDEN])
    np.testing.assert_allclose(placed(shape, boxes)[:, 0], [[3.0, 10.0], [106.0, 105.0]])
