"""Find keypoints from within Label Studio: a machine-learning backend that predicts them when a task is opened.

    python examples/label_studio_backend.py
    python examples/label_studio_backend.py -c results/fit --method landmarks --port 9090

Each keypoint becomes a point with the name of a part of the model, or of your landmark. The labelling configuration of
the project needs the same names; docs/tools.md says how to create it, and how to connect the backend.

The program needs label-studio-ml 2, which is installed from its repository, HumanSignal/label-studio-ml-backend.
"""

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from label_studio_ml.model import LabelStudioMLBase

import lmpnet_cli as lmpnet
from lmpnet_cli.errors import LmpnetError

CONTROL = "KeyPointLabels"
POINT_WIDTH = 0.75  # percent of the image
LEARNED_BY = {"parts": "lmpnet parts", "landmarks": "lmpnet fit"}  # by method


class KeypointBackend(LabelStudioMLBase):  # type: ignore[misc]
    """The backend. Label Studio's server makes an object for every request, so that the class keeps the model.

    Attributes:
        find: returns the keypoints on an image file.
        version: names the model in Label Studio.
    """

    find: ClassVar[Callable[[str], Any]]
    version: ClassVar[str]

    @classmethod
    def load(
        cls, checkpoint: str | None = None, method: str = "parts", objects: str = "one", device: str = "auto"
    ) -> None:
        """Load the model; call this once, before the server starts."""
        record = lmpnet.info(checkpoint)
        if not record.get(method):
            raise ValueError(f"The model has no {method}. Learn them with `{LEARNED_BY[method]}`.")

        model = lmpnet.load_checkpoint(checkpoint, device)
        # no other processes to decode images, since Label Studio asks for few at a time
        cls.find = partial(lmpnet.discover, model=model, method=method, objects=objects, device=device, workers=0)
        cls.version = f"lmpnet {method} {record['sha256'][:12]}"

    def setup(self) -> None:
        """Tell Label Studio which model this is."""
        self.set("model_version", self.version)

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], context: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Return a prediction for every task; it is empty where the image cannot be read."""
        return [self._prediction(task) for task in tasks]

    def _prediction(self, task: Mapping[str, Any]) -> dict[str, Any]:
        control, image, key, labels = self._control()
        file = self.get_local_path(task["data"][key], task_id=task.get("id"))
        try:
            result = type(self).find(file)
        except LmpnetError as error:
            logging.warning("task %s: %s", task.get("id"), error)
            return {"model_version": self.version, "score": 0.0, "result": []}

        if labels.isdisjoint(result.names):
            raise ValueError(f"The labelling configuration has none of the labels {', '.join(result.names)}.")
        regions = [
            {"from_name": control, "to_name": image} | _region(keypoints, index, name, f"{number}-{index + 1}")
            for number, keypoints in enumerate(result.keypoints, 1)
            for index, name in enumerate(result.names)
            if name in labels and keypoints.found[index]
        ]
        score = sum(each["score"] for each in regions) / max(1, len(regions))
        return {"model_version": self.version, "score": round(score, 4), "result": regions}

    def _control(self) -> tuple[str, str, str, set[str]]:
        """Return the names of the control and its image, the key of the image in a task, and the labels."""
        for name, control in self.parsed_label_config.items():
            if control["type"] == CONTROL:
                return name, control["to_name"][0], control["inputs"][0]["value"], set(control["labels"])
        raise ValueError(f"The labelling configuration has no {CONTROL}.")


def _region(keypoints: lmpnet.Keypoints, index: int, name: str, number: str) -> dict[str, Any]:
    """Return a keypoint as Label Studio writes it: percent of the image, counted from its left and upper edge."""
    x, y = (100 * (keypoints.xy[index] + 0.5) / (keypoints.width, keypoints.height)).tolist()
    return {
        "id": number,
        "type": "keypointlabels",
        "original_width": keypoints.width,
        "original_height": keypoints.height,
        "image_rotation": 0,
        "score": round(float(keypoints.scores[index]), 4),
        "value": {"x": x, "y": y, "width": POINT_WIDTH, "keypointlabels": [name]},
    }


def main() -> None:
    """Load the model and start the server."""
    from label_studio_ml.api import init_app

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-c", "--checkpoint", help="a checkpoint or its folder; default: the bundled bird model")
    parser.add_argument("--method", choices=LEARNED_BY, default="parts")
    parser.add_argument("--objects", choices=("one", "all", "none"), default="one")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: only this computer")
    parser.add_argument("--port", type=int, default=9090)
    given = parser.parse_args()

    KeypointBackend.load(given.checkpoint, given.method, given.objects, given.device)
    # one request after the other: two at a time would need twice the memory and be no faster
    init_app(KeypointBackend).run(host=given.host, port=given.port, threaded=False)


if __name__ == "__main__":
    main()
