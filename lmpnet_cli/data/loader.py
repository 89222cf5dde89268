"""Pictures as networks take them: decoded by worker processes, in batches, in order.

`PictureReader` is what discover, viz-filters, eval and salient have in common, whatever the network.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lmpnet_cli.data.images import OVERLAY_SIDE, DecodedImage, Rgb, decode_image, read_image, to_input
from lmpnet_cli.data.listing import ListedImage, UnreadableImage
from lmpnet_cli.data.video import Frame, Video
from lmpnet_cli.errors import InputError
from lmpnet_cli.io.runtime import resolve_workers
from lmpnet_cli.progress import Progress


@dataclass(frozen=True)
class LoadedImage:
    """One picture as a worker hands it over; `reason` says why where it could not be read.

    Attributes:
        pixels: (3, S, S) bytes, the network input; an array, since tensors of workers each hold a file descriptor.
        preview: the picture for drawing, at most as large as was asked for.
        width, height: of the file, EXIF orientation applied.
        frame, time: number and seconds of a frame of a video.
    """

    index: int
    name: str
    pixels: NDArray[np.uint8] | None = None
    preview: Rgb | None = None
    width: int = 0
    height: int = 0
    reason: str = ""
    frame: int | None = None
    time: float | None = None


@dataclass(frozen=True)
class MemoryImage(ListedImage):
    """An image that the caller passed: (H, W, 3) uint8 RGB, or a PIL image. `path` names no file."""

    content: NDArray[np.uint8] | Image.Image | None = None

    def decode(self, max_pixels: int, at_least: int) -> DecodedImage:
        """Return its pixels as `read_image` returns those of a file."""
        assert self.content is not None
        image = self.content if isinstance(self.content, Image.Image) else Image.fromarray(self.content)
        return decode_image(image, max_pixels, at_least)


def list_memory_images(images: Any) -> list[MemoryImage]:
    """Return the arrays and PIL images in `images`, which is one or a list; nothing where they are paths.

    Raises:
        InputError: when an array is not an RGB image of bytes, or paths and images are mixed.
    """
    given = list(images) if isinstance(images, list | tuple) else [images]
    found = [each for each in given if not isinstance(each, str | os.PathLike)]
    if not found:
        return []
    if len(found) < len(given):
        raise InputError("Pass either paths, or arrays and PIL images, not both in one list.")

    for number, image in enumerate(found):
        if isinstance(image, Image.Image):
            continue
        if not isinstance(image, np.ndarray):
            raise InputError(f"Image {number} is a {type(image).__name__}. Pass paths, arrays or PIL images.")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise InputError(
                f"Image {number} is an array of shape {image.shape} and type {image.dtype}. Pass (H, W, 3) uint8 in "
                "RGB order."
            )
    names = [f"image_{number:06d}.jpg" for number in range(len(found))]
    return [MemoryImage(Path(name), name, content=image) for name, image in zip(names, found, strict=True)]


class ImageDataset(Dataset[LoadedImage]):
    """Listed images, decoded."""

    def __init__(self, images: Sequence[ListedImage], size: int, max_pixels: int, preview: int | None) -> None:
        """
        Args:
            size: side of the network input in pixels.
            preview: longest side of the picture kept for drawing; None keeps none.
        """
        self.images, self.size, self.max_pixels, self.preview = list(images), size, max_pixels, preview

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LoadedImage:
        image = self.images[index]
        try:
            # the same pixels reach the network whether pictures are drawn or not
            at_least = max(2 * self.size, OVERLAY_SIDE)
            if isinstance(image, MemoryImage):
                picture = image.decode(self.max_pixels, at_least)
            else:
                picture = read_image(image.readable, self.max_pixels, at_least)
        except UnreadableImage as error:
            return LoadedImage(index, image.name, reason=str(error))
        return _prepare(picture, index, image.name, self.size, self.preview)


def _prepare(picture: DecodedImage, index: int, name: str, size: int, preview: int | None) -> LoadedImage:
    pixels = np.ascontiguousarray(to_input(picture.rgb, size).transpose(2, 0, 1))
    shown = _shrink(picture, preview) if preview else None
    return LoadedImage(index, name, pixels, shown, picture.width, picture.height)


def _shrink(picture: DecodedImage, longest: int) -> Rgb:
    """The picture in its own proportions, with at most so many pixels on the longer side."""
    scale = min(1.0, longest / max(picture.width, picture.height))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if picture.rgb.shape[1::-1] == size:
        return picture.rgb
    return np.asarray(Image.fromarray(picture.rgb).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


class ImageLoader:
    """Decodes pictures in worker processes and hands them on in batches.

    Attributes:
        skipped: (file name, reason) of the last pass over pictures.
    """

    def __init__(
        self, size: int, device: torch.device, *, batch_size: int, workers: int | None, max_pixels: int
    ) -> None:
        """
        Args:
            size: side of the network input in pixels.
            device: where the networks run.
            batch_size: images that are handed on together.
        """
        self.size, self.device, self.batch_size = size, device, batch_size
        self.workers, self.max_pixels = workers, max_pixels
        self.skipped: list[tuple[str, str]] = []

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], Tensor]]:
        """Readable pictures and their (B, 3, S, S) bytes, in the order of `images`.

        Unreadable ones are warned about and listed in `skipped`.

        Raises:
            InputError: when none could be read, or a decoding process failed.
        """
        self.skipped = []
        seen = 0
        for batch in _enough_memory(self._prepared(images, preview)):
            readable, pixels = [], []
            for picture in batch:
                if picture.pixels is None:
                    self.skipped.append((picture.name, picture.reason))
                    progress.warn(f"{picture.name} is skipped: {picture.reason}")
                else:
                    readable.append(picture)
                    pixels.append(picture.pixels)
            if readable:
                batch_pixels = torch.from_numpy(np.stack(pixels))
                # from pinned memory a GPU copies while it computes
                yield readable, batch_pixels.pin_memory() if self.device.type == "cuda" else batch_pixels
                del batch_pixels
            seen += len(batch)
            progress.advance(len(batch))
            del batch, readable, pixels
        if len(self.skipped) == seen:
            name, reason = self.skipped[0] if self.skipped else (images[0].name, "the video ends before it")
            raise InputError(f"None of the {seen} images can be read; the first: {name} ({reason}).")
        if isinstance(images, Video) and seen < len(images) - 1:
            progress.warn(f"{images.path} ends after {seen} of the {len(images)} frames that it announces.")

    def _prepared(self, images: Sequence[ListedImage], preview: int | None) -> Iterator[list[LoadedImage]]:
        if isinstance(images, Video):
            for frames in images.batches(self.batch_size):
                yield [self._of_frame(frame, images, preview) for frame in frames]
            return
        workers = min(resolve_workers(self.workers, self.device), len(images))
        dataset = ImageDataset(images, self.size, self.max_pixels, preview)
        if workers and not isinstance(images[0], MemoryImage):  # those need no process to read them
            yield from DataLoader(dataset, self.batch_size, num_workers=workers, collate_fn=list)
            return
        # in threads, and between two batches: beside the networks they would only take turns
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(images), self.batch_size):
                yield list(pool.map(dataset.__getitem__, range(start, min(start + self.batch_size, len(images)))))

    def _of_frame(self, frame: Frame, video: Video, preview: int | None) -> LoadedImage:
        name = video.name(frame.index)
        if frame.rgb is None:
            return LoadedImage(frame.index, name, reason="OpenCV cannot decode this frame")
        height, width = frame.rgb.shape[:2]
        if height * width > self.max_pixels:
            return LoadedImage(frame.index, name, reason=f"{width} x {height} pixels, more than --max-pixels")
        prepared = _prepare(DecodedImage(frame.rgb, width, height), frame.index, name, self.size, preview)
        return replace(prepared, frame=frame.number, time=frame.time)


def _enough_memory(batches: Iterable[list[LoadedImage]]) -> Iterator[list[LoadedImage]]:
    """The batches; a worker that was killed, or memory that ran out, becomes a message for the user."""
    try:
        yield from batches
    except (RuntimeError, MemoryError) as error:
        raise InputError(
            f"A decoding process failed ({str(error).splitlines()[0]}). Try a lower --workers, --batch-size or "
            "--max-pixels."
        ) from error
