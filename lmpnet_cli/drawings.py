"""Pictures drawn by threads while the next batch runs, into a folder that appears when all are there."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Self

from lmpnet_cli.rendering import Rgb, contact_sheet, fit, save_jpeg
from lmpnet_cli.runtime import clear_folder

SHEET, SHEET_SIDE = 24, 240  # pictures on a contact sheet, and their size
WAITING = 32  # drawings in the queue, at most


class DrawingQueue:
    """Drawings that threads make, a few waiting; what the files of pictures and the one of a video have in common."""

    def __init__(self, out: Path | None, threads: int) -> None:
        self.out = out
        self.pool = ThreadPoolExecutor(threads)
        self.waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def queue(self, draw: Callable[..., None], *arguments: Any) -> None:
        """Has a thread call `draw`, and waits while too many wait."""
        self.waiting.append(self.pool.submit(draw, *arguments))
        while len(self.waiting) > WAITING:
            self.waiting.popleft().result()

    def settle(self) -> None:
        """Waits for the drawings that are queued: between two batches all processors are theirs."""
        while self.waiting:
            self.waiting.popleft().result()

    def leave_no_empty_folder(self) -> None:
        """After a run that was interrupted."""
        if self.out is not None and self.out.is_dir() and not any(self.out.iterdir()):
            self.out.rmdir()


class Drawings(DrawingQueue):
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
        self.small: dict[int, Rgb] = {}
        self.count = 0

    def _aside(self, what: str) -> Path:
        assert self.out is not None
        return self.out / f".{self.folder}-{what}-{os.getpid()}"

    def add(self, name: str, draw: Callable[[], Rgb]) -> None:
        """Queues one drawing."""
        if not self.wanted:
            return
        path = self._aside("new") / self.files.get(name, name)
        self.queue(self._draw, path, draw, self.count)
        self.count += 1

    def _draw(self, path: Path, draw: Callable[[], Rgb], number: int) -> None:
        drawing = draw()
        save_jpeg(path, drawing)
        if self.sheet and number < SHEET:
            self.small[number] = fit(drawing, SHEET_SIDE)

    def commit(self) -> None:
        """Waits for the last drawing and puts all in their place."""
        if self.out is None:
            return
        self.settle()
        target = self.out / self.folder
        if target.is_dir():
            target.rename(self._aside("old"))
        if self.count:
            self._aside("new").rename(target)
        if self.sheet and self.small:
            pictures = [self.small[number] for number in sorted(self.small)]
            save_jpeg(self.out / self.sheet, contact_sheet(pictures, side=SHEET_SIDE))
        elif self.sheet:
            (self.out / self.sheet).unlink(missing_ok=True)
        clear_folder(self._aside("old"))

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.pool.shutdown(cancel_futures=kind is not None)
        if self.out is None:
            return
        shutil.rmtree(self._aside("new"), ignore_errors=True)
        if kind is not None:
            self.leave_no_empty_folder()


def drawing_names(names: Sequence[str]) -> dict[str, str]:
    """<same relative path>.jpg; a.png beside a.jpg becomes a.png.jpg, so that both are kept.

    >>> drawing_names(["a.jpg", "a.png", "b.png"])
    {'a.jpg': 'a.jpg', 'a.png': 'a.png.jpg', 'b.png': 'b.jpg'}
    """
    taken = {name for name in names if name.endswith(".jpg")}
    result = {}
    for name in names:
        target = PurePosixPath(name).with_suffix(".jpg").as_posix()
        if name != target and target in taken:
            target = f"{name}.jpg"
            while target in taken:
                target = f"{target}.jpg"
        taken.add(target)
        result[name] = target
    return result
