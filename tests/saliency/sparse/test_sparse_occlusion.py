"""Patches through a network give what whole copies give, on all that networks are made of."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from lmpnet_cli.saliency.occlusion import occlusion_scores, patch_corners, random_colors
from lmpnet_cli.saliency.sparse import is_supported, occlusion, score_batches
from lmpnet_cli.saliency.sparse.occlusion import patched_logits
from lmpnet_cli.saliency.sparse.patched_tensor import PatchedTensor
from lmpnet_cli.saliency.sparse.recording import Recording


class Net(nn.Module):
    """A network from a list of layers and a function."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.function = forward

    def forward(self, x):
        return self.function(x, **self.layers)


def residual(x, a, b, down):
    y = b(a(x).relu_())
    y += down(x)
    return functional.relu(y, inplace=True)


def gated(x, a, gate):
    x = a(x)
    return x * gate(x.mean((2, 3), keepdim=True)).sigmoid()


def joined(x, a, b):
    first = a(x)
    return torch.cat([first, b(first).relu()], 1)


def read_before(x, a, b):
    y = a(x)
    z = b(y)
    y.relu_()
    return torch.cat([z, y[..., 1:-1, 1:-1]], 1)


def normed_input(x, a, norm, b):
    y = a(x)
    return b(torch.cat([norm(x), y], 1))


def normed_later(x, a, b, norm):
    y = a(x)
    z = b(y)
    return norm(y)[..., 1:-1, 1:-1] + z


def normed_after_a_reader(x, a, norm):
    y = a(x)
    z = y.sigmoid()
    return norm(y) + z


def added_whole(x, a, b):
    y = a(x)
    y += y.cumsum(3)
    return b(y)


def conv(*args, **kwargs):
    return nn.Conv2d(*args, **kwargs)


NETWORKS = {
    "convolution": lambda: conv(3, 4, 3),
    "padded": lambda: conv(3, 4, 5, padding=2),
    "strided": lambda: conv(3, 4, 3, stride=2, padding=1),
    "uneven": lambda: conv(3, 4, (3, 1), stride=(1, 2), padding=(1, 0)),
    "strided 1x1": lambda: nn.Sequential(conv(3, 4, 1, stride=2), conv(4, 4, 3)),
    "dilated": lambda: conv(3, 4, 3, dilation=2, padding=2),
    "depthwise": lambda: nn.Sequential(conv(3, 6, 1), conv(6, 6, 3, groups=6, padding=1, bias=False)),
    "transposed": lambda: nn.Sequential(conv(3, 4, 3), nn.ConvTranspose2d(4, 4, 2, stride=2)),
    "norm": lambda: nn.Sequential(conv(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 4, 3)),
    "norm first": lambda: nn.Sequential(nn.BatchNorm2d(3), conv(3, 4, 3), nn.ReLU(inplace=True), conv(4, 4, 3)),
    "norm after bias": lambda: nn.Sequential(conv(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), conv(4, 4, 3)),
    "norm without weights": lambda: nn.Sequential(conv(3, 4, 3), nn.BatchNorm2d(4, affine=False), conv(4, 4, 3)),
    "max pooling": lambda: nn.Sequential(conv(3, 4, 3), nn.MaxPool2d(3, 2, 1), conv(4, 4, 3)),
    "max pooling up": lambda: nn.Sequential(conv(3, 4, 3), nn.MaxPool2d(3, 2, ceil_mode=True), conv(4, 4, 3)),
    "max pooling beyond the map": lambda: nn.Sequential(
        conv(3, 4, (2, 4)), nn.MaxPool2d(3, 2, ceil_mode=True), conv(4, 4, 3)
    ),
    "max pooling of negatives": lambda: Net(lambda x, a: functional.max_pool2d(a(x) - 50, 3, 2, 1), a=conv(3, 4, 3)),
    "mean pooling": lambda: nn.Sequential(conv(3, 4, 3), nn.AvgPool2d(2), conv(4, 4, 3)),
    "mean pooling padded": lambda: nn.Sequential(conv(3, 4, 3), nn.AvgPool2d(3, 2, 1), conv(4, 4, 3)),
    "mean pooling inside": lambda: nn.Sequential(
        conv(3, 4, 3), nn.AvgPool2d(3, 2, 1, count_include_pad=False), conv(4, 4, 3)
    ),
    "mean pooling up": lambda: nn.Sequential(conv(3, 4, 3), nn.AvgPool2d(2, ceil_mode=True), conv(4, 4, 3)),
    "mean pooling up, even": lambda: nn.Sequential(conv(3, 4, (2, 4)), nn.AvgPool2d(2, ceil_mode=True), conv(4, 4, 3)),
    "mean pooling, divided": lambda: nn.Sequential(conv(3, 4, 3), nn.AvgPool2d(2, divisor_override=3), conv(4, 4, 3)),
    "in place after a reader": lambda: Net(read_before, a=conv(3, 4, 3), b=conv(4, 4, 3)),
    "norm at a distance": lambda: nn.Sequential(conv(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), conv(4, 4, 3)),
    "norm of the input": lambda: Net(normed_input, a=conv(3, 5, 1), norm=nn.BatchNorm2d(3), b=conv(8, 4, 3)),
    "norm later": lambda: Net(normed_later, a=conv(3, 4, 1), b=conv(4, 4, 3), norm=nn.BatchNorm2d(4)),
    "norm after a reader": lambda: Net(normed_after_a_reader, a=conv(3, 4, 3), norm=nn.BatchNorm2d(4)),
    "added in place to a whole map": lambda: Net(added_whole, a=conv(3, 4, 3), b=conv(4, 4, 3)),
    "residual": lambda: Net(residual, a=conv(3, 4, 3, padding=1), b=conv(4, 4, 3, padding=1), down=conv(3, 4, 1)),
    "residual strided": lambda: nn.Sequential(
        Net(residual, a=conv(3, 4, 3, 2, 1), b=conv(4, 4, 3, padding=1), down=conv(3, 4, 1, 2)), conv(4, 4, 3)
    ),
    "gate": lambda: nn.Sequential(Net(gated, a=conv(3, 4, 3), gate=conv(4, 4, 1)), conv(4, 4, 3)),
    "joined": lambda: nn.Sequential(Net(joined, a=conv(3, 4, 3), b=conv(4, 4, 3, padding=1)), conv(8, 4, 3)),
    "activations": lambda: nn.Sequential(
        conv(3, 4, 3), nn.SiLU(inplace=True), conv(4, 4, 3), nn.Hardswish(inplace=True), nn.GELU(), conv(4, 4, 1)
    ),
    "norm over channels": lambda: nn.Sequential(conv(3, 4, 3), nn.GroupNorm(2, 4), conv(4, 4, 3)),
    "everything at once": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 29 * 33, 4), nn.Unflatten(1, (4, 1, 1))),
    "noise over columns": lambda: Net(lambda x: x + torch.linspace(0, 9, 33)),
}


def lively(network):
    """Statistics and weights of batch norms as after a training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias, std=0.3)
    return network


def classifier(body, height=29, width=33):
    torch.manual_seed(1)
    body = lively(body()).eval().requires_grad_(False)
    channels = body(torch.zeros(1, 3, height, width)).shape[1]
    head = nn.Sequential(nn.AdaptiveMaxPool2d(3), nn.Flatten(), nn.Linear(9 * channels, 5)).requires_grad_(False)
    return lambda images: head(body((images.float() - 120) / torch.full((1, 3, 1, 1), 60.0)))


def image_bytes(height=29, width=33, count=1):
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def whole_copies(image, colors, positions):
    copies = image.repeat(len(positions), 1, 1, 1)
    patch = colors.shape[-1]
    for copy, color, (row, column) in zip(copies, colors, positions.tolist(), strict=True):
        copy[:, row : row + patch, column : column + patch] = color
    return copies


POSITIONS = torch.tensor([[0, 0], [23, 27], [11, 4], [0, 27], [12, 13], [7, 0]])


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_whole_copies(name):
    classify = classifier(NETWORKS[name])
    image, recording = image_bytes(), Recording()
    for seed in range(3):  # what the first way keeps is read by the others
        colors, positions = random_colors(6, 6, seed), POSITIONS.roll(seed, 0)
        expected = classify(whole_copies(image, colors, positions))
        assert (expected - classify(image)).abs().max() > 1e-3  # the patches make a difference
        torch.testing.assert_close(patched_logits(classify, image, recording, colors, positions), expected)


@pytest.mark.parametrize("name", ["gate", "residual", "norm"])
def test_one_copy_alone(name):
    """A factor of one copy has the shape of a factor of all copies."""
    classify = classifier(NETWORKS[name])
    image, recording = image_bytes(), Recording()
    for position in POSITIONS:
        colors = random_colors(1, 6, 0)
        expected = classify(whole_copies(image, colors, position[None]))
        torch.testing.assert_close(patched_logits(classify, image, recording, colors, position[None]), expected)


TIMM = [
    "resnet18",
    "resnet50d",
    "vgg11_bn",
    "mobilenetv2_100",
    "efficientnet_b0",
    "densenet121",
    "vit_tiny_patch16_224",
]


@pytest.mark.parametrize("name", TIMM)
def test_networks_of_timm(name, monkeypatch):
    torch.manual_seed(0)
    options = {"img_size": 64} if name.startswith("vit") else {"mlp_ratio": 0.01} if name.startswith("vgg") else {}
    network = lively(timm.create_model(name, num_classes=4, **options)).eval().requires_grad_(False)

    def classify(images):
        return network(images.float() / 128 - 1)

    assert is_supported(classify, 64)

    def forgets_patches(classify, image, recording, colors, positions):
        return classify(image).expand(len(positions), -1)

    monkeypatch.setattr(occlusion, "patched_logits", forgets_patches)
    assert not is_supported(classify, 64)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize(("height", "width"), [(24, 24), (21, 30)])
def test_scores_are_those_of_whole_copies(height, width, batch_size):
    classify = classifier(NETWORKS["residual"], height, width)
    images, target = image_bytes(height, width, 2), torch.tensor([0, 2])
    count = len(patch_corners(height, 8, 4)) * len(patch_corners(width, 8, 4))
    colors, before = random_colors(count, 8, seed=0), images.clone()
    expected = occlusion_scores(classify, images, target, colors, 4, batch_size)
    with torch.inference_mode():
        found = occlusion_scores(classify, images, target, colors, 4, batch_size, score_batches)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert expected.max() > 1e-3
    assert torch.equal(images, before)


def test_only_the_windows_are_computed(monkeypatch):
    """A 3 x 3 convolution of 100 x 100 pixels sees 8 x 8 of them for a patch of 4, and its successor 10 x 10."""
    crops = []
    real = PatchedTensor.crop

    def crop(self, *args):
        crops.append(real(self, *args))
        return crops[-1]

    monkeypatch.setattr(PatchedTensor, "crop", crop)
    first, second = (conv(3, 3, 3, padding=1).requires_grad_(False) for _ in range(2))
    positions = torch.tensor([[50, 50], [20, 70]])

    def body(images):
        return second(first(images.float()))

    with torch.inference_mode():
        patched_logits(
            lambda images: body(images).amax((2, 3)),
            image_bytes(100, 100),
            Recording(),
            random_colors(2, 4, 0),
            positions,
        )
    # of the pixels by `float`, before both convolutions, and of the result as a whole
    assert [tuple(each.shape[2:]) for each in crops] == [(4, 4), (8, 8), (10, 10), (100, 100)]


def changes_a_part(x, a):
    y = a(x)
    y[:, :2].mul_(-3)
    return y


def norm_and_input(x, a, norm):
    y = a(x)
    return norm(y) + y


def without_position(x, a):
    y, positions = functional.max_pool2d(a(x), 2, 2, return_indices=True)
    return functional.max_unpool2d(y, positions, 2)


STRANGE = {
    "changes a part in place": lambda: Net(changes_a_part, a=conv(3, 4, 3)),
    "changes a part of a small map in place": lambda: Net(changes_a_part, a=conv(3, 4, 14)),
    "uses what is normed twice": lambda: Net(norm_and_input, a=conv(3, 4, 3), norm=nn.BatchNorm2d(4)),
    "wants the positions of maxima": lambda: Net(without_position, a=conv(3, 4, 13)),
    "looks at the type": lambda: Net(lambda x, a: a(x) if type(x) is torch.Tensor else {}["x"], a=conv(3, 4, 3)),
    "looks into the memory": lambda: Net(lambda x, a: a(torch.from_numpy(x.numpy())), a=conv(3, 4, 3)),
}


@pytest.mark.parametrize("name", STRANGE)
def test_networks_that_need_whole_copies_are_recognised(name):
    assert not is_supported(classifier(STRANGE[name], 28, 28), 28)


def test_networks_that_do_not_are_not_refused():
    for name in ("residual", "norm", "gate", "max pooling up", "depthwise"):
        assert is_supported(classifier(NETWORKS[name], 28, 28), 28)


def test_a_norm_in_training_is_not_folded():
    body = nn.Sequential(conv(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).requires_grad_(False)
    body.train()
    image, colors = image_bytes(), random_colors(6, 6, 0)
    expected = body(whole_copies(image, colors, POSITIONS).float()).amax((2, 3))
    found = patched_logits(lambda images: body(images.float()).amax((2, 3)), image, Recording(), colors, POSITIONS)
    torch.testing.assert_close(found, expected)


def test_the_number_of_colors_is_checked():
    classify, images = classifier(NETWORKS["padded"], 16, 16), image_bytes(16, 16)
    for count in (4, 10):
        with pytest.raises(ValueError, match=f"expected colours for 3 x 3 patches, received {count}"):
            next(score_batches(classify, images, torch.tensor([0]), random_colors(count, 8, 0), 4, 32))
