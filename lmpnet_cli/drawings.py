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


class Drawings:
    """JPEG files in `out/folder`, one for each picture, and perhaps a contact sheet of the first.

    They are drawn into a folder aside, which takes the place of an earlier one when all is done: an interrupted run
    leaves what was there.
    """

    def __init__(self, out: Path | None, folder: str, names: Sequence[str], sheet: str | None = None) -> None:
        """
        Args:
            out: folder of the results; None draws nothing.
            names: of all pictures, so that no two drawings get the same name.
            sheet: file name of the contact sheet in `out`.
        """
        self.out, self.folder, self.sheet = out, folder, sheet
        self.files = drawing_names(names)
        self.aside = None if out is None else out / f".{folder}-{os.getpid()}"
        self.pool = ThreadPoolExecutor(2)
        self.waiting: deque[Future[None]] = deque()
        self.small: dict[int, Rgb] = {}
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def add(self, name: str, draw: Callable[[], Rgb]) -> None:
        """Queues one drawing."""
        if self.aside is None:
            return
        self.waiting.append(self.pool.submit(self._draw, self.aside / self.files[name], draw, self.count))
        self.count += 1
        while len(self.waiting) > WAITING:
            self.waiting.popleft().result()

    def _draw(self, path: Path, draw: Callable[[], Rgb], number: int) -> None:
        drawing = draw()
        save_jpeg(path, drawing)
        if self.sheet and number < SHEET:
            self.small[number] = fit(drawing, SHEET_SIDE)

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.pool.shutdown(cancel_futures=kind is not None)
        if self.out is None or self.aside is None:
            return
        try:
            if kind is None:
                for future in self.waiting:
                    future.result()
                clear_folder(self.out / self.folder)
                self.aside.rename(self.out / self.folder)
                if self.sheet:
                    pictures = [self.small[number] for number in sorted(self.small)]
                    save_jpeg(self.out / self.sheet, contact_sheet(pictures, side=SHEET_SIDE))
        finally:
            shutil.rmtree(self.aside, ignore_errors=True)
            if kind is not None and self.out.is_dir() and not any(self.out.iterdir()):
                self.out.rmdir()  # an interrupted run leaves no empty folder


def drawing_names(names: Sequence[str]) -> dict[str, str]:
    """<same relative path>.jpg; a.png beside a.jpg becomes a.png.jpg, so that both are kept.

    >>> drawing_names(["a.jpg", "a.png", "b.png"])
    {'a.jpg': 'a.jpg', 'a.png': 'a.png.jpg', 'b.png': 'b.jpg'}
    """
    taken = {name for name in names if name.endswith(".jpg")}
    result = {}
    for name in names:
        plain = PurePosixPath(name).with_suffix(".jpg").as_posix()
        target = plain if name == plain or plain not in taken else f"{name}.jpg"
        taken.add(target)
        result[name] = target
    return result
