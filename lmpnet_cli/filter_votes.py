"""Which keypoint each filter votes for, over all images: what the filter atlas says of a filter.

With a vocabulary it is the part that the vocabulary sees in the cell of the filter's maximum; without one, the keypoint
of the image whose erasing takes the filter's proposal away (Algorithm 1), kp1 being the most prominent of each image.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lmpnet_cli.config import KeypointConfig
from lmpnet_cli.keypoints import keypoint_names
from lmpnet_cli.lmp.clustering import cluster
from lmpnet_cli.lmp.network import PairMaps
from lmpnet_cli.lmp.selection import concatenate, propose, select
from lmpnet_cli.lmp.vocabulary import GRID, Vocabulary

NONE = "none"  # a filter that was not selected, or that answered in the background
THRESHOLD, K = 3.0, 5  # the defaults of `discover`


class Votes:
    """Counts votes, batch by batch."""

    def __init__(self, vocabulary: Vocabulary | None, replica: bool) -> None:
        """
        Args:
            replica: whether the filters are those of the replica.
        """
        self.vocabulary, self.replica = vocabulary, replica
        self.names = [*(vocabulary.spec.names if vocabulary else keypoint_names(K)), NONE]
        self._counts: NDArray[np.int64] = np.zeros(1, np.int64)

    def add(self, pair: PairMaps) -> None:
        """The votes of the filters on a batch; a filter without an answer has none."""
        own = pair.replica_maps if self.replica else pair.maps
        assert own is not None
        proposals = propose(own.float())
        choice = self._by_vocabulary(pair, proposals.cells) if self.vocabulary else self._by_prominence(pair)
        counted = functional.one_hot(choice, len(self.names)) * proposals.live[..., None]  # (B, C, k + 1)
        self._counts = self._counts + counted.sum(0).cpu().numpy()

    def _by_vocabulary(self, pair: PairMaps, cells: Tensor) -> Tensor:
        assert self.vocabulary is not None
        parts: Tensor = self.vocabulary(pair.maps).flatten(2).argmax(1)  # (B, HW)
        return parts.gather(1, cells).clamp(max=len(self.names) - 1)

    def _by_prominence(self, pair: PairMaps) -> Tensor:
        both = [select(propose(pair.maps.float()), KeypointConfig.filters)]
        if pair.replica_maps is not None:
            both.append(select(propose(pair.replica_maps.float()), KeypointConfig.filters))
        proposals = both[0] if len(both) == 1 else concatenate(*both)
        members = cluster(proposals, K, 1, THRESHOLD * proposals.map_size[0] / GRID).members  # (B, k, C)
        first = pair.maps.shape[1] if self.replica else 0
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
