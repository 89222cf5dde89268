"""What a long `discover` remembers on disk, so that `--resume` goes on with it.

One line says what the run is; one line for each batch holds its keypoints, to the last digit, and is written when the
drawings of the batch are there. A line that was cut off counts for nothing.
"""

import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.errors import WRONG_SHAPE, InputError, OutputError
from lmpnet_cli.io.json_input import parse_json
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
        committed: whether drawings may be in their place already.
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
        self.committed = False
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
                entry = parse_json(line)
                if number == 0:
                    self._check(entry)
                elif "committed" in entry:
                    self.committed = True
                else:
                    self._read(entry)
                whole += len(line)
        except WRONG_SHAPE as error:
            raise InputError(f"{path} is damaged ({error!r:.100}). Begin again with --overwrite.") from error
        with path.open("r+b") as file:
            file.truncate(whole)

    def _read(self, entry: dict[str, Any]) -> None:
        keypoints = [_keypoints(each) for each in entry["keypoints"]]
        skipped = [(str(name), str(reason)) for name, reason in entry["skipped"]]
        if entry["images"] != len(keypoints) + len(skipped):
            raise ValueError("pictures are missing")
        self.images += entry["images"]
        self.keypoints += keypoints
        self.skipped += skipped

    def _check(self, known: dict[str, Any]) -> None:
        assert self.path is not None
        differing = sorted(_differing(known, self.run))
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
                self._append(self.path, self._waiting.popleft()[1])
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {error.strerror}. Make room, then add --resume.") from error

    def _append(self, path: Path, line: bytes) -> None:
        if self._file is None:
            self._file = path.open("ab")
            if self._file.tell() == 0:
                self._file.write(_line(self.run))
        self._file.write(line)
        self._file.flush()

    def commit(self) -> None:
        """All is done, and drawings are about to take their place."""
        if self.path is not None and not self.committed:
            self._waiting.append((0, _line({"committed": True})))
            self.write(len(self.keypoints))
            self.committed = True

    @property
    def kept(self) -> bool:
        """Whether there is a line from which another run could go on."""
        return self.path is not None and self.path.exists()

    def close(self) -> None:
        """The run ends here, and may go on later."""
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take, which was said before
                self._file.close()

    def remove(self) -> None:
        """Nothing is left to go on with."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Names of what is not the same, those of inner values for values that have names inside."""
    found: set[str] = set()
    for key in one.keys() | other.keys():
        first, second = one.get(key), other.get(key)
        if isinstance(first, dict) and isinstance(second, dict):
            found |= _differing(first, second)
        elif first != second:
            found.add(key)
    return found


def may_go_on(out: Path, resume: bool, overwrite: bool) -> bool:
    """Whether a run in `out` was cut off, and is to be gone on with.

    Raises:
        OutputError: where it was, and must be gone on with or given up by name; where one was not, and should be.
    """
    begun = (out / JOURNAL).exists()
    if begun and not (resume or overwrite):
        raise OutputError(
            f"{out} holds a run that was cut off. Add --resume to go on with it, or --overwrite to begin again."
        )
    if resume and not begun and not overwrite and (out / "keypoints.json").exists():
        raise OutputError(f"The run in {out} is complete. Leave --resume out, and choose another --out.")
    return begun and resume


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
