"""The method is what --method says; an option of another method is an error, whatever its value."""

from dataclasses import asdict, replace

import pytest

from lmpnet_cli.config import DiscoverConfig, EvaluateConfig, ExportConfig, KeypointConfig, SaliencyHistogramConfig
from lmpnet_cli.config.options import flag_of, options_of
from lmpnet_cli.errors import OptionError
from lmpnet_cli.model.reading import DEFAULT_READING

METHODS = ("lmpnet", "parts", "saliency")
CONFIGS = [
    (DiscoverConfig, {"images": "photos"}),
    (EvaluateConfig, {}),
    (SaliencyHistogramConfig, {}),
    (ExportConfig, {"out": "model.onnx"}),
]
GIVEN = {
    "boxes": "boxes.json",
    "classifier": "resnet18",
    "classifier_weights": "a.safetensors",
    "target_class": "heron",
}


def foreign(config, method):
    """Return the options of `config` that belong to other methods than this one."""
    declared = options_of(config).items()
    return [name for name, each in declared if each.methods and not each.shared and method not in each.methods]


@pytest.mark.parametrize(
    ("config", "needed", "method"),
    [(*each, method) for each in CONFIGS[:3] for method in METHODS] + [(*CONFIGS[3], "parts")],
)
def test_an_option_of_another_method_is_an_error_even_at_its_default(config, needed, method):
    assert foreign(config, method)
    for name in foreign(config, method):
        value = GIVEN.get(name, options_of(config)[name].default)
        flag = flag_of(name, value if name == "replica" else None)
        with pytest.raises(
            OptionError,
            match=f"{flag[2:]} belongs to --method .*, but this run uses --method {method}; change or remove",
        ):
            config(**needed, method=method, **{name: value})


def test_switches_are_named_as_they_were_given():
    with pytest.raises(
        OptionError, match=r"^--no-replica belongs to --method lmpnet, but this run uses --method parts"
    ):
        DiscoverConfig(images="x", method="parts", replica=False)
    with pytest.raises(OptionError, match=r"^--replica belongs to --method lmpnet, but this run uses --method parts"):
        DiscoverConfig(images="x", method="parts", replica=True)


def test_without_the_replica_there_is_nothing_to_hide_or_to_fuse():
    for option in ({"mask_radius": 1}, {"fusion": "proposals"}):
        with pytest.raises(OptionError, match="cannot be combined with --no-replica; remove one of"):
            DiscoverConfig(images="x", replica=False, **option)
    config = DiscoverConfig(images="x", replica=False)
    assert (config.mask_radius, config.fusion, config.distance) == (None, None, "squared")


def test_the_model_has_the_same_defaults_as_the_command_line():
    declared = options_of(DiscoverConfig)
    assert {name: declared[name].default for name in asdict(DEFAULT_READING)} == asdict(DEFAULT_READING)


@pytest.mark.parametrize(("config", "needed"), CONFIGS[:3])
@pytest.mark.parametrize("method", METHODS)
def test_options_that_are_not_used_are_recorded_as_null(config, needed, method):
    recorded = config(**needed, method=method).options()
    assert all(recorded[name] is None for name in foreign(config, method))
    assert recorded["method"] == method


def test_options_of_a_method_get_their_defaults():
    windows = {"objects": "one", "boxes": None, "min_confidence": None, "max_objects": None}
    assert DiscoverConfig(images="x", method="lmpnet").method_options() == {
        "k": 5,
        **windows,
        "thr": 3.0,
        "distance": "squared",
        "filters": 512,
        "margin": 0,
        "iterations": 5,
        "replica": True,
        "mask_radius": 1.0,
        "fusion": "proposals",
        "position": "centroid",
    }
    saliency = DiscoverConfig(images="x", method="saliency").method_options()
    assert (saliency["k"], saliency["patch"], saliency["keep"], saliency["panels"]) == (None, 16, 0.4, False)
    assert "thr" not in saliency
    assert DiscoverConfig(images="x", method="saliency", k=150).method_options()["k"] == 150
    assert DiscoverConfig(images="x", method="parts").method_options() == windows | {"k": None}
    assert DiscoverConfig(images="x", method="parts", k=3).method_options() == windows | {"k": 3}


@pytest.mark.parametrize(
    "config",
    [
        *(DiscoverConfig(images="x", method=method) for method in METHODS),
        DiscoverConfig(images="x", checkpoint="model.onnx", thr=2),
        DiscoverConfig(images="x.mp4", backend="onnx", method="lmpnet"),
        EvaluateConfig(predictions="points.json"),
    ],
)
def test_a_configuration_can_be_built_from_its_own_values(config):
    assert replace(config) == config
    assert type(config)(**vars(config)) == config


def test_no_method_runs_where_a_file_of_predictions_is_scored():
    config = EvaluateConfig(predictions="points.json")
    assert (config.method, config.k, config.thr, config.patch) == (None, None, None, None)
    for given in ({"method": "lmpnet"}, {"k": 5}, {"thr": 3}, {"panels": True}, {"replica": False}):
        flag = flag_of(*next(iter(given.items())))
        with pytest.raises(OptionError, match=f"^{flag} cannot be combined with --predictions"):
            EvaluateConfig(predictions="points.json", **given)


def test_an_onnx_model_fixes_the_options_that_were_not_given():
    config = DiscoverConfig(images="x", checkpoint="model.onnx", thr=3)
    assert (config.method, config.k, config.thr, config.filters, config.replica) == (None, None, 3.0, None, None)
    assert config.backend_used == "onnx"
    for given in ({"iterations": 5}, {"keep": 0.4}):
        with pytest.raises(OptionError, match="cannot be combined with"):
            DiscoverConfig(images="x", checkpoint="model.onnx", **given)
    with pytest.raises(OptionError, match=r"^--thr belongs to --method lmpnet, but this run uses --method parts"):
        DiscoverConfig(images="x", checkpoint="model.onnx", method="parts", thr=3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backend": "onnx", "method": "saliency"}, "^--method saliency cannot be combined with --backend onnx"),
        ({"backend": "onnx", "precision": "bf16"}, "^--precision bf16 cannot be combined with --backend onnx"),
        ({"backend": "onnx", "method": "lmpnet", "iterations": 5}, "^--iterations cannot be combined with --backend"),
        (
            {"backend": "torch", "checkpoint": "model.onnx"},
            "--backend torch cannot run the ONNX model model.onnx; remove --backend",
        ),
        ({"backend": "jax"}, "--backend jax is unknown"),
        ({"actors": 2}, "^--actors needs --backend ray"),
        ({"backend": "onnx", "actors": 2}, "^--actors needs --backend ray"),
        ({"every": 1}, "^--every applies only to videos; remove it"),
    ],
)
def test_an_option_of_another_backend_or_input_is_an_error(given, message):
    with pytest.raises(OptionError, match=message):
        DiscoverConfig(images="photos", **given)


def test_the_options_that_decide_keypoints():
    decides = DiscoverConfig(images="x", method="lmpnet", out="a", workers=3).deciding_options()
    assert decides == DiscoverConfig(images="y", method="lmpnet", out="b", batch_size=1, report=True).deciding_options()
    for changed in ({"thr": 2}, {"k": 4}, {"margin": 1}, {"replica": False}, {"size": 96}, {"seed": 1}):
        assert decides != DiscoverConfig(images="x", method="lmpnet", **changed).deciding_options(), changed
    assert decides == DiscoverConfig(images="x", method="lmpnet", iterations=1).deciding_options()


def test_combinations_of_saliency_options():
    for given, message in (
        ({"classifier_weights": "a"}, "^--classifier-weights needs --classifier"),
        ({"classifier": "vgg16", "checkpoint": "a"}, "^--classifier cannot be combined with --checkpoint"),
        ({"patch": 8, "coarse_stride": 9}, r"^--coarse-stride 9 is out of range; allowed: 1 to 8 \(--patch\)"),
    ):
        with pytest.raises(OptionError, match=message):
            KeypointConfig(method="saliency", **given)
