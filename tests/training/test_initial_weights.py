from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.model.backbone import Backbone, BackboneSpec
from lmpnet_cli.training.initial_weights import check_initial_weights, load_initial_weights, provenance, stated_options


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A complete resnet10t with its classifier, as a file."""
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), path, metadata={"from": "a test"})
    return path


def test_initial_weights_from_a_complete_network(weights):
    backbone = Backbone(BackboneSpec("resnet10t", "layer3"))
    metadata = load_initial_weights(backbone, weights)
    assert metadata == {"from": "a test"}
    whole = timm.create_model("resnet10t")
    whole.load_state_dict(load_file(weights))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = whole.eval().forward_intermediates(images, indices=[3], intermediates_only=True)[0]
        torch.testing.assert_close(backbone.eval()(images), expected)


def test_weights_that_do_not_fit_are_refused(weights, tmp_path):
    with pytest.raises(CheckpointError, match="does not fit resnet18"):
        load_initial_weights(Backbone(BackboneSpec("resnet18")), weights)
    with pytest.raises(CheckpointError, match="--init none"):
        load_initial_weights(Backbone(BackboneSpec("resnet10t")), tmp_path / "nothing.safetensors")
    broken = tmp_path / "pickle.safetensors"
    broken.write_bytes(b"\x80\x04 no safetensors")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_initial_weights(Backbone(BackboneSpec("resnet10t")), broken)


def test_initial_weights_of_a_vision_transformer(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    load_initial_weights(Backbone(BackboneSpec("test_vit")), tmp_path / "vit.safetensors")


def test_provenance_is_one_line():
    assert provenance("none", {}) == "none"
    assert "\n" not in provenance("file", {"from": "two\nlines"})


@pytest.fixture
def weights_to_layer3(weights, tmp_path) -> Path:
    path = tmp_path / "layer3.safetensors"
    shorter = {key: value for key, value in load_file(weights).items() if not key.startswith(("layer4", "fc"))}
    save_file(shorter, path)
    return path


def test_a_file_with_fewer_layers_names_the_option_that_makes_it_fit(weights_to_layer3, tmp_path):
    for spec in (BackboneSpec("resnet10t"), BackboneSpec("resnet10t", "layer4", stride_in_1x1=True)):
        with pytest.raises(CheckpointError, match=r"has weights of resnet10t up to layer3 only: add --layer layer3\.$"):
            check_initial_weights(spec, weights_to_layer3)
    with pytest.raises(CheckpointError, match=r"add --layer layer3"):
        load_initial_weights(Backbone(BackboneSpec("resnet10t")), weights_to_layer3)
    check_initial_weights(BackboneSpec("resnet10t", "layer3"), weights_to_layer3)
    check_initial_weights(BackboneSpec("resnet10t", "layer2"), weights_to_layer3)

    part = {key: value for key, value in load_file(weights_to_layer3).items() if not key.startswith("layer3.0.conv2")}
    save_file(part, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match=r"up to layer2 only: add --layer layer2\.$"):
        check_initial_weights(BackboneSpec("resnet10t", "layer3"), tmp_path / "part.safetensors")


def test_no_layer_is_named_for_the_weights_of_another_network(weights, tmp_path):
    with pytest.raises(CheckpointError, match=r"does not fit resnet18: .*for example .*Choose the --backbone"):
        check_initial_weights(BackboneSpec("resnet18"), weights)
    save_file({"features.0.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"does not fit resnet10t cut after layer2: .*Choose the --backbone"):
        check_initial_weights(BackboneSpec("resnet10t", "layer2"), tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("metadata", "strides", "pooling"),
    [
        ({}, False, False),
        ({"stride": "in the 1x1 convolution of the first block of layer2 and layer3 (ResNet v1)"}, True, False),
        ({"maxpool": "trained with 3x3 stride 2, no padding, ceil mode"}, False, True),
        ({"stride": "in the 3x3 convolution", "maxpool": "padding 1", "provenance": "1x1 convolution"}, False, False),
    ],
)
def test_what_the_metadata_state_about_the_network(metadata, strides, pooling):
    assert stated_options(metadata) == {"stride_in_1x1": strides, "caffe_pooling": pooling}
