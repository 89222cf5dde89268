import pytest
import timm
import torch
from torch import nn

from lmpnet_cli.errors import CheckpointError, OptionError
from lmpnet_cli.model.backbone import Backbone, BackboneSpec, TrainedPart, feature_layers


@pytest.mark.parametrize(
    ("name", "layer", "channels", "cells"),
    [
        ("resnet10t", "layer3", 256, 4),
        ("resnet10t", "-1", 512, 2),
        ("resnet10t", "1", 64, 16),
        ("mobilenetv2_035", "blocks.4", 32, 4),
        ("vgg11", "features.14", 512, 8),
        ("convnext_atto", "stages.2", 160, 4),
    ],
)
def test_any_timm_network_cut_after_any_feature_layer(name, layer, channels, cells):
    backbone = Backbone(BackboneSpec(name, layer)).eval()
    with torch.inference_mode():
        maps = backbone(torch.randn(2, 3, 64, 64))
    assert maps.shape == (2, channels, cells, cells)
    assert backbone.channels == channels
    assert (maps >= 0).all()


def test_vision_transformers_give_maps_too():
    backbone = Backbone(BackboneSpec("vit_tiny_patch16_224")).eval()
    with torch.inference_mode():
        assert backbone(torch.randn(1, 3, 224, 224)).shape == (1, 192, 14, 14)


def test_dinov2_takes_sizes_other_than_that_of_its_weights():
    backbone = Backbone(BackboneSpec("vit_small_patch14_dinov2")).eval()
    with torch.inference_mode():
        assert backbone(torch.randn(1, 3, 224, 224)).shape == (1, 384, 16, 16)
        with pytest.raises(OptionError, match=r"does not accept 225 x 225 pixels.*Choose another --size"):
            backbone(torch.randn(1, 3, 225, 225))


@pytest.mark.parametrize(("stride", "cells"), [(None, 2), (32, 2), (16, 4), (8, 8)])
def test_output_stride(stride, cells):
    backbone = Backbone(BackboneSpec("resnet10t", output_stride=stride)).eval()
    with torch.inference_mode():
        assert backbone(torch.randn(1, 3, 64, 64)).shape[2:] == (cells, cells)


def test_resnet_v1_carries_its_strides_in_the_1x1_convolutions():
    backbone = Backbone(BackboneSpec("resnet26", "layer3", stride_in_1x1=True))
    for stage in ("layer2", "layer3"):
        block = backbone.network[stage][0]
        assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    assert backbone.network["layer1"][0].conv1.stride == (1, 1)
    with torch.inference_mode():
        assert backbone.eval()(torch.randn(1, 3, 64, 64)).shape[2:] == (4, 4)


def test_caffe_pooling_has_no_padding_and_rounds_up():
    backbone = Backbone(BackboneSpec("resnet26", "layer3", caffe_pooling=True)).eval()
    pool = backbone.network["maxpool"]
    assert (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) == (3, 2, 0, True)
    with torch.inference_mode():
        assert backbone(torch.randn(1, 3, 224, 224)).shape[2:] == (14, 14)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (BackboneSpec("resnet5000"), "resnet5000"),
        (BackboneSpec("resnet10t", "layer9"), "layer1"),
        (BackboneSpec("resnet10t", "7"), "0 to 4"),
        (BackboneSpec("vgg11", output_stride=8), "output stride"),
        (BackboneSpec("vgg11", stride_in_1x1=True), "stride-in-1x1"),
        (BackboneSpec("convnext_atto", caffe_pooling=True), "caffe-pooling"),
    ],
)
def test_exceptions(spec, message):
    with pytest.raises(OptionError, match=message):
        Backbone(spec)


def test_a_missing_network_names_the_other_two_ways(monkeypatch):
    def unreachable(*args, **kwargs):
        if kwargs.get("pretrained"):
            raise OSError("no route to host")
        return create(*args, **kwargs)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(CheckpointError, match=r"not be downloaded \(OSError\).*--init FILE.*--init none"):
        Backbone(BackboneSpec("resnet10t"), pretrained=True)


def test_freezing_holds_weights_and_statistics():
    backbone = Backbone(BackboneSpec("resnet10t", "layer3"))
    backbone.freeze_through("layer2")
    backbone.train()
    free = {name.split(".")[0] for name, p in backbone.network.named_parameters() if p.requires_grad}
    assert free == {"layer3"}
    before = {key: value.clone() for key, value in backbone.network.state_dict().items()}
    backbone(torch.randn(4, 3, 64, 64)).sum().backward()
    changed = {key for key, value in backbone.network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert all(key.startswith("layer3") for key in changed)
    with pytest.raises(OptionError, match="no layer 'layer7'"):
        backbone.freeze_through("layer7")


def test_freezing_reaches_scales_outside_the_leaves():
    backbone = Backbone(BackboneSpec("test_convnext"))
    backbone.freeze_through("stages_1")
    free = {name.split(".")[0] for name, p in backbone.network.named_parameters() if p.requires_grad}
    assert free == {"stages_2", "stages_3"}


def test_networks_that_put_channels_last():
    backbone = Backbone(BackboneSpec("swin_tiny_patch4_window7_224", "layers.0")).eval()
    with torch.inference_mode():
        assert backbone(torch.randn(1, 3, 224, 224)).shape == (1, 96, 56, 56)


@pytest.mark.parametrize(
    ("name", "layer", "freeze"),
    [("resnet18", "layer4", "layer3"), ("resnet18", "layer3", "maxpool"), ("test_convnext", "-1", "stages_1")],
)
def test_the_frozen_layers_and_those_behind_them_are_the_whole_network(name, layer, freeze):
    backbone = Backbone(BackboneSpec(name, layer)).train()
    backbone.freeze_through(freeze)
    images = torch.randn(2, 3, 64, 64)
    maps = backbone.frozen_maps(images)
    assert not maps.requires_grad
    backbone.eval()
    torch.testing.assert_close(backbone.forward_from(maps), backbone(images), rtol=0, atol=0)


def test_layers_that_put_channels_last_also_run_in_two_parts():
    backbone = Backbone(BackboneSpec("swin_tiny_patch4_window7_224", "layers.1")).eval()
    backbone.freeze_through("layers_0")
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(backbone.forward_from(backbone.frozen_maps(images)), backbone(images))
        with pytest.raises(OptionError, match="does not accept 225 x 225 pixels"):
            backbone.frozen_maps(torch.randn(1, 3, 225, 225))


def test_the_trained_part_shares_its_layers_and_keeps_the_frozen_ones_in_evaluation_mode():
    backbone = Backbone(BackboneSpec("resnet10t", "layer3"))
    backbone.freeze_through("layer2")
    behind = TrainedPart(backbone)
    maps = backbone.frozen_maps(torch.randn(2, 3, 64, 64))

    behind.train()
    assert backbone.network["layer3"].training and not backbone.network["layer2"][0].bn1.training
    behind(maps).sum().backward()
    assert {name.split(".")[0] for name, p in backbone.network.named_parameters() if p.grad is not None} == {"layer3"}
    behind.eval()
    torch.testing.assert_close(behind(maps), backbone.forward_from(maps), rtol=0, atol=0)


def test_a_network_without_frozen_layers_has_no_frozen_maps():
    with pytest.raises(OptionError, match=r"--freeze with a whole layer of resnet10t: one of conv1.*layer3"):
        Backbone(BackboneSpec("resnet10t")).frozen_maps(torch.zeros(1, 3, 64, 64))


def test_feature_layers_are_those_of_the_whole_network():
    assert feature_layers(BackboneSpec("resnet10t", "layer2")) == ["act1", "layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize("layer", ["layer1", "layer3", "layer4"])
@pytest.mark.parametrize("caffe", [False, True])
def test_the_empty_resnet50_is_timms_network(layer, caffe):
    spec = BackboneSpec("resnet50", layer, stride_in_1x1=caffe and layer != "layer1", caffe_pooling=caffe)
    torch.manual_seed(0)
    timms, empty = Backbone(spec).eval(), Backbone(spec, empty=True).eval()
    assert type(empty.network).__name__ == "ResNet50" != type(timms.network).__name__
    assert list(empty.state_dict()) == list(timms.state_dict())
    empty.load_state_dict(timms.state_dict())
    images = torch.randn(2, 3, 96, 64)
    for mode in (False, True):  # batch norm is computed in training, too
        timms.train(mode), empty.train(mode)
        assert torch.equal(empty(images), timms(images))
    assert empty.channels == timms.channels


@pytest.mark.parametrize("caffe", [False, True])
def test_folded_batch_norms_leave_the_maps_as_they_are(caffe):
    spec = BackboneSpec("resnet50", "layer2", stride_in_1x1=caffe, caffe_pooling=caffe)
    torch.manual_seed(0)
    timms, folded = Backbone(spec).eval(), Backbone(spec, empty=True).eval()
    for module in timms.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics as after a training, and channels that are nearly constant
            module.running_mean.normal_()
            module.running_var.uniform_(1e-6, 2)
            module.weight.data.normal_(std=0.3)
            module.bias.data.normal_()
    folded.load_state_dict(timms.state_dict())
    folded.fold_batch_norms()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())

    images = torch.randn(2, 3, 96, 64)
    expected = timms(images)
    assert expected.max() > 0
    assert torch.allclose(folded(images), expected, rtol=1e-4, atol=1e-5 * expected.max().item())
    again = folded(images)
    folded.fold_batch_norms()  # nothing is left to fold
    assert torch.equal(folded(images), again)


def test_networks_other_than_resnet50_are_not_folded():
    torch.manual_seed(0)
    backbone = Backbone(BackboneSpec("resnet10t", "layer2")).eval()
    images = torch.randn(1, 3, 64, 64)
    before = backbone(images)
    backbone.fold_batch_norms()
    assert torch.equal(backbone(images), before)


def test_other_networks_are_timms_also_when_empty():
    for spec in (
        BackboneSpec("resnet18", "layer2"),
        BackboneSpec("resnet50", "-1"),
        BackboneSpec("resnet50", "layer4", 16),
    ):
        assert "timm" in type(Backbone(spec, empty=True).network).__module__
