"""What the keypoints of a vocabulary did on annotated pictures, gathered batch by batch from the network's maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lmpnet_cli.evaluation.part_metrics import Points, in_box, read_maps
from lmpnet_cli.evaluation.pck import GroundTruth
from lmpnet_cli.inference.parts import places
from lmpnet_cli.model.part_head import PartHead, soft_argmax


@dataclass
class PartEvaluator:
    """Positions and scores of all keypoints, seen or not, beside the annotations of the same pictures."""

    part_head: PartHead
    ground_truths: list[GroundTruth] = field(default_factory=list)
    classes: list[str | None] = field(default_factory=list)
    _xy: list[Points] = field(default_factory=list)
    _scores: list[NDArray[np.float64]] = field(default_factory=list)
    _labels: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, maps: Tensor, ground_truths: Sequence[GroundTruth], classes: Sequence[str | None]) -> None:
        """One batch of pictures with the (B, C, H, W) maps of the network and their true classes."""
        shares = self.part_head(maps)
        located = soft_argmax(shares[:, :-1])
        self._xy += places(
            located, (shares.shape[2], shares.shape[3]), [ground_truth.size for ground_truth in ground_truths]
        )
        self._scores += list(located.scores.cpu().double().numpy())
        where = np.array([(ground_truth.parts + 0.5) / ground_truth.size for ground_truth in ground_truths])
        self._labels += list(read_maps(shares, where))
        self.ground_truths += ground_truths
        self.classes += classes

    @property
    def xy(self) -> Points:
        """(N, k, 2) pixels."""
        return np.array(self._xy)

    @property
    def scores(self) -> NDArray[np.float64]:
        """(N, k) in [0, 1]."""
        return np.array(self._scores)

    @property
    def written(self) -> Points:
        """(N, k, 2) pixels as files get them: NaN where the score is below the threshold."""
        return np.where((self.scores >= self.part_head.spec.threshold)[..., None], self.xy, np.nan)

    @property
    def parts(self) -> Points:
        """(N, P, 2) annotations in pixels; NaN rows are hidden."""
        return np.array([ground_truth.parts for ground_truth in self.ground_truths])

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N, P) the part whose map is strongest at each annotation, k for the background, -1 where it is hidden."""
        return np.array(self._labels)

    @property
    def boxes(self) -> Points:
        """(N, 4) x, y, width, height; of the whole picture where there is no box."""
        whole = [(-0.5, -0.5, *ground_truth.size) for ground_truth in self.ground_truths]
        return np.array(
            [ground_truth.bbox or each for ground_truth, each in zip(self.ground_truths, whole, strict=True)],
            dtype=np.float64,
        )

    def boxed(self, points: Points) -> Points:
        """(N, k, 2) pixels as shares of the boxes."""
        return in_box(points, self.boxes)
