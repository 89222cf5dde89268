"""Which keypoint each filter votes for, over all images: what the filter atlas says about a filter.

With a part head it is the part in the cell of the filter's maximum; without one it is the keypoint of the image that
erases the filter's proposal (Algorithm 1), kp1 being the most prominent of each image.
"""

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional

from lmpnet_cli.keypoints import keypoint_names
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput
from lmpnet_cli.model.reading import DEFAULT_READING, Reading
from lmpnet_cli.model.selection import propose

NONE = "none"  # a filter that was not selected, or whose maximum is in the background


class FilterVotes:
    """Counts votes, batch by batch."""

    def __init__(
        self, model: LMPNet, replica: bool, k: int = 5, thr: float = 3.0, reading: Reading = DEFAULT_READING
    ) -> None:
        """
        Args:
            replica: count the filters of the replica in place of the network's.
            k, thr, reading: as for `LMPNet.keypoints`, for a model without a part head.
        """
        self.model, self.replica, self.k, self.thr, self.reading = model, replica, k, thr, reading
        names = keypoint_names(k) if model.part_head is None else model.part_head.spec.names
        self.names = [*names, NONE]
        self._counts: NDArray[np.int64] = np.zeros(1, np.int64)

    def add(self, output: LMPNetOutput) -> None:
        """Count the votes of the filters on a batch; a filter with an all-zero map has none."""
        live = propose(output.all_maps[1 if self.replica else 0].float()).live  # (B, C)
        if self.model.part_head is None:
            votes = self.model.voted_keypoints(output, self.replica, self.k, self.thr, self.reading)
        else:
            votes = self.model.voted_parts(output, self.replica)

        counted = functional.one_hot(votes, len(self.names)) * live[..., None]  # (B, C, k + 1)
        self._counts = self._counts + counted.sum(0).cpu().numpy()

    def shares(self, filter: int) -> list[tuple[str, float]]:
        """Return the keypoints in the votes of one filter with their shares, most first."""
        counts = self._counts[filter]
        total = max(1, int(counts.sum()))
        order = np.argsort(-counts, kind="stable")
        return [(self.names[index], round(float(counts[index]) / total, 4)) for index in order if counts[index]]
