"""ResNet-50 up to one of its layers, without weights, for checkpoints that bring their own.

It is timm's network with the same names, so that the same file fits both. It is written again because importing timm
takes as long as importing PyTorch, and `discover` with the bundled model needs nothing else of it. Training and all
other backbones take timm's.
"""

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}
WIDTHS = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
EXPANSION = 4  # channels of a block's output, as a multiple of its width


class EmptyConv2d(nn.Conv2d):
    """A convolution that takes no time for random weights."""

    def reset_parameters(self) -> None:
        """Leave the weights as the memory is."""


class Bottleneck(nn.Module):
    """A residual block: 1 x 1, 3 x 3 and 1 x 1 convolution beside a short cut (He et al., 2016)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        """
        Args:
            channels: of the input.
            stride: of the 3 x 3 convolution.
        """
        super().__init__()
        out = EXPANSION * width
        self.conv1 = EmptyConv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = EmptyConv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU(inplace=True)
        self.conv3 = EmptyConv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.act3 = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(EmptyConv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, maps: Tensor) -> Tensor:
        """Compute (B, 4 * width, H, W) maps of (B, channels, H, W); H and W are divided by the stride."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        maps = self.act1(self.bn1(self.conv1(maps)))
        maps = self.act2(self.bn2(self.conv2(maps)))
        maps = self.bn3(self.conv3(maps))
        maps += shortcut
        rectified: Tensor = self.act3(maps)
        return rectified


class ResNet50(nn.Sequential):
    """ResNet-50 up to a layer; its weights are what the memory holds, until those of a file are loaded.

    Attributes:
        channels: of its maps.
    """

    def __init__(self, layer: str) -> None:
        """
        Args:
            layer: layer1 to layer4.
        """
        modules: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=EmptyConv2d(3, 64, 7, 2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(64),
            act1=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(3, 2, padding=1),
        )
        channels = 64
        for name in list(BLOCKS)[: list(BLOCKS).index(layer) + 1]:
            modules[name], channels = _stage(channels, name)
        super().__init__(modules)
        self.channels = channels

    def fold_batch_norms(self) -> None:
        """Multiply them into the weights of the convolutions before them, for evaluation.

        The maps stay the same but for rounding, and are computed in a fifth less time.
        """
        for module in self.modules():
            children = list(module.named_children())
            for (_, convolution), (name, norm) in pairwise(children):
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    _fold(convolution, norm)
                    setattr(module, name, nn.Identity())


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )


def _stage(channels: int, name: str) -> tuple[nn.Sequential, int]:
    """Return the blocks of a layer for an input of so many channels, and the channels of its output."""
    width, first = WIDTHS[name], 1 if name == "layer1" else 2
    blocks = [Bottleneck(channels, width, first)]
    blocks += [Bottleneck(EXPANSION * width, width, 1) for _ in range(1, BLOCKS[name])]
    return nn.Sequential(*blocks), EXPANSION * width
