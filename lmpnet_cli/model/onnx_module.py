"""The whole model as modules that can be traced: what `lmpnet export` writes as ONNX models.

It calls the same methods of `LMPNet` as `discover`. The method and its options are fixed when the module is made.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput
from lmpnet_cli.model.reading import DEFAULT_READING, Reading


class OnnxModule(nn.Module):
    """An LMPNet with its keypoint branch.

    Outputs, in the order of `OUTPUTS`:
        positions: (B, K, 2) row, column in cells of the map; whole numbers are cell centres, NaN where not found.
        scores: (B, K) in [0, 1], NaN where not found.
        replica_shares: (B, K) in [0, 1], NaN where not found or without a replica.
        classes: (B, classes) probabilities.
    """

    OUTPUTS = ("positions", "scores", "replica_shares", "classes")

    def __init__(
        self,
        model: LMPNet,
        method: Literal["lmpnet", "parts", "landmarks"],
        k: int = 5,
        thr: float = 3.0,
        reading: Reading = DEFAULT_READING,
    ) -> None:
        """Fix the method and its options.

        Args:
            model: in evaluation mode; without its replica where that is not wanted.
            k, thr, reading: as for `LMPNet.keypoints`, for the method lmpnet.
        """
        super().__init__()
        self.model, self.method, self.k, self.thr = model, method, k, thr
        self.reading = replace(reading, iterations=1)  # neither positions nor scores depend on the inner iterations

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map (B, 3, S, S) RGB bytes to the outputs."""
        model = self.model
        output = model(model.normalize(pixels), self.reading)
        if self.method == "parts":
            found = model.parts(output)
        elif self.method == "landmarks":
            found = model.landmarks(output)
        else:
            found = model.keypoints(output, self.k, self.thr, self.reading)

        shares = torch.full_like(found.scores, torch.nan) if found.replica_shares is None else found.replica_shares
        return found.positions, found.scores, shares, model.probabilities(output)


class FirstLookModule(nn.Module):
    """The network of an LMPNet as it looks for objects.

    Outputs, in the order of `OUTPUTS`:
        cells, inside: (B, H, W) each, as `LMPNet.objects`.
    """

    OUTPUTS = ("cells", "inside")

    def __init__(self, model: LMPNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, s, s) RGB bytes to the outputs."""
        logits, maps = self.model.network(self.model.normalize(pixels))
        return self.model.objects(LMPNetOutput(maps, logits))
