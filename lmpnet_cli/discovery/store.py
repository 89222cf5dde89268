"""The one store for unfinished work: a folder with a manifest and one file for each finished chunk of images.

    manifest.json          what the run is: images, options, and how the images are cut into chunks
    chunk-000000.jsonl     one line for each image of the chunk, keypoints with all their digits
    chunk-000001.jsonl     ...

A chunk is written whole or not at all. A resumed run computes the chunks that are missing, workers of a cluster write
them from other machines, and `lmpnet merge` joins them. A local run keeps its chunks in a hidden folder, which is
removed when its results are written.
"""

import errno
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from msgspec import Struct

from lmpnet_cli.discovery.provenance import Manifest
from lmpnet_cli.errors import InputError, OutputError
from lmpnet_cli.io.coco import FARTHEST
from lmpnet_cli.io.files import TEMPORARY_PREFIX
from lmpnet_cli.io.json_input import SchemaError, check, parse_json, refuse_nan
from lmpnet_cli.io.storage import Folder, open_folder
from lmpnet_cli.keypoints import Box, Keypoints

LOCAL_CHUNKS = ".chunks"  # the folder in --out where a local run keeps its chunks
MANIFEST = "manifest.json"
FORMAT_VERSION = 1
Skipped = list[tuple[str, str]]
T = TypeVar("T")


def cut_into_chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return `items` in consecutive slices of `size`, the last one perhaps shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def images_per_chunk(wanted: int | None, batch_size: int) -> int:
    """Return a whole number of batches, so that each image is in the same batch however a run is cut; one by default.

    >>> images_per_chunk(None, 16), images_per_chunk(20, 16)
    (16, 32)
    """
    return -(-(wanted or batch_size) // batch_size) * batch_size


def chunk_name(number: int) -> str:
    """Return the file name of a chunk, counted from 0."""
    return f"chunk-{number:06d}.jsonl"


@dataclass(frozen=True)
class Chunk:
    """The results of consecutive images.

    Attributes:
        keypoints: of the objects on the images that could be read, in the order of the images.
        skipped: (file name, reason) of the others, in their order.
    """

    keypoints: list[Keypoints] = field(default_factory=list)
    skipped: Skipped = field(default_factory=list)

    def __len__(self) -> int:
        return self.images + len(self.skipped)

    @property
    def images(self) -> int:
        """The number of images that could be read."""
        return len({each.file_name for each in self.keypoints})

    @property
    def names(self) -> list[str]:
        """The names of all images, sorted."""
        return sorted({each.file_name for each in self.keypoints} | {name for name, _ in self.skipped})

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of images that were read, of keypoints found in them, and of skipped images."""
        found = sum(int(each.found.sum()) for each in self.keypoints)
        return {"images": self.images, "found": found, "skipped": len(self.skipped)}

    def to_bytes(self) -> bytes:
        """Return the content of the chunk's file, images sorted by name."""
        entries = [_entry(each) for each in self.keypoints]
        entries += [{"file_name": name, "reason": why} for name, why in self.skipped]
        entries.sort(key=lambda entry: str(entry["file_name"]))
        return b"".join(json.dumps(entry, allow_nan=False).encode("ascii") + b"\n" for entry in entries)

    @classmethod
    def from_bytes(cls, content: bytes) -> "Chunk":
        """Return the chunk in a file's content.

        Raises:
            SchemaError: when it is not a chunk.
        """
        chunk = cls()
        for line in content.splitlines():
            entry = check(parse_json(line), dict[str, Any])
            refuse_nan(entry)
            if "reason" in entry:
                skipped = check(entry, SkippedImage)
                chunk.skipped.append((skipped.file_name, skipped.reason))
            else:
                chunk.keypoints.append(check(entry, _KeypointsEntry).keypoints)
        return chunk


def _entry(keypoints: Keypoints) -> dict[str, Any]:
    """Return the fields as JSON can hold them: lists, null for NaN."""
    entry = dict(vars(keypoints))
    for name in ("xy", "scores", "replica_shares"):
        if entry[name] is not None:
            values: Any = np.where(np.isnan(entry[name]), None, entry[name])
            entry[name] = values.tolist()
    return entry


class SkippedImage(Struct):
    """An image that could not be read, as files of results name it."""

    file_name: str
    reason: str


class _KeypointsEntry(Struct):
    """The schema of what `_entry` returns."""

    file_name: str
    width: int
    height: int
    xy: list[tuple[float | None, float | None]]
    scores: list[float | None]
    replica_shares: list[float | None] | None
    class_name: str | None
    class_score: float | None
    frame: int | None
    time: float | None
    window: Box | None = None

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.xy, self.scores, self.replica_shares) if values is not None}
        if len(lengths) > 1:
            raise ValueError("the numbers of positions, scores and replica shares differ")
        numbers = [*chain.from_iterable(self.xy), *self.scores, *(self.window or ()), self.class_score, self.time]
        if any(abs(number) >= FARTHEST for number in numbers if number is not None):
            raise ValueError("a number is too large")

    @property
    def keypoints(self) -> Keypoints:
        """The keypoints, NaN where the file has null."""
        shares = None if self.replica_shares is None else np.array(self.replica_shares, np.float64)
        return Keypoints(
            self.file_name,
            self.width,
            self.height,
            np.array(self.xy, np.float64).reshape(-1, 2),
            np.array(self.scores, np.float64),
            shares,
            self.class_name,
            self.class_score,
            self.frame,
            self.time,
            self.window,
        )


class ChunkStore:
    """The manifest and the chunks of one run in a local or remote folder."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def begun(self) -> bool:
        """Return whether the folder holds a run."""
        return MANIFEST in self.folder.names()

    def numbers(self) -> list[int]:
        """Return the numbers of the chunks that are in the folder."""
        found = [re.fullmatch(r"chunk-(\d{6,9})\.jsonl", name) for name in self.folder.names()]
        return sorted(int(match[1]) for match in found if match)

    def begin(self, manifest: Manifest) -> None:
        """Remove the run in the folder and begin a new one."""
        self.clear()
        self._write_manifest(manifest, None)

    def complete(self, manifest: Manifest, result: dict[str, Any]) -> None:
        """Note in the manifest that all chunks are there, and what they hold."""
        self._write_manifest(manifest, result)

    def _write_manifest(self, manifest: Manifest, result: dict[str, Any] | None) -> None:
        document = {"format_version": FORMAT_VERSION, **asdict(manifest), "result": result}
        self._write(MANIFEST, json.dumps(document, indent=2).encode("ascii"))

    def manifest(self) -> Manifest:
        """Return the manifest of the run in the folder.

        Raises:
            InputError: when it is damaged or of another version of lmpnet.
        """
        where = f"{self.folder.address}/{MANIFEST}"
        try:
            document = check(parse_json(self.folder.read(MANIFEST)), dict[str, Any])
            if document.get("format_version") == FORMAT_VERSION:
                return check(document, Manifest)
        except SchemaError as error:
            raise InputError(f"{where} is damaged ({error!s:.100}). Start again with --overwrite.") from error
        raise InputError(f"{where} was written by another version of lmpnet. Start again with --overwrite.")

    def check_same(self, manifest: Manifest) -> None:
        """Raise InputError unless the run in the folder has the given manifest."""
        differing = self.manifest().differences(manifest)
        if differing:
            raise InputError(
                f"Cannot resume the run in {self.folder.address}: it was started with different images or options "
                f"({', '.join(differing)}). Use the original ones, choose another --out, or start again with "
                "--overwrite."
            )

    def read(self, number: int) -> Chunk:
        """Return a chunk.

        Raises:
            InputError: when it cannot be read or is damaged.
        """
        content = self.folder.read(chunk_name(number))
        try:
            return Chunk.from_bytes(content)
        except SchemaError as error:
            raise InputError(
                f"{self.folder.address}/{chunk_name(number)} is damaged ({error!s:.100}). Repeat `lmpnet discover` "
                "with --resume to compute this chunk again."
            ) from error

    def intact(self, number: int, names: Sequence[str]) -> Chunk | None:
        """Return a chunk, or None where it is damaged or does not hold the images of these names."""
        content = self.folder.read(chunk_name(number))
        try:
            chunk = Chunk.from_bytes(content)
        except SchemaError:
            return None
        return chunk if chunk.names == sorted(names) else None

    def write(self, number: int, chunk: Chunk) -> None:
        """Write a chunk, whole or not at all.

        Raises:
            OutputError: when it cannot be written.
        """
        self._write(chunk_name(number), chunk.to_bytes())

    def _write(self, name: str, content: bytes) -> None:
        try:
            self.folder.write(name, content)
        except OutputError as error:
            if getattr(error.__cause__, "errno", None) != errno.ENOSPC:
                raise
            raise OutputError(
                f"Cannot write {self.folder.address}/{name}: No space left on device. Free some space, then repeat "
                "the command with --resume."
            ) from error

    def clear(self) -> None:
        """Remove the run, and what killed processes left of files that they were writing."""
        names = self.folder.names()
        ours = [
            name for name in names if re.fullmatch(rf"chunk-\d{{6,9}}\.jsonl|{re.escape(TEMPORARY_PREFIX)}.*", name)
        ]
        # the manifest goes first: chunks without one do not count, a manifest without chunks would
        self.folder.remove([MANIFEST, *ours] if MANIFEST in names else ours)


def local_store(out: Path) -> ChunkStore:
    """Return the store that a local run keeps in its --out."""
    return ChunkStore(open_folder(out / LOCAL_CHUNKS))


def can_resume(out: Path, resume: bool, overwrite: bool) -> bool:
    """Return whether `out` holds an unfinished run that shall be resumed.

    Raises:
        OutputError: when there is one and neither `resume` nor `overwrite` is given; when `resume` is given and the
            run is complete.
    """
    begun = local_store(out).begun()
    if begun and not (resume or overwrite):
        raise OutputError(f"{out} holds an unfinished run. Add --resume to continue it, or --overwrite to start again.")
    if resume and not begun and not overwrite and (out / "keypoints.json").exists():
        raise OutputError(f"The run in {out} is complete. Remove --resume and choose another --out.")
    return begun and resume


class ChunkQueue:
    """The chunks of a run that one process computes in order, and those that an earlier run left in the store.

    Results come batch by batch. A chunk is finished with the results of its last image; it is written when its
    drawings are written.

    Attributes:
        chunks: the finished chunks by their number.
        missing: the numbers of the others.
        drawn_before: the number of drawings that belong to the chunks of an earlier run.
    """

    def __init__(self, store: ChunkStore | None, manifest: Manifest, names: Sequence[str], resume: bool) -> None:
        """
        Args:
            store: None keeps the results in memory only.
            names: of all images.
            resume: continue the run in the store where there is one; otherwise it is removed.

        Raises:
            InputError: when that run has another manifest, or a damaged one.
        """
        self.store, self.manifest = store, manifest
        self.names = cut_into_chunks(names, manifest.chunk)
        self.begun = False  # whether another run could continue this one
        self.chunks: dict[int, Chunk] = dict(self._finished(resume))
        self.missing = [number for number in range(len(self.names)) if number not in self.chunks]
        self.drawn_before = self._drawings = sum(chunk.images for chunk in self.chunks.values())
        self._incomplete = Chunk()  # the results so far of the first missing chunk
        self._unwritten: deque[tuple[int, int]] = deque()  # how many drawings come before, and the chunk's number

    def _finished(self, resume: bool) -> Iterator[tuple[int, Chunk]]:
        """Yield the chunks of an earlier run; one that is damaged counts as missing."""
        if self.store is None:
            return
        if not resume or not self.store.begun():
            self.store.clear()
            return

        self.store.check_same(self.manifest)
        self.begun = True
        for number in self.store.numbers():
            chunk = self.store.intact(number, self.names[number]) if number < len(self.names) else None
            if chunk is not None:
                yield number, chunk

    @property
    def keypoints(self) -> list[Keypoints]:
        """The keypoints of all finished chunks, in the order of the images."""
        return [each for number in sorted(self.chunks) for each in self.chunks[number].keypoints]

    @property
    def skipped(self) -> Skipped:
        """(file name, reason) of the skipped images of all finished chunks, in the order of the images."""
        return [each for number in sorted(self.chunks) for each in self.chunks[number].skipped]

    def of_missing(self, files: Sequence[T]) -> list[T]:
        """Return the files of the missing chunks, given one file for each name."""
        chunks = cut_into_chunks(files, self.manifest.chunk)
        return [file for number in self.missing for file in chunks[number]]

    def add(self, keypoints: Sequence[Keypoints], skipped: Skipped) -> None:
        """Take the results of the images that come next in `of_missing`."""
        self._incomplete.keypoints.extend(keypoints)
        self._incomplete.skipped.extend(skipped)
        while self.missing and len(self._incomplete) >= len(self.names[self.missing[0]]):
            self._finish(self.missing.pop(0))

    def _finish(self, number: int) -> None:
        """Split the results into those of the chunk, which is finished, and those of the next one."""
        names = set(self.names[number])
        inside, behind = Chunk(), Chunk()
        for each in self._incomplete.keypoints:
            (inside if each.file_name in names else behind).keypoints.append(each)
        for name, why in self._incomplete.skipped:
            (inside if name in names else behind).skipped.append((name, why))

        self.chunks[number], self._incomplete = inside, behind
        self._drawings += inside.images
        self._unwritten.append((self._drawings, number))

    def end(self) -> None:
        """Finish with the results so far: a video may have other than the stated number of frames."""
        self.chunks[len(self.names)], self._incomplete = self._incomplete, Chunk()
        self.missing.clear()

    def write(self, drawn: int) -> None:
        """Write the chunks whose drawings are among the first `drawn`, those of earlier runs included.

        Raises:
            OutputError: when a chunk cannot be written.
        """
        while self.store is not None and self._unwritten and self._unwritten[0][0] <= drawn:
            if not self.begun:
                self.store.begin(self.manifest)
                self.begun = True
            _, number = self._unwritten.popleft()
            self.store.write(number, self.chunks[number])

    def remove(self) -> None:
        """Remove the chunks from the store: the results are written."""
        if self.store is not None:
            self.store.clear()
