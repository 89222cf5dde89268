import math

import numpy as np
import pytest

from lmpnet_cli.evaluation.baselines import image_centre, leave_one_out_shapes, mean_shape, place_shape, random_points
from lmpnet_cli.evaluation.pck import GroundTruth

NAN = math.nan


def points(*rows):
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


SCENE = GroundTruth(points((10, 10)), (200, 100), None)


def test_baselines_stand_where_they_say():
    assert image_centre(SCENE, 2).tolist() == [[99.5, 49.5]] * 2
    anywhere = random_points(SCENE, 5000, np.random.default_rng(0))
    assert (anywhere >= -0.5).all() and (anywhere < (199.5, 99.5)).all()
    assert np.ptp(anywhere, axis=0) == pytest.approx([200, 100], rel=0.01)


def test_mean_shape_is_a_share_of_the_image_and_is_placed_in_another():
    parts = [points((49.5, 19.5), (NAN, NAN), (NAN, NAN)), points((9.5, 9.5), (4.5, 4.5), (NAN, NAN))]
    shape = mean_shape(parts, [(100, 100), (10, 10)])
    np.testing.assert_allclose(shape, [[0.75, 0.6], [0.5, 0.5], [NAN, NAN]])
    np.testing.assert_allclose(place_shape(shape, SCENE, 2), [[149.5, 59.5], [99.5, 49.5]])
    placed = place_shape(shape, SCENE, 5)
    assert placed.tolist() == [[149.5, 59.5]] * 3 + [[99.5, 49.5]] * 2  # more than there are parts
    assert np.isnan(place_shape(np.full((3, 2), NAN), SCENE, 2)).all()


def test_leaving_one_out_is_the_mean_shape_of_the_others():
    random = np.random.default_rng(0)
    parts = [random.uniform(0, 50, (4, 2)) for _ in range(6)]
    for each in parts:
        each[random.random(4) < 0.4] = NAN
    sizes = [(50 + i, 80 - i) for i in range(6)]
    for left, shape in enumerate(leave_one_out_shapes(parts, sizes)):
        others = [i for i in range(6) if i != left]
        np.testing.assert_allclose(shape, mean_shape([parts[i] for i in others], [sizes[i] for i in others]))
