"""Provide the images of a report while it is written."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lmpnet_cli.config import MAX_PIXELS, VIDEOS, ReportConfig
from lmpnet_cli.data.run_images import find_images, inputs_of, options_of
from lmpnet_cli.data.video import Video
from lmpnet_cli.export.formats import Document
from lmpnet_cli.export.report.gallery import thumbnail_id
from lmpnet_cli.export.report.thumbnails import LARGE, encode_thumbnail, read_thumbnails, thumbnail_side
from lmpnet_cli.progress import Progress


class EmbeddedImages:
    """Iterates over the element id and the base64 text of each image of a report.

    Attributes:
        encoded: the images that are encoded already.
        paths: the images of the gallery, which are encoded during the iteration; None is a missing image or a frame.
        large: positions of those that are to be corrected, which are large also among thousands.
    """

    def __init__(self, config: ReportConfig, progress: Progress) -> None:
        self.config, self.progress = config, progress
        self.encoded: list[tuple[str, str]] = []
        self.paths: list[Path | None] = []
        self.large: set[int] = set()
        self._video: Video | None = None
        self._frame_numbers: set[int | None] = set()

    def add_gallery(self, document: Document, chosen: Sequence[int]) -> None:
        """Find the images of the chosen results, by their index.

        Raises:
            InputError: when none of the images can be found.
        """
        names = [document.results[index].file_name for index in chosen]
        self._video = self._find_video()
        if self._video:
            self.paths = [None] * len(names)
            self._frame_numbers = {document.results[index].frame for index in chosen}
            return

        found = find_images(names, self.config.result, self.config.images, self.config.follow_links)
        if missing := len(names) - len(found):
            self.progress.warn(
                f"{missing} of {len(names)} images cannot be found; the report shows only their keypoints. "
                "Pass the folder that contains them: --images FOLDER."
            )
        self.paths = [found.get(name) for name in names]

    def _find_video(self) -> Video | None:
        """Return the video whose frames are the results; None where the results are of images."""
        inputs = [*self.config.images] or inputs_of(self.config.result)
        if len(inputs) != 1 or inputs[0].suffix.lower() not in VIDEOS or not inputs[0].is_file():
            return None
        every = options_of(self.config.result).get("every")
        return Video(inputs[0], int(every or 1))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from self.encoded

        if self.paths:
            self.progress.start("report", len(self.paths))
        side = self.config.side or thumbnail_side(len(self.paths))
        if self._video:
            thumbnails = self._frame_thumbnails(self._video, side)
        else:
            sides = [max(side, LARGE * (position in self.large)) for position in range(len(self.paths))]
            thumbnails = read_thumbnails(self.paths, sides, MAX_PIXELS)

        for position, thumbnail in enumerate(thumbnails):
            self.progress.advance(1)
            if thumbnail is not None:
                yield thumbnail_id(position), thumbnail

    def _frame_thumbnails(self, video: Video, side: int) -> Iterator[str | None]:
        for frame in video.frames():
            if frame.number in self._frame_numbers:
                yield None if frame.rgb is None else encode_thumbnail(frame.rgb, side)
