import pytest
import torch
from torch import nn

from lmpnet_cli.model.backbone import BackboneSpec
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput, NetworkSpec, build
from lmpnet_cli.model.part_head import PartHeadSpec
from lmpnet_cli.model.pooling import leaky_max_pool
from lmpnet_cli.model.reading import Reading

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
    model = LMPNet(SPEC, Planted(5 * 14 + 7), Recorder())
    images = torch.full((2, 3, 224, 224), 0.5)
    output = model(images, Reading(mask_radius=radius))
    hidden = model.replica.seen == 0
    assert hidden.sum() == 2 * 3 * side**2
    assert hidden[:, :, 5 * 16 : 6 * 16, 7 * 16 : 8 * 16].all()
    assert output.replica_maps is not None


def test_the_mask_of_training_is_not_that_of_a_run():
    """The radius that a checkpoint was trained with is used in training; a run hides one cell unless told otherwise."""
    spec = NetworkSpec(SPEC.backbone, SPEC.classes, mask_radius=3.0)
    model = LMPNet(spec, Planted(5 * 14 + 7), Recorder())
    images = torch.full((1, 3, 224, 224), 0.5)
    model(images)
    assert (model.replica.seen == 0).sum() == 3 * 16**2
    assert (model.hide_first_keypoint(images, model.network(images)[1]) == 0).sum() == 3 * 80**2


def test_only_selected_filters_vote_for_what_is_hidden():
    """Three weak filters respond in one cell, two strong ones in another; with two filters the strong ones decide."""
    maps = peaks(8, 8, 8, 24, 24)
    for filters, cell in ((None, 8), (2, 24)):
        masked = LMPNet(SPEC, Planted(0), Recorder()).hide_first_keypoint(
            torch.ones(1, 3, 49, 49), maps, Reading(filters=filters)
        )
        assert (masked[0, 0] == 0).nonzero().min(0).values.tolist() == [cell // 7 * 7, cell % 7 * 7]


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


def with_parts(threshold=0.3):
    """A model whose part head sees part 0 in cell (2, 3) of a 7 x 7 map, part 1 nowhere."""

    class Head(nn.Module):
        spec = PartHeadSpec(("head", "tail"), channels=5, threshold=threshold)

        def forward(self, maps):
            shares = torch.zeros(len(maps), 3, 7, 7)
            shares[:, 0, 1:4, 2:5] = 1.0
            shares[:, 1] = 0.01
            shares[:, 2] = 1 - shares[:, :2].sum(1)
            return shares

    return LMPNet(SPEC, Planted(0), None, Head())


def test_parts_are_located_and_hidden_ones_are_nan():
    output = LMPNetOutput(torch.zeros(2, 5, 7, 7), torch.zeros(2, 3))
    found = with_parts().parts(output)
    assert found.positions[0, 0].tolist() == pytest.approx([2, 3], abs=1e-3)
    assert found.scores[0, 0] > 0.3 and found.scores[0, 1].isnan()
    assert found.positions[:, 1].isnan().all() and found.replica_shares is None and found.map_size == (7, 7)


def test_a_model_without_a_part_head_has_no_parts(model):
    with pytest.raises(ValueError, match="part head"):
        model.parts(LMPNetOutput(torch.zeros(1, 5, 7, 7), torch.zeros(1, 3)))


def test_the_predicted_class_is_never_the_rejected_one():
    model = build(NetworkSpec(SPEC.backbone, SPEC.classes, reject=True), replica=False)
    logits = torch.tensor([[1.0, 3.0, 2.0, 0.0], [-5.0, -6.0, -7.0, 0.0]])
    labels, scores = model.classes(LMPNetOutput(torch.zeros(2, 5, 7, 7), logits))
    assert labels.tolist() == [1, 0]
    torch.testing.assert_close(scores, logits[:, :3].softmax(1).amax(1))


def peaks(*cells):
    maps = torch.zeros(1, len(cells), 7 * 7)
    for index, cell in enumerate(cells):
        maps[0, index, cell] = 1.0 + index
    return maps.view(1, -1, 7, 7)


def test_each_filter_votes_for_the_keypoint_that_erases_it(model):
    """Three filters of the network and one of the replica share a cell; the fourth is alone; the fifth is not selected."""
    output = LMPNetOutput(peaks(10, 24, 24, 24)[:, :3], torch.zeros(1, 3), peaks(24, 44), torch.zeros(1, 3))
    own = model.voted_keypoints(output, replica=False, k=3, thr=2, reading=Reading(filters=None))
    other = model.voted_keypoints(output, replica=True, k=3, thr=2, reading=Reading(filters=None))
    assert own.tolist() == [[2, 0, 0]] and other.tolist() == [[0, 1]]
    assert model.voted_keypoints(output, replica=False, k=3, thr=2, reading=Reading(filters=1)).tolist() == [[3, 3, 0]]


def test_each_filter_votes_for_the_part_in_the_cell_of_its_maximum():
    output = LMPNetOutput(peaks(2 * 7 + 3, 0), torch.zeros(1, 3))
    assert with_parts().voted_parts(output, replica=False).tolist() == [[0, 2]]  # 2 is the background
