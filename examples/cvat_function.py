"""Find keypoints from within CVAT: an auto-annotation function for CVAT's own command line.

    pip install cvat-cli
    cvat-cli task auto-annotate TASK --function-file examples/cvat_function.py

and for landmarks of your own

    cvat-cli task auto-annotate TASK --function-file FILE -p checkpoint=str:results/fit -p method=str:landmarks

Each object becomes a skeleton whose points are the parts of the model, or your landmarks. The task needs a label with
the same names; docs/tools.md says how to create it. Parameters:

    checkpoint  a checkpoint or its folder; without it the bundled bird model
    method      parts (default) or landmarks
    label       name of the skeleton in the task; default: object
    objects     one (default), all or none
    device      auto (default), cpu, cuda, cuda:N or mps

Keypoints that were not found, or whose score is below CVAT's --conf-threshold, are marked as outside. They are placed
in the middle of the others, from where they can be dragged.
"""

from functools import partial

import cvat_sdk.auto_annotation as cvat
from cvat_sdk.models import LabeledShapeRequest
from PIL.Image import Image

import lmpnet_cli as lmpnet

SKELETON = 0  # number of the only label
LEARNED_BY = {"parts": "lmpnet parts", "landmarks": "lmpnet fit"}  # by method


class KeypointFunction:
    """A detection function as `cvat_sdk.auto_annotation` defines it.

    Attributes:
        spec: the labels that `detect` uses.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        method: str = "parts",
        label: str = "object",
        objects: str = "one",
        device: str = "auto",
    ) -> None:
        if method not in LEARNED_BY:
            raise ValueError(f"Invalid method {method}: use {' or '.join(LEARNED_BY)}.")
        heads = lmpnet.info(checkpoint)
        if not heads.get(method):
            raise ValueError(f"The model has no {method}. Learn them with `{LEARNED_BY[method]}`.")

        points = [cvat.keypoint_spec(name, index) for index, name in enumerate(heads[method]["names"])]
        self.spec = cvat.DetectionFunctionSpec(labels=[cvat.skeleton_label_spec(label, SKELETON, points)])
        model = lmpnet.load_checkpoint(checkpoint, device)
        # no other processes to decode images, since CVAT passes them one by one
        self._find = partial(lmpnet.discover, model=model, method=method, objects=objects, device=device, workers=0)

    def detect(self, context: cvat.DetectionFunctionContext, image: Image) -> list[LabeledShapeRequest]:
        """Return a skeleton for every object on an image."""
        found = self._find(image).keypoints
        skeletons = [_skeleton(each, context.conf_threshold or 0) for each in found]
        return [each for each in skeletons if each is not None]


def _skeleton(keypoints: lmpnet.Keypoints, threshold: float) -> LabeledShapeRequest | None:
    """Return the keypoints of an object as a skeleton, or None where all scores are below the threshold."""
    shown = keypoints.scores >= threshold  # False for a missing one, whose score is NaN
    if not shown.any():
        return None

    middle = keypoints.xy[shown].mean(0)
    elements = [
        cvat.keypoint(index, (xy if visible else middle).tolist(), outside=not visible)
        for index, (xy, visible) in enumerate(zip(keypoints.xy, shown.tolist(), strict=True))
    ]
    return cvat.skeleton(SKELETON, elements)


create = KeypointFunction  # the name that CVAT looks for
