"""The starting point: principal components, the object's threshold, centroids."""

import numpy as np
import pytest
import torch
from drawn_parts import drawn, reduced

from lmpnet_cli.model.cell_features import EXTREME, centred_features
from lmpnet_cli.model.feature_pca import FeaturePCA
from lmpnet_cli.parts.initialization import initial_centroids, object_threshold


def test_principal_components_are_those_of_a_singular_value_decomposition():
    maps, _ = drawn(8)
    pca = FeaturePCA()
    for batch in maps.split(3):
        pca.update(batch)
    mean, components = pca.components(4)
    features = centred_features(maps).flatten(0, 2).double()
    _, _, expected = np.linalg.svd((features - features.mean(0)).numpy(), full_matrices=False)
    np.testing.assert_allclose(mean.numpy(), features.mean(0).numpy(), atol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(expected[:4].T * components.numpy(), 0)), 1, atol=1e-3)


def test_the_object_is_where_filters_are_active():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(-0.6, 0.1, 700), random.normal(1.4, 0.2, 300)])
    for shift in (0, 5):
        threshold = object_threshold(torch.from_numpy(values + shift).float())
        assert -0.6 < threshold - shift < 1.0  # between the two kinds, nearer to the lower one
        assert ((values + shift > threshold) == (np.arange(1000) >= 700)).mean() > 0.9
    assert object_threshold(torch.zeros(5)) == 0


def test_too_few_different_cells_are_refused():
    is_object = torch.zeros(2, 4, 4, dtype=torch.bool)
    is_object[:, :2] = True
    with pytest.raises(ValueError, match="at least 3 different map cells"):
        initial_centroids(torch.ones(2, 4, 4, 5), is_object, 3, 1, 0)


def test_silent_cells_hardly_change_mean_and_deviation():
    maps = drawn(40)[0] + 0.1
    before, with_silent = FeaturePCA(), FeaturePCA()
    before.update(maps)
    silent = maps.clone()
    silent[:, :, 12:, :3] = 0  # log 1e-6 where the others have about 0
    with_silent.update(silent)
    mean, deviation = before.activation_statistics().tolist()
    silent_mean, silent_deviation = with_silent.activation_statistics().tolist()
    assert abs(silent_mean - mean) < deviation / 4 and silent_deviation < 1.5 * deviation


def test_silent_cells_do_not_turn_everything_into_the_object():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(-0.6, 0.5, 7000), random.normal(1.4, 0.5, 3000)])
    threshold = object_threshold(torch.from_numpy(values).float())
    silent = np.concatenate([values, np.full(50, -EXTREME)])  # as `PartHead.cells` clips them
    assert object_threshold(torch.from_numpy(silent).float()) == pytest.approx(threshold, abs=0.1)
    silent[-50:] = -20  # without clipping
    assert object_threshold(torch.from_numpy(silent).float()) < -1


def test_features_are_clipped_where_the_activation_carries_no_information():
    part_head, _ = reduced(drawn(4)[0])
    maps = drawn(4)[0]
    maps[:, :, 5:8, 5:8] = 0
    activations = part_head.cells(maps)[..., -1]
    assert activations.min() == -EXTREME and activations.half().isfinite().all()
