"""Frames of a video as pictures: decoded in order, by OpenCV, in a thread beside the networks."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from lmpnet_cli.errors import InputError
from lmpnet_cli.images import ListedImage

Frame = tuple[int, NDArray[np.uint8]]  # its number from 0, and (h, w, 3) RGB


class Film(Sequence[ListedImage]):
    """Every N-th frame of a video, listed as images are; `frames` decodes them.

    The number of frames is what the file says, which may be more or less than there are.

    Attributes:
        path: of the file.
        every: N.
        rate: frames in a second of the video.
    """

    def __init__(self, path: Path, every: int = 1) -> None:
        """
        Raises:
            InputError: when OpenCV cannot read the file.
        """
        self.path, self.every = path, every
        if not path.is_file():
            raise InputError(f"There is no video {path}. Check the spelling and the current folder.")
        with self._opened() as capture:
            if not capture.grab():
                raise InputError(f"{path} cannot be read as a video: OpenCV finds no frame. Convert it to MP4.")
            self.rate = float(capture.get(cv2.CAP_PROP_FPS)) or 25.0
            told = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._count = max(1, -(-told // every))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> ListedImage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ListedImage]: ...
    def __getitem__(self, index: int | slice) -> ListedImage | Sequence[ListedImage]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return ListedImage(self.path, self.name(index))

    def name(self, index: int) -> str:
        """Of the index-th frame that is taken, after its number in the video, as annotation tools name frames."""
        return f"frame_{index * self.every:06d}.jpg"

    def time(self, index: int) -> float:
        """Of the index-th frame that is taken, in seconds from the beginning."""
        return index * self.every / self.rate

    @property
    def record(self) -> dict[str, Any]:
        """What the results say of the video."""
        return {"name": self.path.name, "rate": round(self.rate, 4), "every": self.every}

    def frames(self) -> Iterator[Frame]:
        """The frames that are taken, each with its place among them."""
        with self._opened() as capture:
            number = 0
            while capture.grab():
                if number % self.every == 0:
                    decoded, frame = capture.retrieve()
                    if not decoded:
                        return
                    yield number // self.every, np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
                number += 1

    def batches(self, size: int) -> Iterator[list[Frame]]:
        """The same, so many at a time, each batch decoded while the one before is used."""
        frames = self.frames()

        def take() -> list[Frame]:
            return list(islice(frames, size))

        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(take)
            while batch := coming.result():
                coming = pool.submit(take)
                yield batch

    @contextmanager
    def _opened(self) -> Iterator[cv2.VideoCapture]:
        capture = cv2.VideoCapture(str(self.path))
        try:
            yield capture
        finally:
            capture.release()
