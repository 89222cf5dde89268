"""One worker of a cluster: it holds a model, and computes and stores one chunk after the other."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.discovery.ray.storage import SourceImage, local_copies
from lmpnet_cli.discovery.store import Chunk, ChunkStore
from lmpnet_cli.errors import InputError, LmpnetError
from lmpnet_cli.inference.predictor import Predictor, open_predictor
from lmpnet_cli.io.storage import open_folder
from lmpnet_cli.progress import Progress

BATCHES_AT_ONCE = 4  # batches of remote images that are fetched together


def chunk_row(number: int, images: Sequence[SourceImage]) -> dict[str, Any]:
    """Return a chunk as a row of a Ray data set. Images are JSON text, since Ray takes no names that are not UTF-8."""
    return {"number": number, "images": json.dumps(images)}


class Worker:
    """Is called with one chunk after the other, as rows of `chunk_row`.

    An error with a message for the user is returned in the row, since Ray would wrap it in one of its own.
    """

    def __init__(self, config: DiscoverConfig, weights: Sequence[tuple[str, bytes]], cores: int) -> None:
        """
        Args:
            config: of the whole run.
            weights: name and content of the checkpoint, which other machines may lack or have in another version, and
                of the ONNX model of its first look where there is one.
            cores: those that this worker has for itself.
        """
        torch.set_num_threads(cores)
        self.config, self.weights, self.cores = config, weights, cores
        self.predictor: Predictor | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Compute and store a chunk; return its number, what it holds, and the error if there is one."""
        result: dict[str, Any] = {"number": int(row["number"]), "images": 0, "found": 0, "skipped": 0, "error": ""}
        try:
            chunk = self._compute([SourceImage(*image) for image in json.loads(row["images"])])
            assert self.config.out is not None
            ChunkStore(open_folder(self.config.out)).write(result["number"], chunk)
            return result | chunk.counts
        except LmpnetError as error:
            return result | {"error": f"{type(error).__name__}: {error}"}

    def _compute(self, images: Sequence[SourceImage]) -> Chunk:
        predictor = self._opened()
        chunk = Chunk()
        for files in local_copies(self.config.images[0], images, BATCHES_AT_ONCE * predictor.loader.batch_size):
            try:
                for _, predictions in predictor.batches(files, Progress()):
                    chunk.keypoints.extend(predictions.keypoints())
            except InputError:
                # unreadable images alone are no reason to stop
                if len(predictor.loader.skipped) < len(files):
                    raise
            chunk.skipped.extend(predictor.loader.skipped)
        return chunk

    def _opened(self) -> Predictor:
        """Return the predictor, which is opened for the first chunk and kept."""
        if self.predictor is None:
            workers = self.config.workers
            if workers is None:
                workers = max(0, self.cores - 1) if torch.cuda.is_available() else 0

            with tempfile.TemporaryDirectory() as folder:
                paths = [Path(folder) / name for name, _ in self.weights]
                for path, (_, content) in zip(paths, self.weights, strict=True):
                    path.write_bytes(content)
                self.predictor = open_predictor(
                    replace(self.config.worker_config, workers=workers, checkpoint=paths[0])
                )
        return self.predictor
