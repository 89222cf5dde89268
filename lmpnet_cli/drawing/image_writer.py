"""Draw images in threads while the next batch runs, into a folder that appears when all of them are written."""

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import TracebackType
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

CONTACT_SHEET_IMAGES, CONTACT_SHEET_SIDE = 24, 240  # the number of images, and the side of each in pixels
MAX_NAME_BYTES = 255  # of a file name, on most file systems
MAX_PENDING = 32  # drawings that wait in the queue


class DrawingQueue:
    """Runs drawings in threads and limits how many of them wait; the base of `ImageWriter` and `VideoWriter`.

    Attributes:
        count: the number of drawings added so far.
        kept: whether unfinished drawings stay on disk when the run ends early, so that another run can resume it.
    """

    def __init__(self, out: Path | None, threads: int) -> None:
        self.out = out
        self.pool = ThreadPoolExecutor(threads)
        self.pending: deque[Future[None]] = deque()
        self.count = 0
        self.kept = False

    def __enter__(self) -> Self:
        if not self.count:
            self.clear()
        return self

    def clear(self) -> None:
        """Remove the unfinished drawings of an earlier run."""

    def submit(self, draw: Callable[..., None], *arguments: Any) -> None:
        """Call `draw` in a thread; block while more than `MAX_PENDING` drawings wait."""
        self.pending.append(self.pool.submit(draw, *arguments))
        while len(self.pending) > MAX_PENDING:
            self.pending.popleft().result()

    def settle(self) -> None:
        """Wait until all drawings of the queue are done, so that they do not compete with the next batch."""
        while self.pending:
            self.pending.popleft().result()

    def take_up(self, count: int, committed: bool) -> None:
        """Continue after the first `count` drawings, which an earlier run has finished; 0 starts from the beginning.

        Args:
            committed: whether that run had already started to move them to their final folder.
        """

    @property
    def done(self) -> int:
        """Return how many of the drawings added so far are finished, counted from the first."""
        return self.count - len(self.pending)


class ImageWriter(DrawingQueue):
    """Writes one JPEG file per image into `out/folder` and, where wanted, a contact sheet of the first ones.

    The files are drawn into a temporary folder, which `commit` renames. A run that fails or is interrupted before
    leaves the earlier drawings unchanged.
    """

    def __init__(
        self,
        out: Path | None,
        folder: str,
        names: Sequence[str],
        wanted: bool,
        sheet_name: str | None = None,
        legend: Sequence[str] = (),
    ) -> None:
        """Prepare the writer; nothing is written before `add`.

        Args:
            out: folder of the results; None draws nothing.
            names: the names of all images, so that no two drawings get the same file name.
            wanted: False draws nothing, and `commit` removes the drawings of an earlier run.
            sheet_name: file name of the contact sheet in `out`.
            legend: names of the keypoints, which the contact sheet lists.
        """
        super().__init__(out, threads=2)
        self.folder, self.sheet_name, self.legend = folder, sheet_name, legend
        self.wanted = wanted and out is not None
        self.file_names = drawing_names(names)

    def _hidden_folder(self, suffix: str) -> Path:
        assert self.out is not None
        return self.out / f".{self.folder}-{suffix}"

    @property
    def _new_folder(self) -> Path:
        return self._hidden_folder("new")

    def clear(self) -> None:
        if self.out is not None:
            clear_folder(self._new_folder)

    def take_up(self, count: int, committed: bool) -> None:
        if self.out is None or not self.wanted:
            return

        self.count = count
        if count and not committed and not self._new_folder.is_dir():
            raise OutputError(
                f"The drawings of the interrupted run in {self.out} are missing. To start again, pass --overwrite in "
                "place of --resume."
            )
        for half_written in self._new_folder.rglob(f"{TEMPORARY_PREFIX}*"):
            half_written.unlink()

    def add(self, name: str, draw: Callable[[], Rgb]) -> None:
        """Queue the drawing of one image."""
        if not self.wanted:
            return
        path = self._new_folder / self.file_names.get(name, name)
        self.count += 1
        self.submit(self._draw, path, draw)

    @staticmethod
    def _draw(path: Path, draw: Callable[[], Rgb]) -> None:
        save_jpeg(path, draw())

    def commit(self) -> None:
        """Wait for the last drawing, then replace the drawings of an earlier run by the new ones."""
        if self.out is None:
            return
        self.settle()

        # Swap the folders. Where a run was killed between these lines, a resumed one continues here: then the new
        # folder is missing because it has its final name already.
        target, new, old = self.out / self.folder, self._new_folder, self._hidden_folder("old")
        clear_folder(old)
        if target.is_dir() and (new.is_dir() or not self.count):
            target.rename(old)
        if new.is_dir():
            new.rename(target)

        if self.sheet_name and self.count:
            save_jpeg(self.out / self.sheet_name, self._contact_sheet(target))
        elif self.sheet_name:
            (self.out / self.sheet_name).unlink(missing_ok=True)
        clear_folder(old)

    def _contact_sheet(self, folder: Path) -> Rgb:
        """Draw the contact sheet from the files, since the first ones may have been drawn by an earlier run."""
        images = []
        for name in self.file_names.values():
            if (folder / name).is_file():
                with Image.open(folder / name) as drawing:
                    drawing.draft("RGB", (CONTACT_SHEET_SIDE, CONTACT_SHEET_SIDE))  # decoded no larger than needed
                    images.append(fit(np.asarray(drawing.convert("RGB")), CONTACT_SHEET_SIDE))
            if len(images) == CONTACT_SHEET_IMAGES:
                break
        return contact_sheet(images, side=CONTACT_SHEET_SIDE, names=self.legend)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.shutdown(cancel_futures=kind is not None)
        if self.out is not None and not self.kept:
            shutil.rmtree(self._new_folder, ignore_errors=True)


def drawing_names(names: Sequence[str]) -> dict[str, str]:
    """Map each image to the file name of its drawing: the same relative path with the suffix .jpg.

    Where that name belongs to another image or to a folder, .jpg is appended instead.

    >>> drawing_names(["a.jpg", "a.png", "b.png"])
    {'a.jpg': 'a.jpg', 'a.png': 'a.png.jpg', 'b.png': 'b.jpg'}
    """
    used = {name for name in names if name.endswith(".jpg")}
    used |= {str(folder) for name in names for folder in PurePosixPath(name).parents}

    drawings = {}
    for name in names:
        drawing = PurePosixPath(name).with_suffix(".jpg").as_posix()
        if name != drawing and drawing in used:
            drawing = _unused_name(name, used)
        used.add(drawing)
        drawings[name] = drawing
    return drawings


def _unused_name(name: str, used: set[str]) -> str:
    drawing = f"{name}.jpg"
    while drawing in used:
        drawing = f"{drawing}.jpg"

    if len(os.fsencode(PurePosixPath(drawing).name)) > MAX_NAME_BYTES:
        checksum = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
        drawing = PurePosixPath(name).with_name(f"{checksum}.jpg").as_posix()
    return drawing
