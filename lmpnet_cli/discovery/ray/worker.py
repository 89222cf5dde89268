"""One worker of a cluster: holds a model, and turns blocks of pictures into files."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.discovery.ray.parquet import to_parquet
from lmpnet_cli.discovery.ray.storage import Store, local_copies
from lmpnet_cli.errors import InputError, LmpnetError
from lmpnet_cli.inference.predictor import Predictor, open_predictor
from lmpnet_cli.io.runtime import seed_everything
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.progress import Progress

AT_ONCE = 4  # batches of remote pictures that are fetched together


def part_name(number: int) -> str:
    """The file of a block."""
    return f"part-{number:06d}.parquet"


class Worker:
    """Called with one block after the other.

    An error that a user can mend is returned with the block, since Ray would make one of its own of it.
    """

    def __init__(self, config: DiscoverConfig, weights: tuple[str, bytes], cores: int) -> None:
        """
        Args:
            config: of the whole run.
            weights: name and content of the checkpoint, which other machines may not have, or in another version.
            cores: that this worker has for itself.
        """
        torch.set_num_threads(cores)
        self.config, self.weights, self.cores = config, weights, cores
        self.predictor: Predictor | None = None

    def _open(self) -> Predictor:
        if self.predictor is None:
            workers = self.config.workers
            if workers is None:
                workers = max(0, self.cores - 1) if torch.cuda.is_available() else 0
            seed_everything(self.config.seed)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / self.weights[0]
                path.write_bytes(self.weights[1])
                self.predictor = open_predictor(replace(self.config.worker_config, workers=workers, checkpoint=path))
        return self.predictor

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Writes the file of a block, and says how many pictures and keypoints it holds."""
        row = {"number": int(block["number"]), "images": 0, "found": 0, "skipped": 0, "error": ""}
        try:
            return row | self._work(block)
        except LmpnetError as error:
            return row | {"error": f"{type(error).__name__}: {error}"}

    def _work(self, block: dict[str, Any]) -> dict[str, int]:
        places = list(zip(block["addresses"], block["names"], strict=True))
        found: list[Keypoints] = []
        skipped: list[tuple[str, str]] = []
        predictor, out = self._open(), self.config.out
        assert out is not None
        for files in local_copies(self.config.images[0], places, AT_ONCE * predictor.loader.batch_size):
            try:
                for _, predictions in predictor.batches(files, Progress()):
                    found += predictions.keypoints()
            except InputError:
                if len(predictor.loader.skipped) < len(
                    files
                ):  # a whole group of unreadable pictures is no reason to stop
                    raise
            skipped += predictor.loader.skipped
        Store(out).write(part_name(block["number"]), to_parquet(found, skipped))
        keypoints = sum(int(each.found.sum()) for each in found)
        return {"images": len(found), "found": keypoints, "skipped": len(skipped)}
