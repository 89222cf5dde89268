"""One worker of a cluster: holds a model, and turns blocks of pictures into files."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.errors import InputError, LmpnetError
from lmpnet_cli.finders import open_finder
from lmpnet_cli.keypoints import Keypoints
from lmpnet_cli.parts import to_parquet
from lmpnet_cli.progress import Progress
from lmpnet_cli.remote import Store, local_copies
from lmpnet_cli.runtime import seed_everything

AT_ONCE = 4  # batches of remote pictures that are fetched together


def part_name(number: int) -> str:
    """The file of a block."""
    return f"part-{number:06d}.parquet"


class Worker:
    """Called with one block after the other."""

    def __init__(self, config: DiscoverConfig, weights: tuple[str, bytes] | None, cores: int) -> None:
        """
        Args:
            config: of the whole run.
            weights: name and content of the checkpoint, which other machines do not see; None takes the bundled one.
            cores: that this worker has for itself.
        """
        torch.set_num_threads(cores)
        assert config.out is not None
        self.store, self.threshold = Store(config.out), config.thr
        alone = config.of_a_worker
        if config.workers is None:
            alone = replace(alone, workers=max(0, cores - 1) if torch.cuda.is_available() else 0)
        seed_everything(config.seed)
        if weights is None:
            self.finder = open_finder(alone)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / weights[0]
            path.write_bytes(weights[1])
            self.finder = open_finder(replace(alone, checkpoint=path))

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Writes the file of a block, and says how many pictures and keypoints it holds.

        An error that a user can mend is returned, since Ray would make one of its own of it.
        """
        row = {"number": int(block["number"]), "images": 0, "found": 0, "skipped": 0, "error": ""}
        try:
            return row | self._work(block)
        except LmpnetError as error:
            return row | {"error": f"{type(error).__name__}: {error}"}

    def _work(self, block: dict[str, Any]) -> dict[str, int]:
        places = list(zip(block["addresses"], block["names"], strict=True))
        found: list[Keypoints] = []
        skipped: list[tuple[str, str]] = []
        reader = self.finder.reader
        for files in local_copies(places, AT_ONCE * reader.batch_size):
            try:
                for _, answer in self.finder.batches(files, Progress()):
                    found += answer.keypoints([self.threshold])[0]
            except InputError:
                if len(reader.skipped) < len(files):  # a whole group of unreadable pictures is no reason to stop
                    raise
            skipped += reader.skipped
        self.store.write(part_name(block["number"]), to_parquet(found, skipped))
        keypoints = sum(int(each.found.sum()) for each in found)
        return {"images": len(found), "found": keypoints, "skipped": len(skipped)}
