"""The guided rule: hand-worked networks, captum where it is right, reused and in-place ReLUs, nothing left behind."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from lmpnet_cli.errors import OptionError
from lmpnet_cli.io.runtime import evaluating
from lmpnet_cli.saliency.guided_backprop import GuidedReLUs, guided_gradients


class TwoConvolutions(nn.Module):
    """4 x 4 input, weights by hand: two 1 x 1 convolutions with ReLUs, then the sum over all cells.

    h1 = relu(x_r - 1), h2 = relu(2 - x_r), with x_r the red channel; a = relu(3 h1 - h2); logits (sum a, 0).
    """

    def __init__(self, inplace=False):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 1, 1, bias=False)
        self.relu1, self.relu2 = nn.ReLU(inplace), nn.ReLU(inplace)
        with torch.no_grad():
            self.first.weight[:] = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]).view(2, 3, 1, 1)
            self.first.bias[:] = torch.tensor([-1.0, 2.0])
            self.second.weight[:] = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)

    def forward(self, x):
        a = self.relu2(self.second(self.relu1(self.first(x))))
        total = a.sum((1, 2, 3))
        return torch.stack([total, torch.zeros_like(total)], 1)


# x_r 0: h = (0, 2), a = relu(-2) = 0, closed. x_r 1.5: h = (0.5, 0.5), a = 1, open: backwards to h1 3, to h2 -1; the
# plain gradient is 3 + 1 = 4, the guided one drops the negative -1 at h2's ReLU: 3. x_r 3: h = (2, 0), a = 6: 3 and 3.
VALUES = torch.tensor([[0, 0, 1, 2], [1.5, 3, 0, 1.5], [3, 1.5, 0, 0], [0, 0, 0, 3.0]])
GUIDED = torch.tensor([[0, 0, 0, 3.0], [3, 3, 0, 3], [3, 3, 0, 0], [0, 0, 0, 3]])
PLAIN = torch.tensor([[0, 0, 0, 3.0], [4, 3, 0, 4], [3, 4, 0, 0], [0, 0, 0, 3]])


def red(values):
    return torch.stack([values, torch.zeros_like(values), torch.zeros_like(values)])[None]


@pytest.mark.parametrize("inplace", [False, True])
def test_a_hand_worked_network(inplace):
    network = TwoConvolutions(inplace)
    x = red(VALUES)
    # the log-odds of class 0 are its logit, since the other one is 0
    guided = guided_gradients(network, x, torch.tensor([0]))
    torch.testing.assert_close(guided[0], GUIDED)
    # the ordinary gradient differs, so the rule did something
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(network(x)[0, 0], x)
    torch.testing.assert_close(gradient[0, 0], PLAIN)


@pytest.mark.parametrize(("value", "gradient"), [(1.0, 0.0), (2.0, 3.0)])
def test_a_relu_whose_input_is_exactly_0_is_closed(value, gradient):
    """At 1, h1 is closed by f > 0 and a = relu(-1) is, too. At 2, h2 is closed and a = 3 h1 = 3 is open."""
    guided = guided_gradients(TwoConvolutions(), red(torch.full((4, 4), value)), torch.tensor([0]))
    assert guided.eq(gradient).all()


@pytest.mark.parametrize("gap", [1.0, 30.0, 300.0])
def test_a_sure_classifier_keeps_its_map(gap):
    """The probability rounds to 1 from a gap of 17 on, and its gradient to 0; that of the log-odds does not."""
    network = TwoConvolutions()
    sure = guided_gradients(lambda x: network(x) * gap, red(VALUES), torch.tensor([0]))
    torch.testing.assert_close(sure[0], GUIDED * gap)


def test_only_positive_gradients_and_the_best_channel_remain():
    def network(x):
        return torch.stack([x[:, 0].relu().sum((1, 2)) - x[:, 1].sum((1, 2)), x[:, 2].sum((1, 2)) * 2], 1) / 1e3

    x = torch.full((1, 3, 2, 2), 5.0)
    zero, one = (guided_gradients(network, x, torch.tensor([t])) for t in (0, 1))
    assert zero.eq(torch.tensor(1e-3)).all()  # red alone rises: green and blue fall
    assert one.eq(torch.tensor(2e-3)).all()  # blue 2, green 1; red falls


class Separate(nn.Module):
    """Every ReLU a module of its own, nothing in place: where captum is right."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 4),
        )  # fmt: skip

    def forward(self, x):
        return self.body(x)


def test_captum_agrees_where_it_is_right():
    from captum.attr import GuidedBackprop

    network = Separate().eval().requires_grad_(False)
    images = torch.randn(3, 3, 20, 20)
    target = torch.tensor([1, 0, 3])
    logarithm = nn.Sequential(network, nn.LogSoftmax(1))
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        oracle = GuidedBackprop(logarithm).attribute(images.clone().requires_grad_(), target=target)
    ours = guided_gradients(network, images, target)
    # of log p, the gradient is that of the log-odds times 1 - p
    rest = 1 - network(images).softmax(1).gather(1, target[:, None])[..., None]
    torch.testing.assert_close(ours * rest, oracle.clamp(min=0).amax(1))
    assert ours.max() > 0


class Reused(nn.Module):
    """One in-place ReLU for all places, as torchvision's and timm's residual blocks have it."""

    def __init__(self, of: Separate):
        super().__init__()
        self.of, self.relu = of, nn.ReLU(inplace=True)

    def forward(self, x):
        layers = [self.relu if isinstance(layer, nn.ReLU) else layer for layer in self.of.body]
        return nn.Sequential(*layers)(x)


class Functional(Reused):
    def forward(self, x):
        b = self.of.body
        x = functional.max_pool2d(torch.relu(b[1](b[0](x))), 2)
        x = b[4](x).relu_()
        return b[10](functional.relu(b[8](b[7](b[6](x))), inplace=True))


@pytest.mark.parametrize("kind", [Reused, Functional])
def test_reused_in_place_and_functional_relus_are_met(kind):
    separate = Separate().eval()
    images, target = torch.randn(2, 3, 20, 20), torch.tensor([2, 1])
    expected = guided_gradients(separate, images, target)
    torch.testing.assert_close(guided_gradients(kind(separate).eval(), images, target), expected)


def test_who_looks_at_the_input_of_an_in_place_relu_sees_it_rectified():
    def network(x):
        h = x.mean((2, 3)) - 1
        functional.relu(h, inplace=True)
        return h[:, :2]

    x = torch.tensor([[0.0, 4.0, 1.0]]).view(1, 3, 1, 1)
    with GuidedReLUs():
        assert torch.equal(network(x), torch.tensor([[0.0, 3.0]]))


def test_relu6_closes_at_six():
    network = lambda x: functional.relu6(x.sum(3) / 10).sum(2)  # noqa: E731
    x = torch.tensor([[-5.0], [30.0], [70.0]]).view(1, 3, 1, 1)
    module = nn.ReLU6(inplace=True)
    again = lambda x: module(x.sum(3) / 10).sum(2)  # noqa: E731
    for classify in (network, again):
        with GuidedReLUs() as relus:
            logits = classify(x)
        assert relus.relu_calls == 1 and torch.equal(logits, torch.tensor([[0.0, 3.0, 6.0]]))
        assert guided_gradients(classify, x, torch.tensor([1])).item() > 0
        assert guided_gradients(classify, x, torch.tensor([2])).item() == 0  # open nowhere that gains


def test_an_image_of_a_batch_does_not_depend_on_the_others():
    network = Separate().eval()
    images, target = torch.randn(4, 3, 20, 20), torch.tensor([0, 1, 2, 3])
    together = guided_gradients(network, images, target)
    for index in range(4):
        alone = guided_gradients(network, images[index : index + 1], target[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], atol=1e-6, rtol=1e-4)


def test_bytes_and_inference_mode_are_no_obstacle():
    network = Separate().eval().requires_grad_(False)
    with torch.inference_mode():
        images = torch.randint(0, 256, (1, 3, 20, 20), dtype=torch.uint8)
        target = network(images.float()).argmax(1)
        assert guided_gradients(network, images, target).max() > 0


CLAMPS = [
    lambda x: x.clamp(min=0),
    lambda x: x.clamp(0),
    lambda x: torch.clamp(x, min=0.0),
    lambda x: x.clamp_min(0),
    lambda x: torch.clamp_min(x, 0),
    lambda x: torch.clip(x, 0, None),
    lambda x: (x * 1).clamp_(min=0),
    lambda x: (x * 1).clamp_min_(0),
]


@pytest.mark.parametrize("clamp", CLAMPS)
def test_a_clamp_from_0_on_is_a_relu(clamp):
    torch.manual_seed(3)
    first, last = nn.Conv2d(3, 6, 3), nn.Linear(6, 3)
    images = torch.randn(2, 3, 8, 8)

    def classify(relu):
        return lambda x: last(relu(first(x)).mean((2, 3)))

    expected = guided_gradients(classify(functional.relu), images, torch.tensor([0, 1]))
    assert expected.max() > 0
    torch.testing.assert_close(guided_gradients(classify(clamp), images, torch.tensor([0, 1])), expected)


def test_a_clamp_at_a_top_closes_there_and_other_clamps_are_left_alone():
    x = torch.tensor([[-1.0, 2.0, 7.0]]).view(1, 3, 1, 1)

    def open_channels(clamp):
        return [
            guided_gradients(
                lambda y, c=c: torch.stack([clamp(y[:, c, 0, 0]).relu(), 0 * y[:, 0, 0, 0]], 1), x, zero
            ).item()
            for c in range(3)
        ]

    zero = torch.tensor([0])
    assert [value > 0 for value in open_channels(lambda y: y.clamp(0, 6))] == [False, True, False]
    assert [value > 0 for value in open_channels(lambda y: y.clamp(min=-5))] == [False, True, True]
    assert [value > 0 for value in open_channels(lambda y: y.clamp(max=6))] == [False, True, False]


@pytest.mark.parametrize(
    "swish", [lambda x: x * x.sigmoid(), lambda x: torch.sigmoid(x) * x, lambda x: x.mul(torch.sigmoid(x))]
)
def test_swish_by_hand_is_refused_and_a_gate_is_not(swish):
    def classify(activation):
        return lambda x: activation(x.relu().mean((2, 3)))

    images = torch.rand(1, 3, 4, 4)
    with pytest.raises(OptionError, match=r"multiplies x by sigmoid\(x\)"):
        guided_gradients(classify(swish), images, torch.tensor([0]))
    gate = guided_gradients(classify(lambda x: x * x.flip(1).sigmoid()), images, torch.tensor([0]))
    assert gate.max() > 0


@pytest.mark.parametrize("name", ["gelu", "silu", "hardswish", "leaky_relu", "selu", "rrelu"])
def test_other_activations_are_refused_by_name(name):
    with pytest.raises(OptionError, match=f"this network calls {name}"):
        guided_gradients(lambda x: getattr(functional, name)(x.mean((2, 3))), torch.ones(1, 3, 4, 4), torch.tensor([0]))


def test_a_network_without_relus_is_refused():
    with pytest.raises(OptionError, match="calls none"):
        guided_gradients(lambda x: x.mean((2, 3)), torch.ones(1, 3, 4, 4), torch.tensor([0]))
    with pytest.raises(OptionError, match="clips at -1"):
        guided_gradients(lambda x: functional.hardtanh(x.mean((2, 3))), torch.ones(1, 3, 4, 4), torch.tensor([0]))


def test_nothing_is_left_behind_after_an_error():
    network = Separate().train()
    network.body[1].eval()  # flags that differ must come back as they were
    flags = [module.training for module in network.modules()]
    gradients = [parameter.requires_grad for parameter in network.parameters()]

    def failing(x):
        network(x)
        raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"), evaluating(network):
        assert not any(module.training for module in network.modules())
        guided_gradients(failing, torch.randn(1, 3, 20, 20), torch.tensor([0]))
    assert [module.training for module in network.modules()] == flags
    assert [parameter.requires_grad for parameter in network.parameters()] == gradients
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(not module._forward_hooks and not module._backward_hooks for module in network.modules())
    # the mode is gone: relu is itself again
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    (-functional.relu(x)).sum().backward()
    assert torch.equal(x.grad, torch.tensor([0.0, -1.0]))


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "resnet18", "resnet50", "mobilenetv2_050"])
def test_the_usual_networks_work(name):
    thin = {"mlp_ratio": 0.01} if name.startswith("vgg") else {}
    network = timm.create_model(name, pretrained=False, num_classes=5, **thin).eval().requires_grad_(False)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    classify = lambda x: network(x.float() / 128 - 1)  # noqa: E731
    maps = guided_gradients(classify, images, classify(images).argmax(1))
    assert maps.shape == (1, 64, 64) and maps.isfinite().all() and maps.max() > 0
