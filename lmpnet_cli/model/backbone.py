"""Backbone: any timm network as a function from images to the feature maps of one layer.

timm is imported where it is needed: that takes more than a second (`resnet`).

1. `BackboneSpec` names network, layer, output stride and stride position: all that is needed to build a backbone again.
2. `Backbone` gives the maps after a final ReLU (docs/papers.md L9), (B, C, H, W); networks that end in another
   activation (ConvNeXt, ViT) are rectified; those that end in ReLU are not changed by it.
3. `frozen_maps` runs the frozen layers alone, and `forward_from` the layers behind them.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmpnet_cli.errors import OptionError
from lmpnet_cli.model.resnet import BLOCKS, ResNet50


@dataclass(frozen=True)
class BackboneSpec:
    """How to build a backbone.

    Attributes:
        name: timm model name.
        layer: a feature layer by name (`layer3`) or by index among the network's feature layers (`-1`: the last).
        output_stride: 32, 16 or 8; deeper strides become dilation, so that pretrained weights still fit; None: as
            built.
        caffe_pooling: the first pooling without padding, rounding up, as Caffe's weights were trained; with padding
            they respond at the right and lower edge.
        stride_in_1x1: ResNet v1, where the first 1x1 convolution of a stage carries its stride (Caffe's weights).
    """

    name: str = "resnet50"
    layer: str = "-1"
    output_stride: int | None = None
    stride_in_1x1: bool = False
    caffe_pooling: bool = False


class Backbone(nn.Module):
    """A network cut after one feature layer."""

    def __init__(self, spec: BackboneSpec, pretrained: bool = False, empty: bool = False) -> None:
        """Build the network with random weights, or with timm's pretrained ones.

        Args:
            empty: the weights may be anything, because those of a file are loaded next.

        Raises:
            OptionError: for a name, layer or output stride that timm does not have.
            CheckpointError: when pretrained weights cannot be fetched.
        """
        super().__init__()
        self.spec = spec
        self._frozen: list[nn.Module] = []
        self._frozen_layer: str | None = None

        is_resnet50 = spec.name == "resnet50" and spec.layer in BLOCKS and spec.output_stride is None
        self.network: Any
        if empty and is_resnet50:
            self.network = ResNet50(spec.layer)
            self.channels = self.network.channels
        else:
            self.network, self.channels = _from_timm(spec, pretrained)

        if spec.stride_in_1x1:
            _move_strides(self.network, spec.name)
        if spec.caffe_pooling:
            _unpad_pooling(self.network, spec.name)

    def forward(self, images: Tensor) -> Tensor:
        """Compute (B, C, H, W) maps, none negative, of (B, 3, S, T) normalised images.

        Raises:
            OptionError: for a size that the network does not accept.
        """
        with self._accepting(images):
            maps: Tensor | list[Tensor] = self.network(images)
        return self._rectified(maps if isinstance(maps, Tensor) else maps[-1])

    @contextmanager
    def _accepting(self, images: Tensor) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:  # vision transformers whose patches do not fill the image
            size = " x ".join(map(str, images.shape[2:]))
            raise OptionError(
                f"{self.spec.name} does not accept {size} pixels: {error} Choose another --size."
            ) from error

    def _rectified(self, maps: Tensor) -> Tensor:
        if str(getattr(self.network, "output_fmt", "NCHW")).endswith("NHWC"):  # Swin
            maps = maps.permute(0, 3, 1, 2)
        return maps.relu()

    def fold_batch_norms(self) -> None:
        """Make evaluation faster, as `ResNet50.fold_batch_norms`; other networks stay as they are."""
        if isinstance(self.network, ResNet50):
            self.network.fold_batch_norms()

    def freeze_through(self, layer: str) -> None:
        """Freeze everything up to and including a feature layer: weights and batch norm statistics.

        Raises:
            OptionError: when the network has no such layer.
        """
        modules = dict(self.network.named_modules())
        inside = [name for name in modules if name == layer or name.startswith(f"{layer}.")]
        if not inside:
            children = ", ".join(name for name, _ in self.network.named_children())
            raise OptionError(f"{self.spec.name} has no layer {layer!r} to freeze. It has {children}.")

        names = list(modules)
        # definition order is forward order in timm's feature networks
        leaves = [modules[name] for name in names[: names.index(inside[-1]) + 1]]
        self._frozen = [module for module in leaves if not any(True for _ in module.children())]

        for module in leaves:
            for parameter in module.parameters(recurse=False):  # scales and position tables are outside the leaves
                parameter.requires_grad_(False)
        for module in self._frozen:
            module.eval()
        self._frozen_layer = layer

    def frozen_maps(self, images: Tensor) -> Tensor:
        """Compute what the frozen layers give for (B, 3, S, T) normalised images, as the layers behind them take it.

        Raises:
            OptionError: when the network has no frozen part that can run alone, or does not accept the size.
        """
        frozen, _ = self._frozen_and_trained()
        with self._accepting(images):
            maps: Tensor = frozen(images)
        return maps

    def forward_from(self, maps: Tensor) -> Tensor:
        """Compute the (B, C, H, W) maps of `forward` from what `frozen_maps` gave for the images.

        Raises:
            OptionError: when the network has no frozen part that can run alone.
        """
        _, trained = self._frozen_and_trained()
        return self._rectified(trained(maps))

    def _frozen_and_trained(self) -> tuple[nn.Sequential, nn.Sequential]:
        from timm.models import FeatureListNet

        name, layer = self.spec.name, self._frozen_layer
        # only the children of these are known to run one after another
        if not isinstance(self.network, ResNet50 | FeatureListNet):
            raise OptionError(f"The frozen layers of {name} cannot run alone; remove --stored-maps.")

        children = dict(self.network.named_children())
        if layer not in children:
            raise OptionError(
                f"--stored-maps needs --freeze with a whole layer of {name}: one of {', '.join(list(children)[:-1])}."
            )
        modules, count = list(children.values()), list(children).index(layer) + 1
        if count == len(modules):
            raise OptionError(
                f"--freeze {layer} freezes all of {name}, which leaves no layer to train on stored maps. Freeze up to "
                "an earlier layer, or remove --stored-maps."
            )
        return nn.Sequential(*modules[:count]), nn.Sequential(*modules[count:])

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode as `nn.Module.train` does, but keep frozen layers in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self


class TrainedPart(Backbone):
    """The layers of a backbone behind its frozen ones: a backbone that takes frozen maps in place of images."""

    def __init__(self, whole: Backbone) -> None:
        """Share the layers of `whole`; nothing is copied."""
        nn.Module.__init__(self)
        self.whole = whole
        self.channels = whole.channels

    def forward(self, maps: Tensor) -> Tensor:
        """Compute the maps of the whole backbone from its frozen maps."""
        return self.whole.forward_from(maps)

    def train(self, mode: bool = True) -> "TrainedPart":
        """Set the mode of the whole backbone."""
        self.whole.train(mode)
        return self


def _from_timm(spec: BackboneSpec, pretrained: bool) -> tuple[Any, int]:
    """Return timm's network cut after the layer, and the channels of its maps."""
    import timm

    from lmpnet_cli.model.pretrained import quiet_libraries, unavailable

    probe = _probe(spec)
    index = _layer_index(spec, probe)
    options: dict[str, Any] = {} if spec.output_stride is None else {"output_stride": spec.output_stride}
    if any(hasattr(module, "dynamic_img_size") for module in probe.modules()):
        options["dynamic_img_size"] = True  # vision transformers at sizes other than that of their weights
    try:
        with quiet_libraries():
            network: Any = timm.create_model(
                spec.name, pretrained=pretrained, features_only=True, out_indices=(index,), **options
            )
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise OptionError(f"{spec.name} cannot be built with these options: {error}") from error
        raise unavailable(spec.name, error) from error
    except (NotImplementedError, TypeError, AssertionError) as error:
        raise OptionError(f"{spec.name} has no output stride {spec.output_stride}; remove --output-stride.") from error
    return network, network.feature_info.channels()[-1]


def plan(spec: BackboneSpec) -> Backbone:
    """Return a backbone that takes no memory and cannot run, to check its description and to know its tensors.

    Raises:
        OptionError: as `Backbone`.
    """
    with torch.device("meta"):
        return Backbone(spec)


def _probe(spec: BackboneSpec) -> Any:
    import timm

    if not timm.is_model(spec.name):  # also refuses addresses of hubs and folders, which timm would follow
        near = difflib.get_close_matches(str(spec.name), timm.list_models(), n=3, cutoff=0.4)
        raise OptionError(f"timm has no backbone {spec.name!r:.80}. Similar names: {', '.join(near) or 'none'}.")
    try:
        # on the meta device a network costs no memory and no time for weights
        with torch.device("meta"):
            return timm.create_model(spec.name, pretrained=False, features_only=True)
    except RuntimeError as error:
        raise OptionError(
            f"{spec.name} does not provide feature maps and cannot be used as a backbone ({error})."
        ) from error


def feature_layers(spec: BackboneSpec) -> list[str]:
    """Return the names of the feature layers of the whole network, the first one first.

    Raises:
        OptionError: for a name that timm does not have.
    """
    return _names(_probe(spec))


def _names(probe: Any) -> list[str]:
    return [entry["module"] for entry in probe.feature_info.get_dicts()]


def _layer_index(spec: BackboneSpec, probe: Any) -> int:
    names = _names(probe)
    if spec.layer in names:
        return names.index(spec.layer)
    try:
        return range(len(names))[int(spec.layer)]
    except (ValueError, IndexError, OverflowError, TypeError) as error:
        raise OptionError(
            f"{spec.name} has no feature layer {spec.layer!r}. It has {', '.join(names)}, or 0 to {len(names) - 1}."
        ) from error


def _move_strides(network: nn.Module, name: str) -> None:
    moved = 0
    for block in network.modules():
        first, second = getattr(block, "conv1", None), getattr(block, "conv2", None)
        if not isinstance(first, nn.Conv2d) or not isinstance(second, nn.Conv2d):
            continue
        if first.kernel_size == (1, 1) and second.stride != (1, 1):
            first.stride, second.stride = second.stride, (1, 1)
            moved += 1
    if not moved:
        raise OptionError(f"{name} has no strided bottleneck blocks; remove --stride-in-1x1.")


def _unpad_pooling(network: nn.Module, name: str) -> None:
    first = next(((key, module) for key, module in network.named_modules() if isinstance(module, nn.MaxPool2d)), None)
    if first is None:
        raise OptionError(f"{name} has no max pooling; remove --caffe-pooling.")
    key, old = first
    network.set_submodule(key, nn.MaxPool2d(old.kernel_size, old.stride, padding=0, ceil_mode=True))
