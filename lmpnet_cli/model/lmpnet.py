"""The model that every command calls (sections 3.1 to 3.4, figure 2): backbone -> maps -> pooling -> classes, twice.

`KeypointNetwork` is one such network. `LMPNet` is the pair: the network sees the image; the replica, with weights of
its own, sees the image without the first keypoint. What is read from their maps is a method of `LMPNet`:

- `forward`: images to maps and logits;
- `keypoints`: the paper's keypoints, ranked anew in each image;
- `parts`: the keypoints of the part head, the same part in every image (not in the paper);
- `landmarks`: the landmarks that a user named (not in the paper);
- `classes`: the predicted class;
- `voted_keypoints`, `voted_parts`: which keypoint each filter votes for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from lmpnet_cli.model.backbone import Backbone, BackboneSpec
from lmpnet_cli.model.clustering import cluster, to_map_cells
from lmpnet_cli.model.fusion import Detections, fuse, fused_clusters, select_voters
from lmpnet_cli.model.landmark_head import LandmarkHead, LandmarkHeadSpec
from lmpnet_cli.model.masking import keypoint_mask, mask_out
from lmpnet_cli.model.objects import ObjectHead, prominence, response
from lmpnet_cli.model.part_head import Located, PartHead, PartHeadSpec, soft_argmax
from lmpnet_cli.model.pooling import POOLINGS, pooling
from lmpnet_cli.model.reading import DEFAULT_READING, Reading
from lmpnet_cli.model.selection import propose

MAX_SIZE = 2048  # largest side of the input in pixels


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed, besides the weights, to build an LMPNet again.

    Attributes:
        backbone: network, layer and strides.
        pooling, epsilon: one of `POOLINGS`; epsilon is used by leaky max pooling.
        classes: class names in the order of the logits.
        input_size: side of the square input in pixels.
        mean, std: normalisation of RGB in [0, 1].
        mask_radius: of the attention mask-out in training, in cells of a 14 x 14 grid.
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
        """Check the values: a checkpoint may come from an untrusted source."""
        if self.pooling not in POOLINGS:
            raise ValueError(f"expected a pooling out of {POOLINGS}, received {self.pooling!r}")
        if not self.classes or not all(isinstance(name, str) for name in self.classes):
            raise ValueError(f"expected names of classes, received {self.classes!r:.80}")
        if not (isinstance(self.input_size, int) and 1 <= self.input_size <= MAX_SIZE):
            raise ValueError(f"expected an input size of 1 to {MAX_SIZE}, received {self.input_size!r:.80}")

        for name, values, low in (("mean", self.mean, -1e3), ("std", self.std, 1e-6)):
            if len(values) != 3 or not all(low <= value <= 1e3 for value in values):
                raise ValueError(f"expected a {name} of three numbers from {low:g} to 1000, received {values!r:.80}")
        for name, number in (("epsilon", self.epsilon), ("mask_radius", self.mask_radius)):
            if not 0 <= number <= 1e3:
                raise ValueError(f"expected {name} of 0 to 1000, received {number!r:.80}")


class KeypointNetwork(nn.Module):
    """A classifier whose last maps are keypoint proposals."""

    def __init__(self, backbone: Backbone, spec: NetworkSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.channels, len(spec.classes))
        # small weights: pooled values are large and negative on dense maps at the start of training
        if not self.classifier.weight.is_meta:  # to draw there, PyTorch would import its compiler, which takes a second
            nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)
        self.pooling, self.epsilon, self.reject = spec.pooling, spec.epsilon, spec.reject

    def forward(self, images: Tensor, epsilon: float | None = None) -> tuple[Tensor, Tensor]:
        """Compute logits and maps.

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
    """Maps and logits of both networks for a batch; the replica's are None where there is no replica.

    Attributes:
        maps, replica_maps: (B, C, H, W).
        logits, replica_logits: (B, classes), or (B, classes + 1) with the logit of `reject`.
    """

    maps: Tensor
    logits: Tensor
    replica_maps: Tensor | None = None
    replica_logits: Tensor | None = None

    @property
    def map_size(self) -> tuple[int, int]:
        """Return (H, W) in cells."""
        return self.maps.shape[2], self.maps.shape[3]

    @property
    def all_maps(self) -> list[Tensor]:
        """Return the maps of the network and, where there is one, of the replica."""
        return [self.maps] if self.replica_maps is None else [self.maps, self.replica_maps]


def concatenate(outputs: Sequence[LMPNetOutput]) -> LMPNetOutput:
    """Join the outputs of several batches into one."""
    joined: dict[str, Tensor | None] = {}
    for field in fields(LMPNetOutput):
        given = [getattr(output, field.name) for output in outputs]
        joined[field.name] = None if given[0] is None else torch.cat(given)

    maps, logits = joined["maps"], joined["logits"]
    assert maps is not None and logits is not None
    return LMPNetOutput(maps, logits, joined["replica_maps"], joined["replica_logits"])


class LMPNet(nn.Module):
    """Network and replica, and the part head, the object head and the landmark head where they were learned."""

    def __init__(
        self,
        spec: NetworkSpec,
        network: KeypointNetwork,
        replica: KeypointNetwork | None = None,
        part_head: PartHead | None = None,
        object_head: ObjectHead | None = None,
        landmark_head: LandmarkHead | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.network = network
        self.replica = replica
        self.part_head = part_head
        self.object_head = object_head
        self.landmark_head = landmark_head
        # on the CPU also where the rest is planned without memory: PyTorch would import its compiler to multiply there
        for name in ("mean", "std"):
            values = torch.tensor(getattr(spec, name), device="cpu").view(1, 3, 1, 1) * 255
            self.register_buffer(name, values, persistent=False)

    def normalize(self, images: Tensor) -> Tensor:
        """Normalise (B, 3, S, S) RGB bytes to float32."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return images.to(mean.dtype).sub(mean).div(std)

    def forward(self, images: Tensor, reading: Reading = DEFAULT_READING) -> LMPNetOutput:
        """Run both networks on a batch of normalised images; gradients do not pass the mask.

        Args:
            reading: decides what is hidden from the replica, by `filters`, `margin` and `mask_radius`.
        """
        logits, maps = self.network(images)
        if self.replica is None:
            return LMPNetOutput(maps, logits)

        replica_logits, replica_maps = self.replica(self.hide_first_keypoint(images, maps, reading))
        return LMPNetOutput(maps, logits, replica_maps, replica_logits)

    def hide_first_keypoint(self, images: Tensor, maps: Tensor, reading: Reading | None = None) -> Tensor:
        """Apply attention mask-out (section 3.3): make the replica's input from normalised images and their maps.

        Hidden is the first keypoint of the network's keypoint branch, so only selected filters vote for it
        (docs/papers.md L16). Without a `reading` the mask is as large as in training.
        """
        reading = reading or Reading(mask_radius=self.spec.mask_radius)
        proposals = select_voters([maps.detach()], reading.filters, reading.margin).proposals
        first = cluster(proposals, k=1, iterations=1)  # whatever the threshold
        radius = to_map_cells(reading.mask_radius, proposals.map_size)
        return mask_out(images, keypoint_mask(first.cells[:, 0], first.found[:, 0], proposals.map_size, radius))

    def keypoints(
        self, output: LMPNetOutput, k: int = 5, thr: float = 3.0, reading: Reading = DEFAULT_READING
    ) -> Detections:
        """Find the paper's keypoints: selection, learnable clustering and fusion (sections 3.2 to 3.4).

        Args:
            k: number of keypoints to look for.
            thr: erasing distance in cells of a 14 x 14 grid over the image.
            reading: what the paper leaves open; the same as for `forward`.

        Returns:
            K = k keypoints, the most prominent first.
        """
        return self.keypoint_sweep(output, (thr,), k, reading)[0]

    def keypoint_sweep(
        self, output: LMPNetOutput, thr: Sequence[float], k: int = 5, reading: Reading = DEFAULT_READING
    ) -> list[Detections]:
        """Find the keypoints for several erasing distances at little more than the cost of one, as `keypoints`."""
        return fuse(select_voters(output.all_maps, reading.filters, reading.margin), k, thr, reading)

    def part_maps(self, output: LMPNetOutput) -> Tensor:
        """Compute the share of each part in each cell, (B, k + 1, H, W); the last one is the background.

        Raises:
            ValueError: when the model has no part head.
        """
        if self.part_head is None:
            raise ValueError("expected a model with a part head, received one without")

        maps: Tensor = self.part_head(output.maps)
        return maps

    def parts(self, output: LMPNetOutput) -> Detections:
        """Find the keypoints of the part head: index i is the same part in every image; hidden parts are NaN.

        Raises:
            ValueError: when the model has no part head.
        """
        part_maps = self.part_maps(output)
        assert self.part_head is not None
        return _visible(soft_argmax(part_maps[:, :-1]), self.part_head.spec.threshold, output.map_size)

    def landmarks(self, output: LMPNetOutput) -> Detections:
        """Find the landmarks of the landmark head: index i is the same one in every image; hidden ones are NaN.

        Raises:
            ValueError: when the model has no landmark head.
        """
        if self.landmark_head is None:
            raise ValueError("expected a model with a landmark head, received one without")
        threshold = self.landmark_head.get_buffer("threshold")
        return _visible(self.landmark_head.located(output.maps), threshold, output.map_size)

    def objects(self, output: LMPNetOutput) -> tuple[Tensor, Tensor]:
        """Tell where the objects are, for the first look.

        Returns:
            The prominence of each cell, (B, H, W), 1 for the strongest of its image, and how likely it belongs to an
            object, (B, H, W) in [0, 1]. Without an object head both are the response. Both are 0 on an image that the
            logit of `reject` calls none of the classes.
        """
        strongest = response(output.maps)
        inside = strongest if self.object_head is None else self.object_head(output.maps)
        cells = strongest if self.object_head is None else prominence(strongest, inside)
        if self.spec.reject:
            shown = (output.logits.argmax(1) < len(self.spec.classes))[:, None, None]
            cells, inside = cells * shown, inside * shown
        return cells, inside

    def probabilities(self, output: LMPNetOutput) -> Tensor:
        """Compute the (B, classes) class probabilities of the network, `reject` excluded."""
        return output.logits[:, : len(self.spec.classes)].float().softmax(1)

    def classes(self, output: LMPNetOutput) -> tuple[Tensor, Tensor]:
        """Return the predicted class and its probability, (B,) each."""
        best = self.probabilities(output).max(1)
        return best.indices, best.values

    def voted_keypoints(
        self, output: LMPNetOutput, replica: bool, k: int, thr: float, reading: Reading = DEFAULT_READING
    ) -> Tensor:
        """Tell which keypoint each filter votes for, (B, C): the one that erases its proposal; k for none.

        Args:
            replica: the filters of the replica in place of the network's; the rest as for `keypoints`.
        """
        voters = select_voters(output.all_maps, reading.filters, reading.margin)
        clusters = fused_clusters(voters, k, thr, reading)
        members = torch.split(voters.by_filter(clusters.members.int()), voters.counts, 2)[1 if replica else 0]
        return members.argmax(1).masked_fill(~members.any(1), k)

    def voted_parts(self, output: LMPNetOutput, replica: bool) -> Tensor:
        """Tell which part each filter votes for, (B, C): the part in the cell of its maximum; k for the background."""
        maps = output.all_maps[1 if replica else 0]
        return self.part_maps(output).flatten(2).argmax(1).gather(1, propose(maps.float()).cells)


def _visible(located: Located, threshold: Tensor | float, map_size: tuple[int, int]) -> Detections:
    """Return what was located; NaN where the score is below the threshold."""
    hidden = located.scores < threshold
    return Detections(
        located.positions.masked_fill(hidden[..., None], torch.nan),
        located.scores.clamp(max=1).masked_fill(hidden, torch.nan),
        map_size,
    )


def build(
    spec: NetworkSpec,
    replica: bool,
    pretrained: bool = False,
    part_head: PartHeadSpec | None = None,
    object_head: bool = False,
    landmark_head: LandmarkHeadSpec | None = None,
    empty: bool = False,
) -> LMPNet:
    """Build an LMPNet with random weights, or timm's pretrained ones in its backbones; the heads have none yet.

    Args:
        empty: the weights may be anything, because those of a file are loaded next.

    Raises:
        OptionError, CheckpointError: as `Backbone`.
    """

    def build_network() -> KeypointNetwork:
        return KeypointNetwork(Backbone(spec.backbone, pretrained, empty), spec)

    network = build_network()
    return LMPNet(
        spec,
        network,
        build_network() if replica else None,
        None if part_head is None else PartHead(part_head),
        ObjectHead(network.backbone.channels) if object_head else None,
        None if landmark_head is None else LandmarkHead(landmark_head),
    )
