"""Which keypoint each filter votes for, over all images: what the filter atlas says of a filter.

With a vocabulary it is the part that the vocabulary sees in the cell of the filter's maximum; without one, the keypoint
of the image whose erasing takes the filter's proposal away (Algorithm 1), kp1 being the most prominent of each image.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lmpnet_cli.config import KeypointConfig, options_of
from lmpnet_cli.keypoints import keypoint_names
from lmpnet_cli.model.clustering import cluster
from lmpnet_cli.model.lmpnet import LMPNetOutput
from lmpnet_cli.model.part_head import GRID, PartHead
from lmpnet_cli.model.selection import concatenate, propose, select

NONE = "none"  # a filter that was not selected, or that answered in the background
THRESHOLD, K = 3.0, 5  # the defaults of `discover`
FILTERS: int = options_of(KeypointConfig)["filters"].default


class Votes:
    """Counts votes, batch by batch."""

    def __init__(self, part_head: PartHead | None, replica: bool) -> None:
        """
        Args:
            replica: whether the filters are those of the replica.
        """
        self.part_head, self.replica = part_head, replica
        self.names = [*(part_head.spec.names if part_head else keypoint_names(K)), NONE]
        self._counts: NDArray[np.int64] = np.zeros(1, np.int64)

    def add(self, output: LMPNetOutput) -> None:
        """The votes of the filters on a batch; a filter without an answer has none."""
        own = output.replica_maps if self.replica else output.maps
        assert own is not None
        proposals = propose(own.float())
        choice = self._by_vocabulary(output, proposals.cells) if self.part_head else self._by_prominence(output)
        counted = functional.one_hot(choice, len(self.names)) * proposals.live[..., None]  # (B, C, k + 1)
        self._counts = self._counts + counted.sum(0).cpu().numpy()

    def _by_vocabulary(self, output: LMPNetOutput, cells: Tensor) -> Tensor:
        assert self.part_head is not None
        parts: Tensor = self.part_head(output.maps).flatten(2).argmax(1)  # (B, HW)
        return parts.gather(1, cells).clamp(max=len(self.names) - 1)

    def _by_prominence(self, output: LMPNetOutput) -> Tensor:
        both = [select(propose(output.maps.float()), FILTERS)]
        if output.replica_maps is not None:
            both.append(select(propose(output.replica_maps.float()), FILTERS))
        proposals = both[0] if len(both) == 1 else concatenate(*both)
        members = cluster(proposals, K, 1, THRESHOLD * proposals.map_size[0] / GRID).members  # (B, k, C)
        first = output.maps.shape[1] if self.replica else 0
        members = members[:, :, first : first + both[-1 if self.replica else 0].cells.shape[1]]
        found = members.any(1)
        choice: Tensor = members.int().argmax(1)
        return choice.masked_fill(~found, len(self.names) - 1)

    def shares(self, filter: int) -> list[tuple[str, float]]:
        """Of the keypoints in the votes of one filter, most first."""
        counts = self._counts[filter]
        total = max(1, int(counts.sum()))
        order = np.argsort(-counts, kind="stable")
        return [(self.names[index], round(float(counts[index]) / total, 4)) for index in order if counts[index]]
