"""Draw and encode the overlay video in a thread while the next batch runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from lmpnet_cli.data.images import Rgb, evenly
from lmpnet_cli.data.video import Video
from lmpnet_cli.drawing.files import save_jpeg
from lmpnet_cli.drawing.grids import contact_sheet
from lmpnet_cli.drawing.image_writer import CONTACT_SHEET_IMAGES, CONTACT_SHEET_SIDE, DrawingQueue
from lmpnet_cli.drawing.overlays import fit
from lmpnet_cli.errors import OutputError
from lmpnet_cli.io.files import TEMPORARY_PREFIX
from lmpnet_cli.io.output_folder import clear_folder

CODEC = "mp4v"  # every build of OpenCV can write it


class VideoWriter(DrawingQueue):
    """Writes `overlays/<name of the video>.mp4` and a contact sheet of evenly chosen frames.

    It is used like `ImageWriter`: `add` each frame, then `commit`.

    Attributes:
        temporary: the file that is written before `commit` renames it.
        sheet_frames: small copies of every `sheet_step`-th frame; of these the contact sheet is chosen.
    """

    def __init__(
        self, out: Path | None, video: Video, wanted: bool, sheet_name: str, legend: Sequence[str] = ()
    ) -> None:
        """Prepare the writer; the file is opened at the first frame.

        Args:
            out: folder of the results; None draws nothing.
            wanted: False draws nothing, and `commit` removes the drawings of an earlier run.
            sheet_name: file name of the contact sheet in `out`.
            legend: names of the keypoints, which the contact sheet lists.
        """
        super().__init__(out, threads=1)
        self.video, self.sheet_name, self.legend = video, sheet_name, legend
        self.wanted = wanted and out is not None
        self.encoder: cv2.VideoWriter | None = None
        self.size = (0, 0)
        self.sheet_frames: list[Rgb] = []
        self.sheet_step = 1

    @property
    def temporary(self) -> Path:
        assert self.out is not None
        return self.out / f"{TEMPORARY_PREFIX}overlays.mp4"

    def clear(self) -> None:
        if self.out is not None:
            clear_folder(self.out / ".overlays-new")  # of an interrupted run on images

    def add(self, name: str, draw: Callable[[], Rgb]) -> None:
        """Queue the next frame; its name is not needed."""
        if not self.wanted:
            return
        self.submit(self._draw, draw, self.count)
        self.count += 1

    def _draw(self, draw: Callable[[], Rgb], number: int) -> None:
        drawing = draw()
        if self.encoder is None:
            self.encoder = self._open(drawing)
        self.encoder.write(cv2.cvtColor(self._to_frame_size(drawing), cv2.COLOR_RGB2BGR))

        # The number of frames is not always known: keep every frame at first, then every second one, and so on.
        if number % self.sheet_step == 0:
            self.sheet_frames.append(fit(drawing, CONTACT_SHEET_SIDE))
        if len(self.sheet_frames) > 2 * CONTACT_SHEET_IMAGES:
            self.sheet_frames, self.sheet_step = self.sheet_frames[::2], 2 * self.sheet_step

    def _to_frame_size(self, drawing: Rgb) -> Rgb:
        """Crop or resize a drawing, since a codec accepts frames of one size only."""
        width, height = self.size
        fits = drawing.shape[0] in (height, height + 1) and drawing.shape[1] in (width, width + 1)
        if fits:
            return drawing[:height, :width]
        return np.asarray(cv2.resize(drawing, self.size, interpolation=cv2.INTER_AREA), np.uint8)

    def _open(self, drawing: Rgb) -> cv2.VideoWriter:
        height, width = drawing.shape[:2]
        self.size = (width // 2 * 2, height // 2 * 2)  # codecs require even numbers

        self.temporary.parent.mkdir(parents=True, exist_ok=True)
        codec = cv2.VideoWriter.fourcc(*CODEC)
        encoder = cv2.VideoWriter(str(self.temporary), codec, self.video.rate / self.video.every, self.size)
        if not encoder.isOpened():
            raise OutputError(f"OpenCV cannot write a video into {self.out}. Pass --no-overlays to run without one.")
        return encoder

    def commit(self) -> None:
        """Wait for the last frame, then replace the drawings of an earlier run by the video."""
        if self.out is None:
            return
        self.settle()
        if self.encoder is not None:
            self.encoder.release()
            self._check_complete()

        clear_folder(self.out / "overlays")
        if self.encoder is None:
            (self.out / self.sheet_name).unlink(missing_ok=True)
            return
        target = self.out / "overlays" / self.video.path.with_suffix(".mp4").name
        target.parent.mkdir(parents=True)
        self.temporary.replace(target)

        chosen = [self.sheet_frames[index] for index in evenly(len(self.sheet_frames), CONTACT_SHEET_IMAGES)]
        save_jpeg(self.out / self.sheet_name, contact_sheet(chosen, side=CONTACT_SHEET_SIDE, names=self.legend))

    def _check_complete(self) -> None:
        """Read the file back, since OpenCV does not report a full disk."""
        written = cv2.VideoCapture(str(self.temporary))
        frames = written.get(cv2.CAP_PROP_FRAME_COUNT) if written.isOpened() else 0
        written.release()
        if frames < self.count:
            raise OutputError(
                f"The overlay video in {self.out} is incomplete: {frames:.0f} of {self.count} frames were written. "
                "Free some disk space, or pass --no-overlays."
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.shutdown(cancel_futures=kind is not None)
        if self.encoder is not None:
            self.encoder.release()
        if self.out is not None:
            self.temporary.unlink(missing_ok=True)
