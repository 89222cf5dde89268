"""The overlay video: frames with their keypoints, drawn and encoded by a thread while the next batch runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from lmpnet_cli.data.images import Rgb, evenly
from lmpnet_cli.data.video import Video
from lmpnet_cli.drawing.files import save_jpeg
from lmpnet_cli.drawing.grids import contact_sheet
from lmpnet_cli.drawing.image_writer import SHEET, SHEET_SIDE, DrawingQueue
from lmpnet_cli.drawing.overlays import fit
from lmpnet_cli.errors import OutputError
from lmpnet_cli.io.files import TEMPORARY_PREFIX
from lmpnet_cli.io.output_folder import clear_folder

CODEC = "mp4v"  # what OpenCV's own build can always write


class VideoWriter(DrawingQueue):
    """`overlays/<name of the video>.mp4`, and a contact sheet of frames from all of it. Used as `Drawings` is."""

    def __init__(self, out: Path | None, video: Video, wanted: bool, sheet: str) -> None:
        """
        Args:
            out: folder of the results; None draws nothing.
            wanted: False draws nothing, and `commit` removes what an earlier run has drawn.
            sheet: file name of the contact sheet in `out`.
        """
        super().__init__(out, threads=1)
        self.video, self.sheet = video, sheet
        self.wanted = wanted and out is not None
        self.writer: Any = None
        self.size = (0, 0)
        self.small: list[Rgb] = []
        self.step = 1  # between two frames of the contact sheet

    def clear(self) -> None:
        if self.out is not None:
            clear_folder(self.out / ".overlays-new")  # of pictures

    @property
    def _aside(self) -> Path:
        assert self.out is not None
        return self.out / f"{TEMPORARY_PREFIX}overlays.mp4"

    def add(self, name: str, draw: Callable[[], Rgb]) -> None:
        """Queues the next frame."""
        if not self.wanted:
            return
        self.queue(self._draw, draw, self.count)
        self.count += 1

    def _draw(self, draw: Callable[[], Rgb], number: int) -> None:
        drawing = draw()
        if self.writer is None:
            self._open(drawing)
        width, height = self.size
        same = drawing.shape[0] in (height, height + 1) and drawing.shape[1] in (width, width + 1)
        # a codec takes no frame of another size
        frame = drawing[:height, :width] if same else cv2.resize(drawing, self.size, interpolation=cv2.INTER_AREA)
        self.writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        if number % self.step == 0:
            self.small.append(fit(drawing, SHEET_SIDE))
        if len(self.small) > 2 * SHEET:  # how many frames there are is not always known
            self.small, self.step = self.small[::2], 2 * self.step

    def _open(self, drawing: Rgb) -> None:
        height, width = drawing.shape[:2]
        self.size = (width // 2 * 2, height // 2 * 2)  # codecs want even numbers
        self._aside.parent.mkdir(parents=True, exist_ok=True)
        codec = cv2.VideoWriter.fourcc(*CODEC)
        self.writer = cv2.VideoWriter(str(self._aside), codec, self.video.rate / self.video.every, self.size)
        if not self.writer.isOpened():
            raise OutputError(f"OpenCV cannot write a video into {self.out}. Give --no-overlays.")

    def _sheet(self) -> list[Rgb]:
        return [self.small[index] for index in evenly(len(self.small), SHEET)]

    def commit(self) -> None:
        """Waits for the last frame and puts the video in its place."""
        if self.out is None:
            return
        self.settle()
        if self.writer is not None:
            self.writer.release()
            self._check_whole()
        clear_folder(self.out / "overlays")
        if self.writer is not None:
            target = self.out / "overlays" / self.video.path.with_suffix(".mp4").name
            target.parent.mkdir(parents=True)
            self._aside.replace(target)
            save_jpeg(self.out / self.sheet, contact_sheet(self._sheet(), side=SHEET_SIDE))
        else:
            (self.out / self.sheet).unlink(missing_ok=True)

    def _check_whole(self) -> None:
        # OpenCV says nothing when the disk is full
        written = cv2.VideoCapture(str(self._aside))
        frames = written.get(cv2.CAP_PROP_FRAME_COUNT) if written.isOpened() else 0
        written.release()
        if frames < self.count:
            raise OutputError(
                f"The overlay video could not be written whole into {self.out}: {frames:.0f} of {self.count} frames. "
                "Make room on the disk, or give --no-overlays."
            )

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.pool.shutdown(cancel_futures=kind is not None)
        if self.writer is not None:
            self.writer.release()
        if self.out is None:
            return
        self._aside.unlink(missing_ok=True)
