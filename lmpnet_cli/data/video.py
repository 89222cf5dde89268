"""Read the frames of a video as images: OpenCV decodes them in order, in a thread beside the networks."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.errors import InputError


@dataclass(frozen=True)
class Frame:
    """A decoded frame.

    Attributes:
        index: position among the processed frames, from 0.
        number: position in the video, from 0.
        time: in seconds, as stated by the video.
        rgb: (h, w, 3); None where the frame is damaged.
    """

    index: int
    number: int
    time: float
    rgb: NDArray[np.uint8] | None


class Video(Sequence[ListedImage]):
    """Every N-th frame of a video, as a list of images; `frames` decodes them.

    The length is what the header of the file states; the file may contain more or fewer frames.

    Attributes:
        path: of the video file.
        every: N.
        rate: frames per second.
    """

    def __init__(self, path: Path, every: int = 1) -> None:
        """
        Raises:
            InputError: when OpenCV cannot read the file.
        """
        self.path, self.every = path, every
        if not path.is_file():
            raise InputError(f"Video {path} not found. Check the spelling and the current folder.")

        with self._opened() as capture:
            if not capture.grab():
                raise InputError(f"{path} cannot be read as a video: OpenCV finds no frame. Convert it to MP4.")
            self.rate = float(capture.get(cv2.CAP_PROP_FPS)) or 25.0
            stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._count = max(1, -(-stated // every))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> ListedImage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ListedImage]: ...
    def __getitem__(self, index: int | slice) -> ListedImage | Sequence[ListedImage]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return ListedImage(self.path, self.name(index))

    def name(self, index: int) -> str:
        """Return the name of a processed frame: its number in the video, as annotation tools name frames."""
        return f"frame_{index * self.every:06d}.jpg"

    @property
    def record(self) -> dict[str, Any]:
        """Return the entry for the video in result files."""
        return {"name": self.path.name, "rate": round(self.rate, 4), "every": self.every}

    def frames(self) -> Iterator[Frame]:
        """Yield every N-th frame, in order."""
        with self._opened() as capture:
            number = 0
            while capture.grab():
                if number % self.every == 0:
                    time = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                    decoded, bgr = capture.retrieve()
                    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8) if decoded else None
                    yield Frame(number // self.every, number, round(time, 4), rgb)
                number += 1

    def batches(self, size: int) -> Iterator[list[Frame]]:
        """Yield the same frames in batches of `size`; each batch is decoded while the one before is in use."""
        frames = self.frames()

        def next_batch() -> list[Frame]:
            return list(islice(frames, size))

        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(next_batch)
            while batch := pending.result():
                pending = pool.submit(next_batch)
                yield batch

    @contextmanager
    def _opened(self) -> Iterator[cv2.VideoCapture]:
        capture = cv2.VideoCapture(str(self.path))
        try:
            yield capture
        finally:
            capture.release()
