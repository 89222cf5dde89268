"""Pictures drawn by threads while the next batch runs, into a folder that appears when all are there."""

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
from PIL import Image

from lmpnet_cli.data.images import Rgb
from lmpnet_cli.drawing.files import save_jpeg
from lmpnet_cli.drawing.grids import contact_sheet
from lmpnet_cli.drawing.overlays import fit
from lmpnet_cli.errors import OutputError
from lmpnet_cli.io.files import TEMPORARY_PREFIX
from lmpnet_cli.io.output_folder import clear_folder

SHEET, SHEET_SIDE = 24, 240  # pictures on a contact sheet, and their size
LONGEST = 255  # bytes of a name, on most file systems
WAITING = 32  # drawings in the queue, at most


class DrawingQueue:
    """Drawings that threads make, a few waiting; what the files of pictures and the one of a video have in common.

    Attributes:
        count: drawings that were asked for.
        kept: whether drawings of pictures stay aside when the run ends before they are put in their place, for another
            run to take up.
    """

    def __init__(self, out: Path | None, threads: int) -> None:
        self.out = out
        self.pool = ThreadPoolExecutor(threads)
        self.waiting: deque[Future[None]] = deque()
        self.count = 0
        self.kept = False

    def __enter__(self) -> Self:
        if not self.count:
            self.clear()
        return self

    def clear(self) -> None:
        """Removes what an earlier run has left aside."""

    def queue(self, draw: Callable[..., None], *arguments: Any) -> None:
        """Has a thread call `draw`, and waits while too many wait."""
        self.waiting.append(self.pool.submit(draw, *arguments))
        while len(self.waiting) > WAITING:
            self.waiting.popleft().result()

    def settle(self) -> None:
        """Waits for the drawings that are queued: between two batches all processors are theirs."""
        while self.waiting:
            self.waiting.popleft().result()

    def take_up(self, count: int, committed: bool) -> None:
        """Goes on behind the first `count` drawings, which an earlier run has made; 0 begins anew.

        Args:
            committed: whether that run had begun to put them in their place.
        """

    @property
    def done(self) -> int:
        """Drawings that are there: the first so many of those that were asked for."""
        return self.count - len(self.waiting)


class ImageWriter(DrawingQueue):
    """JPEG files in `out/folder`, one for each picture, and perhaps a contact sheet of the first.

    They are drawn into a folder aside, which `commit` puts in the place of an earlier one: a run that fails or is
    interrupted before leaves what was there.
    """

    def __init__(
        self, out: Path | None, folder: str, names: Sequence[str], wanted: bool, sheet: str | None = None
    ) -> None:
        """
        Args:
            out: folder of the results; None draws nothing.
            names: of all pictures, so that no two drawings get the same name.
            wanted: False draws nothing, and `commit` removes what an earlier run has drawn.
            sheet: file name of the contact sheet in `out`.
        """
        super().__init__(out, threads=2)
        self.folder, self.sheet = folder, sheet
        self.wanted = wanted and out is not None
        self.files = drawing_names(names)

    def _aside(self, what: str) -> Path:
        assert self.out is not None
        return self.out / f".{self.folder}-{what}"

    def clear(self) -> None:
        if self.out is not None:
            clear_folder(self._aside("new"))

    def take_up(self, count: int, committed: bool) -> None:
        if self.out is None or not self.wanted:
            return
        self.count = count
        if count and not committed and not self._aside("new").is_dir():
            raise OutputError(f"The drawings of the run in {self.out} are gone. Begin again with --overwrite.")
        for left in self._aside("new").rglob(f"{TEMPORARY_PREFIX}*"):  # half-written, by a run that was killed
            left.unlink()

    def add(self, name: str, draw: Callable[[], Rgb]) -> None:
        """Queues one drawing."""
        if not self.wanted:
            return
        path = self._aside("new") / self.files.get(name, name)
        self.count += 1
        self.queue(self._draw, path, draw)

    @staticmethod
    def _draw(path: Path, draw: Callable[[], Rgb]) -> None:
        save_jpeg(path, draw())

    def commit(self) -> None:
        """Waits for the last drawing and puts all in their place."""
        if self.out is None:
            return
        self.settle()
        target, new, old = self.out / self.folder, self._aside("new"), self._aside("old")
        clear_folder(old)  # of a run that was killed here
        if target.is_dir() and (new.is_dir() or not self.count):  # else a run that was killed had come as far as this
            target.rename(old)
        if new.is_dir():
            new.rename(target)
        if self.sheet and self.count:
            save_jpeg(self.out / self.sheet, self._contact_sheet(target))
        elif self.sheet:
            (self.out / self.sheet).unlink(missing_ok=True)
        clear_folder(old)

    def _contact_sheet(self, target: Path) -> Rgb:
        """Of the first drawings, as they were written: they may be of an earlier run."""
        pictures = []
        for name in self.files.values():
            if (target / name).is_file():
                with Image.open(target / name) as drawing:
                    pictures.append(fit(np.asarray(drawing.convert("RGB")), SHEET_SIDE))
            if len(pictures) == SHEET:
                break
        return contact_sheet(pictures, side=SHEET_SIDE)

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.pool.shutdown(cancel_futures=kind is not None)
        if self.out is not None and not self.kept:
            shutil.rmtree(self._aside("new"), ignore_errors=True)


def drawing_names(names: Sequence[str]) -> dict[str, str]:
    """<same relative path>.jpg; a.png beside a.jpg becomes a.png.jpg, so that both are kept.

    >>> drawing_names(["a.jpg", "a.png", "b.png"])
    {'a.jpg': 'a.jpg', 'a.png': 'a.png.jpg', 'b.png': 'b.jpg'}
    """
    taken = {name for name in names if name.endswith(".jpg")}
    taken |= {str(folder) for name in names for folder in PurePosixPath(name).parents}
    result = {}
    for name in names:
        target = PurePosixPath(name).with_suffix(".jpg").as_posix()
        if name != target and target in taken:
            target = f"{name}.jpg"
            while target in taken:
                target = f"{target}.jpg"
            if len(os.fsencode(PurePosixPath(target).name)) > LONGEST:
                short = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
                target = PurePosixPath(name).with_name(f"{short}.jpg").as_posix()
        taken.add(target)
        result[name] = target
    return result
