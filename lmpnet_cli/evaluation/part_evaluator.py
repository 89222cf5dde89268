"""What the parts of a model did on annotated images, gathered batch by batch from the network's maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.evaluation.part_metrics import Points, in_box, read_maps
from lmpnet_cli.evaluation.pck import GroundTruth
from lmpnet_cli.keypoints import NO_OBJECT, Box, box_or_image, positions_in_image
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput
from lmpnet_cli.model.part_head import PartHeadSpec, soft_argmax


@dataclass
class PartEvaluator:
    """Positions and scores of all parts, visible or not, beside the annotations of the same images.

    Attributes:
        model: with a part head.
        ground_truths, classes: of the images that were added.
    """

    model: LMPNet
    ground_truths: list[GroundTruth] = field(default_factory=list)
    classes: list[str | None] = field(default_factory=list)
    _xy: list[Points] = field(default_factory=list)
    _scores: list[NDArray[np.float64]] = field(default_factory=list)
    _labels: list[NDArray[np.int64]] = field(default_factory=list)

    @property
    def spec(self) -> PartHeadSpec:
        """Return the description of the part head."""
        assert self.model.part_head is not None
        return self.model.part_head.spec

    def add(
        self,
        output: LMPNetOutput,
        rows: Sequence[int | None],
        ground_truths: Sequence[GroundTruth],
        classes: Sequence[str | None],
        windows: Sequence[Box | None] = (),
    ) -> None:
        """Add a batch.

        Args:
            output: of the network for the whole batch.
            rows: of the maps of the objects that are scored; None for one that was not found, whose parts are nowhere.
            ground_truths, classes: annotations and true classes of those objects.
            windows: those that the maps were laid over; empty where they were laid over whole images.
        """
        kept = [0 if row is None else row for row in rows]
        part_maps = self.model.part_maps(LMPNetOutput(output.maps[kept], output.logits[kept]))
        located = soft_argmax(part_maps[:, :-1])
        positions = located.positions.cpu().double().numpy()
        scores = located.scores.cpu().double().numpy()

        given = windows or [None] * len(rows)
        missed = [row is None or window == NO_OBJECT for row, window in zip(rows, given, strict=True)]
        positions[missed], scores[missed] = np.nan, 0
        seen = [
            (0.0, 0.0, *truth.size) if gone or window is None else window
            for truth, gone, window in zip(ground_truths, missed, given, strict=True)
        ]
        for each, truth, window in zip(positions, ground_truths, seen, strict=True):
            self._xy.append(positions_in_image(each, output.map_size, truth.size, window))
        self._scores += list(scores)
        landmarks = in_box(np.array([truth.landmarks for truth in ground_truths]) + 0.5, np.array(seen))
        labels = read_maps(part_maps, landmarks)
        # outside the window there is background
        outside = ((landmarks < 0) | (landmarks > 1)).any(2) | np.array(missed)[:, None]
        labels[outside & ~np.isnan(landmarks[..., 0])] = self.spec.k
        self._labels += list(labels)
        self.ground_truths += ground_truths
        self.classes += classes

    @property
    def xy(self) -> Points:
        """Return (N, k, 2) pixels of all parts, visible or not."""
        return np.array(self._xy)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Return (N, k) scores in [0, 1]."""
        return np.array(self._scores)

    @property
    def visible_xy(self) -> Points:
        """Return (N, k, 2) pixels as they are written to files: NaN where the score is below the threshold."""
        return np.where((self.scores >= self.spec.threshold)[..., None], self.xy, np.nan)

    @property
    def landmarks(self) -> Points:
        """Return (N, P, 2) annotated landmarks in pixels; NaN rows are hidden."""
        return np.array([truth.landmarks for truth in self.ground_truths])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Return (N, P) the part whose map is strongest at each landmark, k for the background, -1 where hidden."""
        return np.array(self._labels)

    @property
    def boxes(self) -> Points:
        """Return (N, 4) x, y, width, height; of the whole image where there is no box."""
        boxes = [box_or_image(truth.bbox, truth.size) for truth in self.ground_truths]
        return np.array(boxes, dtype=np.float64)

    def boxed(self, points: Points) -> Points:
        """Convert (N, k, 2) pixels to shares of the boxes."""
        return in_box(points, self.boxes)
