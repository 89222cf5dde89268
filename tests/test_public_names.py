"""The Python names of the contract, loaded on first use."""

import inspect
import subprocess
import sys

import pytest
from random_states import generators

import lmpnet_cli as lmpnet
from lmpnet_cli.config import DiscoverConfig, EvaluateConfig, TrainConfig
from lmpnet_cli.config.options import options_of

SIGNATURES = {
    "leaky_max_pool": ["x", "epsilon"],
    "feature_map_entropy": ["maps"],
    "learnable_clustering": ["x", "k", "iterations", "threshold", "distance"],
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
    assert (defaults["k"], defaults["threshold"], defaults["distance"]) == (5, 3.0, "squared")
    assert inspect.signature(lmpnet.leaky_max_pool).parameters["epsilon"].default == 0.1


def test_names_are_listed_before_they_are_loaded():
    program = "import lmpnet_cli, sys; print('torch' in sys.modules, set(lmpnet_cli.__all__) - set(dir(lmpnet_cli)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "set()"]


def test_all_names_are_there_and_no_others_are_invented():
    assert all(getattr(lmpnet, name).__name__ == name for name in lmpnet.__all__)
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        lmpnet.magic  # noqa: B018


def test_help_lists_every_option_with_type_default_and_range():
    for name, config in {"discover": DiscoverConfig, "evaluate": EvaluateConfig, "train": TrainConfig}.items():
        listed = getattr(lmpnet, name).__doc__.split("Options:")[1]
        for option, declared in options_of(config).items():
            assert (f" {option} (" in listed) != declared.positional
    assert "k (int | None = 5): Largest number of keypoints" in lmpnet.discover.__doc__
    assert "margin (int | None = 0): " in lmpnet.discover.__doc__ and "Allowed: 0 to 64." in lmpnet.discover.__doc__


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("discover", {"method": "lmpnet"}),
        ("discover", {"method": "lmpnet", "workers": 2}),
        ("discover", {"method": "saliency", "coarse_stride": 16}),
        ("match", {}),
        ("visualize_filters", {"columns": 3, "rows": 2}),
    ],
)
def test_the_random_generators_of_the_caller_are_left_alone(name, options, birds, named):
    images = sorted((birds / "images").rglob("*.jpg"))[:3]
    before = generators()
    getattr(lmpnet, name)(images, checkpoint=named, device="cpu", **{"workers": 0} | options)
    assert generators() == before


def test_scoring_leaves_the_random_generators_of_the_caller_alone(birds, named):
    before = generators()
    lmpnet.evaluate(birds, checkpoint=named, device="cpu", workers=0, stability=True)
    assert generators() == before
