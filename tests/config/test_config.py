import json
import math
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path

import pytest

from lmpnet_cli.config import (
    ConvertConfig,
    DiscoverConfig,
    EvaluateConfig,
    ExportConfig,
    KeypointConfig,
    MatchConfig,
    ModelConfig,
    PartsConfig,
    ReportConfig,
    RunConfig,
    SaliencyHistogramConfig,
    TrainConfig,
    VisualizeConfig,
    default_out,
)
from lmpnet_cli.config.options import options_of, shape_of
from lmpnet_cli.config.train import RECIPES
from lmpnet_cli.errors import OptionError

NEEDED = {
    DiscoverConfig: {"images": "photos"},
    TrainConfig: {"data": "data"},
    PartsConfig: {"data": "photos"},
    MatchConfig: {"images": "photos"},
    ReportConfig: {"result": "results"},
}
EVERY = [
    DiscoverConfig,
    EvaluateConfig,
    SaliencyHistogramConfig,
    VisualizeConfig,
    PartsConfig,
    MatchConfig,
    TrainConfig,
]


def build(config, **options):
    """Return a configuration; options of one method bring their method with them."""
    methods = {method for name in options for method in options_of(config)[name].methods}
    if len(methods) == 1:
        options = {"method": methods.pop()} | options
    return config(**NEEDED.get(config, {}) | options)


def test_defaults_are_those_of_the_contract():
    discover, evaluate = build(DiscoverConfig), build(EvaluateConfig)
    for config in (discover, evaluate, build(VisualizeConfig), build(TrainConfig)):
        shared = (config.device, config.workers, config.seed, config.overwrite, config.out)
        assert shared == ("auto", None, 0, False, None)
    methods = {config: build(config).method for config in (DiscoverConfig, EvaluateConfig, SaliencyHistogramConfig)}
    assert methods == {DiscoverConfig: "lmpnet", EvaluateConfig: "lmpnet", SaliencyHistogramConfig: "saliency"}
    assert ExportConfig(out="model.onnx").method == "lmpnet"
    assert (evaluate.k, evaluate.filters, evaluate.checkpoint, evaluate.parts) == (5, 512, None, True)
    assert (build(DiscoverConfig, method="lmpnet").thr, evaluate.thr) == (3.0, (3.0,))
    assert (evaluate.alpha, evaluate.split) == (0.1, "test")
    assert (build(TrainConfig).batch_size, build(TrainConfig).epsilon) == (32, 0.1)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        build(DiscoverConfig).k = 7


RANGES = [  # configuration, field, flag, values at the borders, values beyond
    (RunConfig, "batch_size", "--batch-size", [1, 4096], [0, -1]),
    (RunConfig, "seed", "--seed", [0, 2**32 - 1], [-1, 2**32, 2**64]),
    (RunConfig, "workers", "--workers", [None, 0, 256], [-1, 257]),
    (RunConfig, "precision", "--precision", ["auto", "32", "bf16"], ["16", "BF16", ""]),
    (ModelConfig, "size", "--size", [None, 32, 2048], [31, 2049, -224]),
    (RunConfig, "max_pixels", "--max-pixels", [1], [0]),
    (ReportConfig, "limit", "--limit", [1, 100_000], [0, 100_001]),
    (ReportConfig, "side", "--side", [None, 32, 4096], [31, 4097]),
    (KeypointConfig, "k", "--k", [None, 1, 1000], [0, 1001, -5]),
    (PartsConfig, "k", "--k", [None, 1, 100], [0, 101, -5]),
    (PartsConfig, "images", "--images", [2, 10**6], [1, 0]),
    (PartsConfig, "patches", "--patches", [1, 100], [0, 101]),
    (MatchConfig, "columns", "--columns", [2, 20], [1, 21]),
    (TrainConfig, "parts", "--parts", [0, 5, 100], [-1, 101]),
    (KeypointConfig, "filters", "--filters", [1, 9999], [0]),
    (KeypointConfig, "margin", "--margin", [0, 3], [-1, 65]),
    (KeypointConfig, "iterations", "--iterations", [1], [0]),
    (KeypointConfig, "method", "--method", ["lmpnet", "parts", "saliency"], ["saliency2", ""]),
    (KeypointConfig, "patch", "--patch", [8, 16, 2048], [0, -1, 2049]),
    (KeypointConfig, "coarse_stride", "--coarse-stride", [1, 8, 16], [0, -8, 17, 1.5]),
    (KeypointConfig, "coarse_weight", "--coarse-weight", [0, 0.5, 1], [-0.1, 1.1, math.nan]),
    (KeypointConfig, "nms_radius", "--nms-radius", [0, 8.5, 256], [-1, 257, math.nan]),
    (KeypointConfig, "draws", "--draws", [1, 100], [0, 101]),
    (KeypointConfig, "keep", "--keep", [0.01, 1], [0, -0.1, 1.1, math.nan]),
    (SaliencyHistogramConfig, "thr", "--thr", [0.001, 3, 392], [0, -1, 392.1, math.nan]),
    (SaliencyHistogramConfig, "alpha", "--alpha", [0.001, 1], [0, -0.1, 1.01, math.nan]),
    (SaliencyHistogramConfig, "split", "--split", ["test", "train", "all"], ["val"]),
    (DiscoverConfig, "thr", "--thr", [0.001, 3, 392], [0, -1, 392.1, math.nan, math.inf]),
    (DiscoverConfig, "mask_radius", "--mask-radius", [0.5, 1, 14], [0, -1, 14.1, math.nan]),
    (EvaluateConfig, "thr", "--thr", [1, (1, 2.5, 392)], [0, (3, 0), (3, math.nan), ()]),
    (EvaluateConfig, "alpha", "--alpha", [0.001, 1], [0, -0.1, 1.01, math.nan]),
    (EvaluateConfig, "split", "--split", ["test", "train", "all"], ["val"]),
    (VisualizeConfig, "rows", "--rows", [1, 100], [0, 101]),
    (VisualizeConfig, "columns", "--columns", [1, 100], [0, 101]),
    (VisualizeConfig, "tile", "--tile", [16, 512], [15, 513]),
    (TrainConfig, "pooling", "--pooling", ["leaky_max", "max", "average"], ["leaky-max", "min"]),
    (TrainConfig, "epochs", "--epochs", [1], [0]),
    (TrainConfig, "replica_epochs", "--replica-epochs", [None, 0, 5], [-1]),
    (TrainConfig, "devices", "--devices", [1], [0]),
    (TrainConfig, "num_nodes", "--num-nodes", [1], [0]),
    (TrainConfig, "size", "--size", [32], [31]),
    (TrainConfig, "epsilon", "--epsilon", [0, 10], [-0.1, 10.1, math.nan]),
    (TrainConfig, "epsilon_warmup", "--epsilon-warmup", [0, 1], [-0.1, 1.1]),
    (TrainConfig, "learning_rate", "--learning-rate", [1e-9, 5], [0, -1, math.nan, math.inf]),
    (TrainConfig, "head_factor", "--head-factor", [0, 10], [-1, math.nan]),
    (TrainConfig, "momentum", "--momentum", [0, 0.9], [-0.1, 1.1, math.nan]),
    (TrainConfig, "weight_decay", "--weight-decay", [0], [-1e-4, math.nan]),
    (TrainConfig, "warmup", "--warmup", [0, 1], [-0.1, 1.1]),
    (TrainConfig, "label_smoothing", "--label-smoothing", [0, 0.9], [-0.1, 1]),
    (TrainConfig, "clip", "--clip", [0], [-1, math.nan]),
    (TrainConfig, "mask_radius", "--mask-radius", [0.5, 14], [0, -1, 14.5]),
    (TrainConfig, "val_fraction", "--val-fraction", [0, 0.5], [-0.1, 0.6]),
    (DiscoverConfig, "chunk", "--chunk", [None, 1, 1_000_000], [0, 1_000_001]),
    (DiscoverConfig, "actors", "--actors", [None], [0, 100_001]),
    (TrainConfig, "background", "--background", [0, 0.5], [-0.1, 0.6]),
]


@pytest.mark.parametrize(
    ("config", "field", "flag", "good", "bad"), RANGES, ids=[row[0].__name__ + row[2] for row in RANGES]
)
def test_every_range_is_checked_with_an_error_that_names_the_flag(config, field, flag, good, bad):
    for value in good:
        build(config, **{field: value})
    for value in bad:
        with pytest.raises(OptionError, match=f"^{flag} ") as caught:
            build(config, **{field: value})
        assert caught.value.exit_code == 2


def test_an_interval_of_frames_is_checked_with_a_video():
    assert DiscoverConfig(images="clip.mp4").every == 1
    for value in (0, 1_000_001):
        with pytest.raises(OptionError, match=r"^--every "):
            DiscoverConfig(images="clip.mp4", every=value)


@pytest.mark.parametrize("config", EVERY)
def test_every_number_of_a_command_has_a_range(config):
    unlimited = {"output_stride"}  # the backbone checks it, since it knows what it can do
    for each in fields(config):
        if shape_of(each.type)[0] in (int, float) and each.name not in unlimited:
            assert each.metadata["option"].range, each.name


def test_messages_show_value_and_range():
    with pytest.raises(OptionError, match=r"^--k 1001 is out of range; allowed: 1 to 1000\.$"):
        KeypointConfig(k=1001)
    with pytest.raises(OptionError, match=r"^--seed 4294967296 is out of range; allowed: 0 to 4294967295\.$"):
        RunConfig(seed=2**32)
    with pytest.raises(OptionError, match=r"^--thr 400 is out of range; allowed: above 0, at most 392\.$"):
        build(DiscoverConfig, thr=400)
    with pytest.raises(OptionError, match=r"^--split val is unknown: choose one of test, train, all\.$"):
        EvaluateConfig(split="val")


@pytest.mark.parametrize(
    ("given", "expected"), [(2, (2.0,)), (2.5, (2.5,)), ([1, 2], (1.0, 2.0)), ((3, 1, 3.0), (3.0, 1.0))]
)
def test_thresholds_are_floats_in_the_order_given_each_once(given, expected):
    config = EvaluateConfig(thr=given)
    assert config.thr == expected
    assert all(type(value) is float for value in config.thr)


@pytest.mark.parametrize("given", ["a", Path("a"), ["a"], (Path("a"),)])
def test_one_path_or_several(given):
    assert DiscoverConfig(images=given).images == (Path("a"),)
    assert VisualizeConfig(images=given).images == (Path("a"),)
    assert TrainConfig(data=given).data == (Path("a"),)
    assert DiscoverConfig(images=["b", "a"]).images == (Path("b"), Path("a"))


@pytest.mark.parametrize("config", EVERY)
def test_every_path_may_be_text(config):
    assert build(config, out="results/x").out == Path("results/x")
    if issubclass(config, ModelConfig):
        assert build(config, checkpoint="a.safetensors").checkpoint == Path("a.safetensors")
    if config is EvaluateConfig:
        both = config(data="birds", predictions="points.json")
        assert (both.data, both.predictions) == (Path("birds"), Path("points.json"))


def test_a_folder_stands_for_the_file_in_it(tmp_path):
    file = tmp_path / "lmpnet.safetensors"
    assert DiscoverConfig(images="a", checkpoint=tmp_path).options()["checkpoint"] == file.as_posix()
    assert VisualizeConfig(compare=[tmp_path, "b.safetensors"]).compare == (file, Path("b.safetensors"))
    assert TrainConfig(data="a", network_from=tmp_path).network_from == file
    assert TrainConfig(data=tmp_path).data == (tmp_path,)
    assert ConvertConfig(keypoints=tmp_path, to="csv").keypoints == tmp_path / "keypoints.json"

    (tmp_path / "model.onnx").mkdir()  # an ONNX model is always a file
    assert not DiscoverConfig(images="a", checkpoint=tmp_path / "model.onnx").onnx_model


@pytest.mark.parametrize("config", EVERY)
def test_options_are_plain_json(config):
    built = build(config, out=Path("results") / "x")
    options = built.options()
    assert list(options) == list(asdict(built))
    assert json.loads(json.dumps(options, allow_nan=False)) == options
    assert options["out"] == "results/x"
    if config is EvaluateConfig:
        assert options["thr"] == [3.0]
    if config in NEEDED:
        (name, value), *_ = NEEDED[config].items()
        assert options[name] == [value]


def test_the_replica_trains_as_long_as_the_network_unless_told():
    assert build(TrainConfig, epochs=7).replica_epochs == 7
    assert build(TrainConfig, epochs=7, replica_epochs=0).replica_epochs == 0
    assert build(TrainConfig, epochs=7, recipe="laptop").replica_epochs == 10


def test_folders_of_results_are_named_after_their_commands():
    assert default_out("discover") == Path("results/discover")


def test_training_is_the_one_of_the_paper_unless_another_recipe_is_chosen():
    paper = build(TrainConfig)
    assert (paper.recipe, paper.backbone, paper.layer, paper.size) == ("paper", "resnet50.tv_in1k", "-1", 448)
    assert (paper.init, paper.frozen_layer, paper.mask_radius, paper.epsilon) == ("pretrained", None, 1.0, 0.1)
    assert (paper.epochs, paper.learning_rate, paper.epsilon_warmup, paper.background) == (30, 0.01, 0.5, 0)

    laptop = build(TrainConfig, recipe="laptop")
    assert (laptop.layer, laptop.size, laptop.frozen_layer, laptop.mask_radius) == ("layer3", 224, "layer2", 1.0)
    assert (laptop.epochs, laptop.replica_epochs, laptop.replica_from_network) == (8, 10, True)
    assert (laptop.learning_rate, laptop.epsilon_warmup) == (0.02, 0.4)
    assert (laptop.background, laptop.val_fraction) == (0.15, 0.05)
    assert laptop.options()["recipe"] == "laptop" and laptop.record()["size"] == 224

    with pytest.raises(OptionError, match=r"^--recipe desktop is unknown: choose one of paper, laptop"):
        build(TrainConfig, recipe="desktop")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_given_option_wins_over_the_recipe(recipe):
    given = {
        "layer": "layer2",
        "size": 64,
        "epochs": 3,
        "replica_epochs": 0,
        "replica_from_network": False,
        "learning_rate": 1.0,
        "epsilon_warmup": 0.0,
        "freeze": "none",
        "background": 0.0,
        "val_fraction": 0.0,
    }
    assert given.keys() == RECIPES[recipe].keys()
    config = build(TrainConfig, recipe=recipe, **given)
    assert {name: getattr(config, name) for name in given} == given
    assert config.frozen_layer is None


def test_a_changed_copy_of_a_training_keeps_the_values_of_its_recipe():
    laptop = build(TrainConfig, recipe="laptop", size=64)
    assert replace(laptop, seed=1).options() == laptop.options() | {"seed": 1}


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (DiscoverConfig, {"images": "s3://bucket/x"}, "^s3://bucket/x is not a local path"),
        (DiscoverConfig, {"out": "s3://bucket/x"}, "^--out must be a local path"),
        (EvaluateConfig, {"out": "s3://bucket/x"}, "^--out must be a local path"),
        (DiscoverConfig, {"report": True}, "^--report and --export need an output folder: pass --out"),
        (
            DiscoverConfig,
            {"link_images": True},
            "^--link-images needs an export that contains images: --export fiftyone",
        ),
        (DiscoverConfig, {"out": "o", "export": "csv", "link_images": True}, "^--link-images needs an export"),
        (DiscoverConfig, {"out": "o", "export": ["csv", "fiftyone"], "link_images": True}, None),
        (DiscoverConfig, {"shard": "x"}, r"^Invalid --shard x: use I/N with I from 1 to N, for example 1/4\.$"),
        (DiscoverConfig, {"shard": "5/4"}, "^Invalid --shard 5/4"),
        (DiscoverConfig, {"images": ["a.mp4", "b"]}, "^a.mp4 is a video: pass it alone"),
        (DiscoverConfig, {"images": "a.mp4", "shard": "1/2"}, "^--shard cannot be combined with a video"),
        (DiscoverConfig, {"images": "a.mp4", "out": "o", "export": "cvat"}, None),
        (
            DiscoverConfig,
            {"images": "a.mp4", "out": "o", "export": "yolo-pose"},
            "^--export yolo-pose needs image files",
        ),
        (DiscoverConfig, {"backend": "ray", "shard": "1/2"}, "^--shard cannot be combined with --backend ray"),
        (DiscoverConfig, {"backend": "ray", "device": "cuda:1"}, "^--device cuda:1 cannot be combined with"),
        (DiscoverConfig, {"backend": "ray", "resume": True, "overwrite": True}, "^--resume cannot be combined with"),
        (DiscoverConfig, {"backend": "ray", "out": "s3://bucket/x", "images": "s3://bucket/y"}, None),
        (EvaluateConfig, {"stability": True, "parts": False}, "^--no-parts cannot be combined with --stability"),
        (EvaluateConfig, {"stability": True, "predictions": "x"}, "^--predictions cannot be combined with --stability"),
        (EvaluateConfig, {"stability": True, "method": "saliency"}, "^--method saliency cannot be combined with"),
        (PartsConfig, {"names": "beak,,wing"}, "^--names beak,,wing: give each keypoint its own name"),
        (PartsConfig, {"names": "beak,wing", "k": 3}, "^--names gives 2 names, but --k is 3: they must be equal"),
        (PartsConfig, {"names": ["p" * count for count in range(1, 102)]}, "gives 101 names; at most 100 are allowed"),
        (PartsConfig, {"names": "beak, wing", "k": 2}, None),
        (PartsConfig, {"data": None}, "^Nothing to do: pass DATA"),
        (ExportConfig, {"out": "model"}, "must end in .onnx"),
        (ExportConfig, {"out": "a.onnx", "checkpoint": "b.onnx"}, "^b.onnx is already an ONNX model"),
        (ExportConfig, {"out": "a.onnx", "method": "saliency"}, "^--method saliency is unknown"),
    ],
)
def test_options_that_do_not_go_together(config, options, message):
    given = NEEDED.get(config, {}) | options
    if message is None:
        config(**given)
        return
    with pytest.raises(OptionError, match=message):
        config(**given)
