"""The Python names of the contract, loaded on first use."""

import inspect

import pytest

import lmpnet_cli as lmpnet

SIGNATURES = {
    "leaky_max_pool": ["x", "epsilon"],
    "feature_map_entropy": ["maps"],
    "learnable_clustering": ["x", "k", "iterations", "threshold"],
    "greedy_pck": ["predicted", "truth", "tolerance", "one_to_one"],
    "load_checkpoint": ["path", "device"],
    "train": ["data", "progress", "options"],
    "discover": ["images", "model", "progress", "options"],
    "visualize_filters": ["images", "model", "progress", "options"],
    "evaluate": ["data", "model", "progress", "options"],
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    assert list(inspect.signature(getattr(lmpnet, name)).parameters) == SIGNATURES[name]


def test_defaults_are_those_of_the_paper():
    defaults = {p.name: p.default for p in inspect.signature(lmpnet.learnable_clustering).parameters.values()}
    assert (defaults["k"], defaults["threshold"]) == (5, 3.0)
    assert inspect.signature(lmpnet.leaky_max_pool).parameters["epsilon"].default == 0.1


def test_all_names_are_there_and_no_others_are_invented():
    assert all(getattr(lmpnet, name) is not None for name in lmpnet.__all__)
    assert set(lmpnet.__all__) <= set(dir(lmpnet))
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        lmpnet.magic  # noqa: B018
