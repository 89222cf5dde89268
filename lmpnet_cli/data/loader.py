"""Load images as network input: decoded by worker processes, in batches, in order.

`ImageLoader` is what discover, viz-filters, eval and salient have in common, whatever the network.
"""

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lmpnet_cli.config import MAX_PIXELS
from lmpnet_cli.data.images import DecodedImage, Rgb, decode_image, read_image, to_input
from lmpnet_cli.data.listing import GivenBox, ListedImage, UnreadableImage
from lmpnet_cli.data.video import Frame, Video
from lmpnet_cli.errors import InputError
from lmpnet_cli.io.runtime import resolve_workers
from lmpnet_cli.keypoints import NO_OBJECT, Box
from lmpnet_cli.progress import Progress

OVERLAY_SIDE = 1024  # longer side of overlays in pixels; images are decoded with at least so many
ImageInMemory = NDArray[np.uint8] | Image.Image  # an (H, W, 3) RGB array, or a PIL image


@dataclass(frozen=True)
class LoadedImage:
    """One image as a worker returns it.

    Attributes:
        index: position in the list of images.
        name: POSIX name under which results list the image.
        pixels: (3, S, S) bytes, the network input; an array, since every tensor of a worker holds a file descriptor.
        preview: a copy for drawing, at most as large as requested.
        scene: a copy to cut windows from, where they are wanted.
        boxes: of the objects on it, as listed.
        window: the part of the image that the networks see, as in `Keypoints`.
        width, height: size of the file in pixels, EXIF orientation applied.
        reason: why the image could not be read; empty where it could.
        notes: what the user should know of a file that could be read.
        frame, time: number (0-based) and time in seconds of a video frame.
    """

    index: int
    name: str
    pixels: NDArray[np.uint8] | None = None
    preview: Rgb | None = None
    width: int = 0
    height: int = 0
    reason: str = ""
    notes: tuple[str, ...] = ()
    frame: int | None = None
    time: float | None = None
    scene: Rgb | None = None
    boxes: tuple[GivenBox, ...] = ()
    window: Box | None = None

    @property
    def empty(self) -> bool:
        """Return whether objects were looked for on the image, and none was found."""
        return self.window == NO_OBJECT


def rows_by_image(loaded: Sequence[LoadedImage]) -> Iterator[tuple[list[int], list[LoadedImage]]]:
    """Yield the entries of each image of a batch, one for each of its objects, with their positions in the batch."""
    for _, group in groupby(enumerate(loaded), key=lambda entry: entry[1].index):
        rows, entries = zip(*group, strict=True)
        yield list(rows), list(entries)


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
    alone = isinstance(images, np.ndarray | Image.Image) or not isinstance(images, Iterable)
    given = [images] if alone else list(images) if isinstance(images, list | tuple) else []
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
    """Decode listed images."""

    def __init__(
        self, images: Sequence[ListedImage], size: int, max_pixels: int, preview: int | None, scenes: bool = False
    ) -> None:
        """
        Args:
            size: side of the network input in pixels.
            preview: longer side of the copy kept for drawing; None keeps none.
            scenes: keep copies to cut windows from.
        """
        self.images, self.size, self.max_pixels, self.preview = list(images), size, max_pixels, preview
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LoadedImage:
        image = self.images[index]
        try:
            # the network gets the same pixels whether images are drawn or not
            at_least = max(2 * self.size, OVERLAY_SIDE)
            if isinstance(image, MemoryImage):
                decoded = image.decode(self.max_pixels, at_least)
            else:
                decoded = read_image(image.readable, self.max_pixels, at_least)
        except UnreadableImage as error:
            return LoadedImage(index, image.name, reason=str(error))
        prepared = _prepare(decoded, index, image.name, self.size, self.preview, self.scenes)
        return replace(prepared, boxes=image.boxes) if image.boxes else prepared


def _prepare(decoded: DecodedImage, index: int, name: str, size: int, preview: int | None, scenes: bool) -> LoadedImage:
    pixels = np.ascontiguousarray(to_input(decoded.rgb, size).transpose(2, 0, 1))
    scene = _shrink(decoded, OVERLAY_SIDE) if scenes else None
    drawn = scene if preview == OVERLAY_SIDE and scenes else _shrink(decoded, preview) if preview else None
    return LoadedImage(index, name, pixels, drawn, decoded.width, decoded.height, notes=decoded.notes, scene=scene)


def _shrink(decoded: DecodedImage, longest: int) -> Rgb:
    """Resize an image in its own proportions so that its longer side has at most `longest` pixels.

    `ImageOps.contain` would enlarge small images, and it knows the proportions of the reduced pixels only.
    """
    scale = min(1.0, longest / max(decoded.width, decoded.height))
    size = (max(1, round(decoded.width * scale)), max(1, round(decoded.height * scale)))
    if decoded.rgb.shape[1::-1] == size:
        return decoded.rgb
    return np.asarray(Image.fromarray(decoded.rgb).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


class ImageLoader:
    """Decodes images in worker processes and returns them in batches.

    Attributes:
        size: side of the network input in pixels.
        batch_size: number of images in a batch.
        skipped: (file name, reason) of each unreadable image of the last pass.
    """

    def __init__(
        self,
        size: int,
        device: torch.device,
        batch_size: int,
        workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
        scenes: bool = False,
    ) -> None:
        """
        Args:
            device: where the networks run.
            workers: number of decoding processes; None chooses one, see `resolve_workers`.
            max_pixels: larger images are skipped.
            scenes: keep copies to cut windows from.
        """
        self.size, self.device, self.batch_size = size, device, batch_size
        self.workers, self.max_pixels, self.scenes = workers, max_pixels, scenes
        self.skipped: list[tuple[str, str]] = []

    def batches(
        self, images: Sequence[ListedImage], progress: Progress, preview: int | None = None
    ) -> Iterator[tuple[list[LoadedImage], Tensor]]:
        """Yield the readable images and their (B, 3, S, S) bytes, in the order of `images`.

        Unreadable images are reported as warnings and listed in `skipped`.

        Args:
            preview: longer side of the copies for drawing; None makes none.

        Raises:
            InputError: when no image can be read, or a decoding process failed.
        """
        self.skipped = []
        noted: Counter[str] = Counter()
        seen = 0
        for batch in _reporting_failures(self._prepared(images, preview)):
            readable = self._readable(batch, noted, progress)
            if readable:
                pixels = torch.from_numpy(np.stack([image.pixels for image in readable if image.pixels is not None]))
                # from pinned memory a GPU copies while it computes
                yield readable, pixels.pin_memory() if self.device.type == "cuda" else pixels
                del pixels

            seen += len(batch)
            progress.advance(len(batch))
            del batch, readable  # the next batch takes as much memory

        for note, count in noted.items():
            if count > 1:
                progress.warn(f"The same is true of {count - 1} more images: {note}.")
        self._check_end(images, seen, progress)

    def _readable(self, batch: Sequence[LoadedImage], noted: Counter[str], progress: Progress) -> list[LoadedImage]:
        """Return the images that could be read; report and list the others.

        Args:
            noted: number of images for each note; only the first of them is reported at once.
        """
        readable = []
        for image in batch:
            if image.pixels is None:
                self.skipped.append((image.name, image.reason))
                progress.warn(f"{image.name} is skipped: {image.reason}")
                continue
            readable.append(image)
            for note in image.notes:
                noted[note] += 1
                if noted[note] == 1:
                    progress.warn(f"{image.name}: {note}.")
        return readable

    def _check_end(self, images: Sequence[ListedImage], seen: int, progress: Progress) -> None:
        if len(self.skipped) == seen:
            name, reason = self.skipped[0] if self.skipped else (images[0].name, "the video ends before it")
            raise InputError(f"None of the {seen} images can be read (for example {name}: {reason}). Check the files.")
        if isinstance(images, Video) and seen < len(images) - 1:
            progress.warn(f"{images.path} contains only {seen} of the {len(images)} frames stated in its header.")

    def _prepared(self, images: Sequence[ListedImage], preview: int | None) -> Iterator[list[LoadedImage]]:
        if isinstance(images, Video):
            for frames in images.batches(self.batch_size):
                yield [self._prepare_frame(frame, images, preview) for frame in frames]
            return

        workers = min(resolve_workers(self.workers, self.device), len(images))
        dataset = ImageDataset(images, self.size, self.max_pixels, preview, self.scenes)
        if workers and not isinstance(images[0], MemoryImage):  # those need no process to read them
            yield from DataLoader(
                dataset,
                self.batch_size,
                num_workers=workers,
                collate_fn=list,
                worker_init_fn=_silence_pillow,
                generator=torch.Generator(),  # seeds the processes; otherwise the caller's generator would
            )
            return

        # in threads, between two batches: on so few processors decoding and networks would only take turns
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(images), self.batch_size):
                yield list(pool.map(dataset.__getitem__, range(start, min(start + self.batch_size, len(images)))))

    def _prepare_frame(self, frame: Frame, video: Video, preview: int | None) -> LoadedImage:
        name = video.name(frame.index)
        if frame.rgb is None:
            return LoadedImage(frame.index, name, reason="OpenCV cannot decode this frame")
        height, width = frame.rgb.shape[:2]
        if height * width > self.max_pixels:
            return LoadedImage(frame.index, name, reason=f"{width} x {height} pixels, more than --max-pixels")

        decoded = DecodedImage(frame.rgb, width, height)
        prepared = _prepare(decoded, frame.index, name, self.size, preview, self.scenes)
        return replace(prepared, frame=frame.number, time=frame.time)


def _silence_pillow(_: int) -> None:
    """Ignore Pillow's warnings about damaged metadata in a worker process, which belongs to the loader alone."""
    warnings.filterwarnings("ignore", category=UserWarning, module="PIL")


def _reporting_failures(batches: Iterable[list[LoadedImage]]) -> Iterator[list[LoadedImage]]:
    """Yield the batches; a killed worker or exhausted memory becomes an error for the user."""
    try:
        yield from batches
    except (RuntimeError, MemoryError) as error:
        raise InputError(
            f"A decoding process failed ({str(error).splitlines()[0]}). Try a lower --workers, --batch-size or "
            "--max-pixels."
        ) from error
