"""The section `landmarks` of metrics.json: is each landmark where the annotation of the same name is?

A landmark of the annotations that the model does not know counts as missing, and so as wrong.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lmpnet_cli.data.annotations import AnnotatedImage
from lmpnet_cli.data.images import image_size
from lmpnet_cli.data.listing import UnreadableImage
from lmpnet_cli.errors import DatasetError
from lmpnet_cli.evaluation.pck import GroundTruth, Points
from lmpnet_cli.keypoints import box_or_image
from lmpnet_cli.landmarks.scores import mean_shape_in_boxes, named_scores, placed


def refuse_other_names(learned: Sequence[str], annotated: Sequence[str]) -> None:
    """Raise `DatasetError` where no landmark of the model has the name of an annotated one."""
    if not set(learned) & set(annotated):
        raise DatasetError(
            f"No landmark of the model ({', '.join(learned)}) has the name of an annotated one "
            f"({', '.join(annotated)}). Give them the same names."
        )


def landmark_scores(
    points: Sequence[Points],
    learned: Sequence[str],
    truths: Sequence[GroundTruth],
    annotated: Sequence[str],
    training: Sequence[AnnotatedImage],
    alpha: float,
) -> dict[str, Any]:
    """Score the landmarks of a model by name, beside the mean shape.

    Args:
        points: (k, 2) pixels for each image, in the order of `learned`; NaN rows are missing.
        learned: names of the model's landmarks.
        truths: the annotations, whose landmarks are in the order of `annotated`.
        training: images that the mean shape is taken from; empty takes the scored images.
        alpha: tolerance, as a share of the longer side of the box, or of the image where there is no box.
    """
    column = {name: index for index, name in enumerate(learned)}
    found = np.full((len(truths), len(annotated), 2), np.nan)
    for index, name in enumerate(annotated):
        if name in column:
            found[:, index] = np.array(points)[:, column[name]]

    landmarks, boxes = _landmarks_and_boxes(truths)
    shaped_by = _readable(training)
    shape = mean_shape_in_boxes(*(_landmarks_and_boxes(shaped_by) if shaped_by else (landmarks, boxes)))
    sides = boxes[:, 2:].max(1)
    baseline = named_scores(placed(shape, boxes), landmarks, sides, annotated, alpha)
    del baseline["by_landmark"]
    return {
        "protocol": "named PCK by the longer box side; a landmark that was not found is wrong",
        **named_scores(found, landmarks, sides, annotated, alpha),
        "not_learned": [name for name in annotated if name not in column],
        "not_annotated": [name for name in learned if name not in annotated],
        "baselines": {"mean_shape": baseline},
        "mean_shape_of": f"{len(shaped_by)} training images" if shaped_by else "the scored images",
    }


def _landmarks_and_boxes(truths: Sequence[GroundTruth]) -> tuple[Points, Points]:
    """Return (N, P, 2) landmarks and (N, 4) boxes; the whole image where there is no box."""
    boxes = [box_or_image(truth.bbox, truth.size) for truth in truths]
    return np.array([truth.landmarks for truth in truths]), np.array(boxes, dtype=np.float64)


def _readable(images: Sequence[AnnotatedImage]) -> list[GroundTruth]:
    """Return the annotations of those images whose box or size is known."""
    truths = []
    for image in images:
        try:
            size = (0, 0) if image.bbox else image_size(image.listed.readable)
        except UnreadableImage:
            continue
        truths.append(GroundTruth(image.landmarks, size, image.bbox))
    return truths
