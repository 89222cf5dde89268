"""Score landmarks learned from few annotated images, beside a supervised network that learns from the same images.

    python benchmarks/landmarks.py DATA [--images 5 10 20 50 100] [--seeds 3] [-c CHECKPOINT] [--json FILE]
    python benchmarks/landmarks.py DATA --supervised WEIGHTS [--images 20 100] [--json FILE]

Learned from N images of the training split of a CUB folder, drawn by the seed, as `lmpnet fit --images N --seed S`
does; scored on its test split, as `lmpnet eval --method landmarks` does. The network runs over the test images once.

The supervised network is that of `fcn.py`, trained for the same number of steps whatever the number of images. It gives
every landmark a position, so that nothing is missing; ours leave out those that they take for hidden, and each of these
counts as wrong. `all` are our figures with nothing left out.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fcn
import numpy as np
import torch
from numpy.typing import NDArray
from program import run_program
from torch import Tensor

from lmpnet_cli.config import FitConfig
from lmpnet_cli.data.annotations import AnnotatedImage, Annotations, read_annotations
from lmpnet_cli.data.loader import LoadedImage
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.runtime import seed_everything
from lmpnet_cli.keypoints import positions_in_image
from lmpnet_cli.landmarks.fit import draw_images, fit, open_model
from lmpnet_cli.landmarks.scores import named_scores
from lmpnet_cli.model.landmark_head import LandmarkHead
from lmpnet_cli.progress import Progress

STEPS, BATCH, EPOCHS = 200, 16, 5  # of the supervised network
CHUNK = 64  # maps that are located together


class TestImages:
    """The test split with the maps of its windows, as float16, or without maps for the supervised network."""

    def __init__(self, annotations: Annotations, checkpoint: Path | None) -> None:
        self.names = annotations.landmark_names
        self.images = [image for image in annotations.images if len(image.visible)]
        self.loaded: list[LoadedImage] = []
        maps: list[Tensor] = []

        runner = open_model(FitConfig(data=(), checkpoint=checkpoint, precision="32"))
        for whole, whole_pixels in runner.loader.batches([image.listed for image in self.images], Progress()):
            for seen, pixels in runner.looks(whole, whole_pixels):
                self.loaded += seen
                maps.append(runner.run(pixels).maps.half())
        self.maps = torch.cat(maps)

    def score(self, head: LandmarkHead) -> dict[str, Any]:
        """Return the figures of a landmark head, with what it takes for hidden left out and with nothing left out."""
        with torch.inference_mode():
            located = [head.located(maps.float()) for maps in torch.split(self.maps, CHUNK)]
        positions = torch.cat([each.positions for each in located])
        scores = torch.cat([each.scores for each in located])
        hidden = (scores < head.get_buffer("threshold"))[..., None]
        return self._named(positions.masked_fill(hidden, torch.nan), head) | {
            "all": self._named(positions, head)["pck"]
        }

    def _named(self, positions: Tensor, head: LandmarkHead) -> dict[str, Any]:
        size = (self.maps.shape[2], self.maps.shape[3])
        points = np.full((len(self.images), len(self.names), 2), np.nan)
        known = [self.names.index(name) for name in head.spec.names]
        for row, (own, image) in enumerate(zip(positions.double().numpy(), self.loaded, strict=True)):
            points[row, known] = positions_in_image(own, size, (image.width, image.height), image.window)
            if image.empty:
                points[row] = np.nan
        return figures(points, self.images, [(image.width, image.height) for image in self.loaded], self.names)


def figures(
    points: NDArray[np.float64],
    images: Sequence[AnnotatedImage],
    sizes: Sequence[tuple[int, int]],
    names: Sequence[str],
) -> dict[str, Any]:
    """Return the named PCK and the error in percent."""
    boxes = (image.bbox or (0, 0, *size) for image, size in zip(images, sizes, strict=True))
    sides = np.array([max(box[2:]) for box in boxes], dtype=np.float64)
    scores = named_scores(points, np.array([image.landmarks for image in images]), sides, names)
    return {key: scores[key] for key in ("pck", "error", "found", "imagined")}


def ours(options: argparse.Namespace, test: TestImages, count: int, seed: int) -> dict[str, Any]:
    """Learn from `count` images as `lmpnet fit` does, and score on the test images."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        fit(options.data, images=count, seed=seed, checkpoint=options.checkpoint, out=folder, overwrite=True)
        seconds = time.perf_counter() - started
        head = load_checkpoint(Path(folder) / "lmpnet.safetensors").landmark_head
    assert head is not None
    return test.score(head) | {"seconds": round(seconds, 1)}


def supervised(options: argparse.Namespace, annotations: Annotations, count: int, seed: int) -> dict[str, Any]:
    """Train `fcn.py` on the same images, and score it on the test images."""
    training = draw_images(read_annotations(options.data, "train").images, count, seed)
    seed_everything(seed)
    # the same images several times in an epoch, in crops of their own: an epoch of one batch would mostly start workers
    repeated = [training[index % len(training)] for index in range(STEPS * BATCH // EPOCHS)]
    settings = {"init": options.supervised, "layer": "layer3", "freeze": "layer2", "size": 224, "seed": seed}
    rate = {"learning_rate": options.learning_rate, "batch_size": BATCH, "epochs": EPOCHS, "bf16": False}

    started = time.perf_counter()
    network = fcn.train(argparse.Namespace(**settings, **rate), repeated, annotations.landmark_names)
    seconds = time.perf_counter() - started
    images = [image for image in annotations.images if len(image.visible)]
    found = fcn.found_landmarks(network, images, 224)
    points, sizes = np.array([each.xy for each in found]), [(each.width, each.height) for each in found]
    return figures(points, images, sizes, annotations.landmark_names) | {"seconds": round(seconds, 1)}


def main() -> None:
    """Print a line for each number of images and seed, and write all figures where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-c", "--checkpoint", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[5, 10, 20, 50, 100])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--supervised", type=Path, help="initial weights of the supervised network")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    annotations = read_annotations(options.data, "test")
    test = None if options.supervised else TestImages(annotations, options.checkpoint)
    rows = []
    for count in options.images:
        for seed in range(options.seeds):
            row = supervised(options, annotations, count, seed) if test is None else ours(options, test, count, seed)
            rows.append({"images": count, "seed": seed, **row})
            print(rows[-1], flush=True)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
