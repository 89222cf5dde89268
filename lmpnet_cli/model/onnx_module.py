"""The whole path from picture to keypoints as one module: what `lmpnet export` writes as one ONNX graph.

Both orders are here as `discover` has them: by prominence (selection, mask-out with the replica, clustering, fusion)
and by the vocabulary. Everything that is an option of `discover` is fixed when the module is made.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmpnet_cli.model.fusion import ballot, fuse
from lmpnet_cli.model.lmpnet import LMPNet
from lmpnet_cli.model.part_head import soft_argmax


@dataclass(frozen=True)
class OnnxSpec:
    """What is fixed in a graph; as the options of `discover`.

    Attributes:
        identity: keypoints of the vocabulary; the other fields are then without effect.
        k, threshold, filters, margin: as for `fuse` and `ballot`.
    """

    identity: bool = False
    k: int = 5
    threshold: float = 3.0
    filters: int | None = None
    margin: int = 0


class OnnxModule(nn.Module):
    """An LMPNet with its keypoint branch.

    Outputs, in the order of `OUTPUTS`:
        positions: (B, K, 2) row, column in cells of the map; whole numbers are cell centres, NaN where not found.
        scores: (B, K) in [0, 1], NaN where not found.
        replica_shares: (B, K) in [0, 1], NaN where not found or without a replica.
        classes: (B, classes) probabilities.
    """

    OUTPUTS = ("positions", "scores", "replica_shares", "classes")

    def __init__(self, model: LMPNet, spec: OnnxSpec) -> None:
        """
        Args:
            model: in evaluation mode; without its replica where that is not wanted.
        """
        super().__init__()
        self.model, self.spec = model, spec

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, S, S) RGB bytes to the outputs."""
        model, spec = self.model, self.spec
        output = model(model.normalize(pixels))
        classes = output.logits[:, : len(model.spec.classes)].float().softmax(1)
        if spec.identity:
            assert model.part_head is not None
            located = soft_argmax(model.part_head(output.maps)[:, :-1])
            missing = located.scores < model.part_head.spec.threshold
            scores = located.scores.clamp(max=1).masked_fill(missing, torch.nan)
            positions = located.positions.masked_fill(missing[..., None], torch.nan)
            return positions, scores, torch.full_like(scores, torch.nan), classes
        # neither positions nor scores depend on the inner iterations
        found = fuse(ballot(output, spec.filters, spec.margin), spec.k, spec.threshold, iterations=1)
        return found.positions, found.scores, found.replica_shares, classes
