import pytest
import torch
from torch import nn

from lmpnet_cli.model.backbone import BackboneSpec
from lmpnet_cli.model.lmpnet import LMPNet, NetworkSpec, build
from lmpnet_cli.model.pooling import leaky_max_pool

SPEC = NetworkSpec(BackboneSpec("resnet10t", "layer3"), ("a", "b", "c"), input_size=64)


@pytest.fixture
def model() -> LMPNet:
    torch.manual_seed(0)
    return build(SPEC, replica=True).eval()


def test_logits_are_the_classifier_on_leaky_max_pooled_maps(model):
    images = torch.randn(2, 3, 64, 64)
    logits, maps = model.network(images)
    torch.testing.assert_close(logits, model.network.classifier(leaky_max_pool(maps, 0.1)))
    warm, _ = model.network(images, epsilon=0.0)
    torch.testing.assert_close(warm, model.network.classifier(maps.amax((2, 3))))


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_the_other_poolings(pooling):
    network = build(NetworkSpec(SPEC.backbone, SPEC.classes, pooling=pooling), replica=False).network.eval()
    logits, maps = network(torch.randn(1, 3, 64, 64))
    pooled = maps.mean((2, 3)) if pooling == "average" else maps.amax((2, 3))
    torch.testing.assert_close(logits, network.classifier(pooled))


def test_rejection_adds_a_logit_of_zero():
    network = build(NetworkSpec(SPEC.backbone, SPEC.classes, reject=True), replica=False).network.eval()
    logits, _ = network(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 4)
    assert not logits[:, 3].any()


def test_the_replica_has_weights_of_its_own(model):
    shared = {id(p) for p in model.network.parameters()} & {id(p) for p in model.replica.parameters()}
    assert not shared
    assert not torch.equal(next(model.network.parameters()), next(model.replica.parameters()))


class Planted(nn.Module):
    """A network whose every map has its peak in one given cell."""

    def __init__(self, cell: int) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, images):
        maps = torch.zeros(len(images), 5, 14 * 14)
        maps[:, :, self.cell] = 1.0
        return torch.zeros(len(images), 3), maps.view(-1, 5, 14, 14)


class Recorder(nn.Module):
    def forward(self, images):
        self.seen = images
        return torch.zeros(len(images), 3), torch.ones(len(images), 5, 14, 14)


@pytest.mark.parametrize(("radius", "side"), [(1.0, 16), (3.0, 80)])
def test_the_replica_sees_the_image_without_the_first_keypoint(radius, side):
    spec = NetworkSpec(SPEC.backbone, SPEC.classes, mask_radius=radius)
    model = LMPNet(spec, Planted(5 * 14 + 7), Recorder())
    images = torch.full((2, 3, 224, 224), 0.5)
    output = model(images)
    hidden = model.replica.seen == 0
    assert hidden.sum() == 2 * 3 * side**2
    assert hidden[:, :, 5 * 16 : 6 * 16, 7 * 16 : 8 * 16].all()
    assert output.replica_maps is not None


def test_without_a_replica_there_are_no_replica_maps():
    output = build(SPEC, replica=False).eval()(torch.randn(1, 3, 64, 64))
    assert output.replica_maps is None
    assert output.replica_logits is None


def test_no_gradient_passes_the_mask(model):
    images = torch.randn(1, 3, 64, 64)
    masked = model.hide_first_keypoint(images, model.network.backbone(images))
    model.replica(masked)[0].sum().backward()
    assert all(p.grad is None for p in model.network.parameters())
    assert any(p.grad is not None for p in model.replica.parameters())


def test_normalisation_of_bytes(model):
    grey = torch.full((1, 3, 2, 2), 128, dtype=torch.uint8)
    expected = (128 / 255 - torch.tensor(SPEC.mean)) / torch.tensor(SPEC.std)
    torch.testing.assert_close(model.normalize(grey)[0, :, 0, 0], expected)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="median"):
        NetworkSpec(SPEC.backbone, SPEC.classes, pooling="median")
