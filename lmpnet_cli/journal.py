"""What a long `discover` remembers on disk, so that `--resume` goes on with it.

One line says what the run is; one line for each batch holds its keypoints, to the last digit, and is written when the
drawings of the batch are there. A line that was cut off counts for nothing.
"""

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.errors import InputError, OutputError
from lmpnet_cli.keypoints import Keypoints

JOURNAL = ".progress.jsonl"
VERSION = 1
Skipped = list[tuple[str, str]]


class Journal:
    """The lines of one run.

    Attributes:
        images: how many of the list are done, from the first on.
        keypoints: of those that could be read.
        skipped: the others, with the reason.
    """

    def __init__(self, out: Path | None, run: dict[str, Any], resume: bool) -> None:
        """
        Args:
            out: folder of the results; None remembers nothing.
            run: what must be the same when a run goes on.
            resume: go on with the run in `out`, where there is one.

        Raises:
            InputError: when that run was of other images or options, or is damaged.
        """
        self.path = None if out is None else out / JOURNAL
        self.run: dict[str, Any] = json.loads(json.dumps({"version": VERSION, **run}))
        self.images = 0
        self.keypoints: list[Keypoints] = []
        self.skipped: Skipped = []
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._file: BinaryIO | None = None
        if self.path is not None and self.path.exists():
            if resume:
                self._take_up(self.path)
            else:
                self.path.unlink()

    def _take_up(self, path: Path) -> None:
        whole = 0
        try:
            for number, line in enumerate(path.read_bytes().splitlines(keepends=True)):
                if not line.endswith(b"\n"):
                    break
                entry = json.loads(line)
                if number == 0:
                    self._check(entry)
                else:
                    self.images += int(entry["images"])
                    self.keypoints += [_keypoints(each) for each in entry["keypoints"]]
                    self.skipped += [(str(name), str(reason)) for name, reason in entry["skipped"]]
                whole += len(line)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error!r:.100}). Begin again with --overwrite.") from error
        with path.open("r+b") as file:
            file.truncate(whole)

    def _check(self, known: dict[str, Any]) -> None:
        assert self.path is not None
        differing = [key for key in self.run if known.get(key) != self.run[key]]
        if differing:
            raise InputError(
                f"The run in {self.path.parent} was of other images or options ({', '.join(differing)} differ). Repeat "
                "it as it was, choose another --out, or begin again with --overwrite."
            )

    def add(self, images: int, keypoints: Sequence[Keypoints], skipped: Skipped, drawn: int) -> None:
        """A further batch is done; its line waits until `drawn` drawings are there.

        Args:
            images: of the list, behind those before, read or skipped.
        """
        self.images += images
        self.keypoints += keypoints
        self.skipped += skipped
        if self.path is not None:
            entry = {"images": images, "keypoints": [_entry(each) for each in keypoints], "skipped": skipped}
            self._waiting.append((drawn, _line(entry)))

    def write(self, drawn: int) -> None:
        """Writes the lines of batches whose drawings are among the `drawn` that are there.

        Raises:
            OutputError: when the disk is full.
        """
        if self.path is None:
            return
        try:
            while self._waiting and self._waiting[0][0] <= drawn:
                if self._file is None:
                    new = not self.path.exists()
                    self._file = self.path.open("ab")
                    if new:
                        self._file.write(_line(self.run))
                self._file.write(self._waiting.popleft()[1])
                self._file.flush()
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {error.strerror}. Make room, then add --resume.") from error

    @property
    def kept(self) -> bool:
        """Whether there is a line from which another run could go on."""
        return self.path is not None and self.path.exists()

    def close(self) -> None:
        """The run ends here, and may go on later."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Nothing is left to go on with."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def refuse_unfinished(out: Path | None) -> None:
    """Raises `OutputError` where a run was cut off, which must be gone on with or given up by name."""
    if out is not None and (out / JOURNAL).exists():
        raise OutputError(
            f"{out} holds a run that was cut off. Add --resume to go on with it, or --overwrite to begin again."
        )


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False).encode("ascii") + b"\n"


_ARRAYS = ("xy", "scores", "replica_shares")


def _entry(each: Keypoints) -> dict[str, Any]:
    entry = dict(vars(each))
    for name in _ARRAYS:
        if entry[name] is not None:
            values: Any = np.where(np.isnan(entry[name]), None, entry[name])
            entry[name] = values.tolist()
    return entry


def _keypoints(entry: dict[str, Any]) -> Keypoints:
    arrays: dict[str, NDArray[np.float64] | None] = {
        name: None if entry[name] is None else np.array(entry[name], dtype=np.float64) for name in _ARRAYS
    }
    return Keypoints(**{**entry, **arrays})
