"""LMPNet (section 3, figure 2): backbone -> maps -> leaky max pooling -> classes, twice.

`KeypointNetwork` is one such network. `LMPNet` is the pair: the network sees the image, the replica, with weights
of its own, sees the image without the first keypoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from lmpnet_cli.model.backbone import Backbone, BackboneSpec
from lmpnet_cli.model.clustering import cluster
from lmpnet_cli.model.masking import keypoint_mask, mask_out
from lmpnet_cli.model.part_head import GRID, PartHead, PartHeadSpec
from lmpnet_cli.model.pooling import POOLINGS, pooling
from lmpnet_cli.model.selection import propose

MAX_SIZE = 2048  # side of the input in pixels


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed, beside the weights, to build an LMPNet again.

    Attributes:
        backbone: network, layer and strides.
        pooling, epsilon: one of `POOLINGS`; epsilon counts for leaky max.
        classes: class names in the order of the logits.
        input_size: side of the square input in pixels.
        mean, std: normalisation of RGB in [0, 1].
        mask_radius: of the attention mask-out, in cells of a 14 x 14 grid.
        reject: one more logit, fixed at 0, that means "none of the classes" (`--background`, not in the paper).
    """

    backbone: BackboneSpec
    classes: tuple[str, ...]
    pooling: str = "leaky_max"
    epsilon: float = 0.1
    input_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    mask_radius: float = 1.0
    reject: bool = False

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"expected a pooling out of {POOLINGS}, received {self.pooling!r}")
        # a checkpoint may be a stranger's
        if not self.classes or not all(isinstance(name, str) for name in self.classes):
            raise ValueError(f"expected names of classes, received {self.classes!r:.80}")
        if not (isinstance(self.input_size, int) and 1 <= self.input_size <= MAX_SIZE):
            raise ValueError(f"expected an input size of 1 to {MAX_SIZE}, received {self.input_size!r:.80}")
        for name, values, low in (("mean", self.mean, -1e3), ("std", self.std, 1e-6)):
            if len(values) != 3 or not all(low <= value <= 1e3 for value in values):
                raise ValueError(f"expected a {name} of three numbers, received {values!r:.80}")
        for name, number in (("epsilon", self.epsilon), ("mask_radius", self.mask_radius)):
            if not 0 <= number <= 1e3:
                raise ValueError(f"expected {name} of 0 or more, received {number!r:.80}")


class KeypointNetwork(nn.Module):
    """A classifier whose last maps are keypoint proposals."""

    def __init__(self, backbone: Backbone, spec: NetworkSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.channels, len(spec.classes))
        # small weights: pooled values are large and negative on dense maps at the start of training
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)
        self.pooling, self.epsilon, self.reject = spec.pooling, spec.epsilon, spec.reject

    def forward(self, images: Tensor, epsilon: float | None = None) -> tuple[Tensor, Tensor]:
        """Logits and maps.

        Args:
            images: (B, 3, S, S), normalised.
            epsilon: a leak other than the network's own, for the warm-up of training.

        Returns:
            (B, classes) logits, or (B, classes + 1) with the fixed logit of `reject`, and (B, C, H, W) maps.
        """
        maps = self.backbone(images)
        # sums over maps and logits in float32, whatever the precision of the convolutions
        pooled = pooling(self.pooling, self.epsilon if epsilon is None else epsilon)(maps.float())
        with torch.autocast(maps.device.type, enabled=False):
            logits = self.classifier(pooled)
        if self.reject:
            logits = torch.cat([logits, torch.zeros_like(logits[:, :1])], 1)
        return logits, maps


@dataclass(frozen=True)
class LMPNetOutput:
    """Maps and logits of both networks for a batch; the replica's are None where there is no replica."""

    maps: Tensor
    logits: Tensor
    replica_maps: Tensor | None = None
    replica_logits: Tensor | None = None


def concatenate(parts: Sequence[LMPNetOutput]) -> LMPNetOutput:
    """The maps of several batches as those of one."""
    joined: dict[str, Tensor | None] = {}
    for field in fields(LMPNetOutput):
        given = [getattr(part, field.name) for part in parts]
        joined[field.name] = None if given[0] is None else torch.cat(given)
    maps, logits = joined["maps"], joined["logits"]
    assert maps is not None and logits is not None
    return LMPNetOutput(maps, logits, joined["replica_maps"], joined["replica_logits"])


class LMPNet(nn.Module):
    """Network and replica, and the keypoint vocabulary where one was learned."""

    def __init__(
        self,
        spec: NetworkSpec,
        network: KeypointNetwork,
        replica: KeypointNetwork | None = None,
        part_head: PartHead | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.network = network
        self.replica = replica
        self.part_head = part_head
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1) * 255, persistent=False)

    def normalize(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB bytes -> normalised float32."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return images.to(mean.dtype).sub(mean).div(std)

    def hide_first_keypoint(self, images: Tensor, maps: Tensor) -> Tensor:
        """Attention mask-out: the replica's input for normalised images and the network's maps of them.

        All filters vote for what is hidden, at test as in training (papers.md 1.11.16).
        """
        threshold = 3.0 * maps.shape[2] / GRID  # the first keypoint does not depend on the threshold
        first = cluster(propose(maps.detach().float()), k=1, iterations=1, threshold=threshold)
        size = (maps.shape[2], maps.shape[3])
        mask = keypoint_mask(first.cells[:, 0], first.found[:, 0], size, self.spec.mask_radius * size[0] / GRID)
        return mask_out(images, mask)

    def forward(self, images: Tensor) -> LMPNetOutput:
        """Both networks on a batch of normalised images; gradients do not pass the mask."""
        logits, maps = self.network(images)
        if self.replica is None:
            return LMPNetOutput(maps, logits)
        replica_logits, replica_maps = self.replica(self.hide_first_keypoint(images, maps))
        return LMPNetOutput(maps, logits, replica_maps, replica_logits)


def build(spec: NetworkSpec, replica: bool, pretrained: bool = False, part_head: PartHeadSpec | None = None) -> LMPNet:
    """An LMPNet with random weights, or timm's pretrained ones in its backbones; a vocabulary has none yet.

    Raises:
        OptionError, CheckpointError: as `Backbone`.
    """

    def one() -> KeypointNetwork:
        return KeypointNetwork(Backbone(spec.backbone, pretrained), spec)

    words = None if part_head is None else PartHead(part_head)
    return LMPNet(spec, one(), one() if replica else None, words)
