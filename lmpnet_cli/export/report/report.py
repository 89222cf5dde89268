"""`lmpnet report`: the results of discover, viz-filters or eval as one page that works from disk.

1. What the folder holds decides what the page has: `keypoints.json` a gallery and a page for each keypoint,
   `filters.json` the filter atlas, `metrics.json` the tables.
2. Pictures go into the page as small copies, while it is written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lmpnet_cli import __version__
from lmpnet_cli.config import MAX_PIXELS, VIDEOS, ReportConfig
from lmpnet_cli.data.images import evenly
from lmpnet_cli.data.run_images import find_images, inputs_of, options_of
from lmpnet_cli.data.video import Video
from lmpnet_cli.errors import InputError, reading_document
from lmpnet_cli.export.formats import Document, read_document
from lmpnet_cli.export.report.filter_atlas import atlas_data
from lmpnet_cli.export.report.gallery import gallery_data, gallery_facts
from lmpnet_cli.export.report.metric_tables import metric_tables
from lmpnet_cli.export.report.template import page_text
from lmpnet_cli.export.report.thumbnails import encode, opened, side_for, small, thumbnails
from lmpnet_cli.io.files import write_pieces
from lmpnet_cli.io.json_input import dict_in, list_in, read_json
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import read_run
from lmpnet_cli.progress import Progress

KINDS = ("keypoints.json", "filters.json", "metrics.json")
PAGE = "report.html"
WEBP_SIDE = 16383  # WebP has no more pixels on a side


@dataclass(frozen=True)
class ReportResult:
    """The page.

    Attributes:
        images: pictures in its gallery.
        sections: what it shows.
    """

    path: Path
    images: int
    sections: list[str]
    bytes: int


def report(result: str | Path, *, progress: Progress | None = None, **options: Any) -> ReportResult:
    """Makes the page of a folder of results.

    Args:
        result: a folder that discover, viz-filters, eval or merge wrote.
        **options: the fields of `ReportConfig`.

    Raises:
        InputError, DatasetError: when there is nothing to show, or a file of the folder is damaged.
        OutputError: when the page is there already, or cannot be written.
    """
    config = ReportConfig(result=Path(result), **options)
    progress = progress or Progress()
    if not config.result.is_dir():
        raise InputError(f"There is no folder {config.result}. Check the spelling and the current folder.")
    with lock_output(config.target.parent, [config.target.name], config.overwrite):
        return _report(config, progress)


def _report(config: ReportConfig, progress: Progress) -> ReportResult:
    folder, target = config.result, config.target
    there = [name for name in KINDS if (folder / name).is_file()]
    if not there:
        merge = f" `lmpnet merge {folder}` makes a keypoints.json of it." if (folder / "manifest.json").exists() else ""
        raise InputError(
            f"{folder} holds none of {', '.join(KINDS)}. Name the --out of discover, merge, viz-filters or eval.{merge}"
        )
    documents = {name: _read(folder / name) for name in there}
    skipped = [_skipped(entry) for document in documents.values() for entry in list_in(document.get("skipped"))]
    pictures = _Pictures(config, progress)
    content: dict[str, Any] = {"gallery": None, "filters": None, "metrics": None}
    facts: list[str] = []
    left_out = ""
    if "keypoints.json" in documents:
        document = read_document(folder / "keypoints.json")
        chosen = evenly(len(document.results), config.limit)
        content["gallery"] = gallery_data(document, chosen)
        facts += gallery_facts(document, len(skipped))
        pictures.add_gallery(document, chosen)
        if len(chosen) < len(document.results):
            left_out = (
                f"The page shows {len(chosen)} of {len(document.results)} images, evenly chosen by name (--limit)."
            )
    if "filters.json" in documents:
        content["filters"] = _filters(folder, documents["filters.json"], pictures)
        facts.append(
            f"{len(documents['filters.json']['filters'])} filters on {documents['filters.json']['images']} images"
        )
    if "metrics.json" in documents:
        content["metrics"] = _metrics(folder, documents["metrics.json"])
        facts.append(f"{documents['metrics.json']['dataset']}, {documents['metrics.json']['images']} images scored")
    sections = _sections(content, len(skipped))
    text = page_text(
        pictures,
        version=__version__,
        title=_title(folder),
        facts=facts,
        sections=sections,
        settings=_settings(folder, documents),
        skipped=skipped,
        left_out=left_out,
        data={name: content[name] for name in ("gallery", "filters")},
        **content,
    )
    write_pieces(target, text)
    return ReportResult(target, len(pictures.paths), [name for _, name in sections], target.stat().st_size)


def page(folder: Path, wanted: bool, progress: Progress) -> None:
    """The page of results that were written just now; that of an earlier run goes."""
    (folder / PAGE).unlink(missing_ok=True)
    if wanted:
        _report(ReportConfig(result=folder), progress)


class _Pictures:
    """(id, base64) of all pictures of the page, prepared while it is written."""

    def __init__(self, config: ReportConfig, progress: Progress) -> None:
        self.config, self.progress = config, progress
        self.paths: list[Path | None] = []
        self.video: Video | None = None
        self.numbers: set[int | None] = set()
        self.ready: list[tuple[str, str]] = []

    def add_gallery(self, document: Document, chosen: Sequence[int]) -> None:
        names = [document.results[index].file_name for index in chosen]
        if video := self._video():
            self.paths, self.video = [None] * len(names), video
            self.numbers = {document.results[index].frame for index in chosen}
            return
        found = find_images(names, self.config.result, self.config.images, self.config.follow_links)
        if missing := len(names) - len(found):
            self.progress.warn(f"{missing} pictures are not where they were; the page shows their keypoints only.")
        self.paths = [found.get(name) for name in names]

    def _video(self) -> Video | None:
        options = options_of(self.config.result)
        inputs = [*self.config.images] or inputs_of(self.config.result)
        if len(inputs) != 1 or inputs[0].suffix.lower() not in VIDEOS or not inputs[0].is_file():
            return None
        return Video(inputs[0], int(options.get("every") or 1))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from self.ready
        if self.paths:
            self.progress.start("report", len(self.paths))
        side = self.config.side or side_for(len(self.paths))
        texts = self._of_video(self.video, side) if self.video else thumbnails(self.paths, side, MAX_PIXELS)
        for place, text in enumerate(texts):
            self.progress.advance(1)
            if text is not None:
                yield f"p{place}", text

    def _of_video(self, video: Video, side: int) -> Iterator[str | None]:
        for frame in video.frames():
            if frame.number in self.numbers:
                yield None if frame.rgb is None else small(Image.fromarray(frame.rgb), side)


def _read(path: Path) -> dict[str, Any]:
    with reading_document(path, "is damaged", "Run the command again."):
        document = read_json(path)
        if not isinstance(document, dict):
            raise TypeError("no object")
    # the keypoints are read by `read_document`, and would be in memory twice
    return (
        {key: value for key, value in document.items() if key not in ("images", "annotations")}
        if (path.name == "keypoints.json")
        else document
    )


def _skipped(entry: Any) -> tuple[str, str]:
    given = dict_in(entry)
    return str(given.get("file_name", "")), str(given.get("reason", ""))


def _filters(folder: Path, document: dict[str, Any], pictures: _Pictures) -> dict[str, Any]:
    path = folder / "filters.png"
    with reading_document(path, "is damaged or of another version", "Run `lmpnet viz-filters` again."):
        graph = opened(path)
        size = graph.size
        graph.thumbnail((WEBP_SIDE, WEBP_SIDE))
        data = atlas_data(document, size)
        network = f"{document['network']}, {document['layer']}"
    pictures.ready.append(("graph", encode(graph)))
    return data | {"network": network}


def _metrics(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    with reading_document(folder / "metrics.json", "is damaged or of another version", "Run `lmpnet eval` again."):
        tables = metric_tables(document)
    chart = folder / "metrics.png"
    with reading_document(chart, "is damaged", "Run `lmpnet eval` again."):
        picture = encode(opened(chart)) if chart.is_file() else ""
    return {"tables": tables, "picture": picture}


def _sections(content: dict[str, Any], skipped: int) -> list[tuple[str, str]]:
    names = []
    if content["gallery"]:
        names += [("gallery", "Gallery"), ("keypoints", "Keypoints")]
    if content["filters"]:
        names.append(("filters", "Filter atlas"))
    if content["metrics"]:
        names.append(("metrics", "Scores"))
    return [*names, ("settings", "Settings"), ("skipped", f"Skipped ({skipped})")]


def _title(folder: Path) -> str:
    command, name = str(read_run(folder).get("command", "results")), folder.absolute().name
    return f"lmpnet {command}" if name == command else f"lmpnet {command}: {name}"


def _settings(folder: Path, documents: dict[str, dict[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Tables of names and values."""
    run = read_run(folder)
    info = dict_in(documents.get("keypoints.json", {}).get("info"))
    options, versions = dict_in(run.pop("options", None)), dict_in(run.pop("versions", None))
    run.pop("skipped", None)
    classes = info.pop("classes", None)
    info |= {"classes": f"{len(classes)}: {', '.join(map(str, classes[:5]))}..."} if isinstance(classes, list) else {}
    tables = [("How keypoints were found", info), ("The run", run), ("Options", options), ("Versions", versions)]
    return [(title, [(str(key), _plain(value)) for key, value in rows.items()]) for title, rows in tables if rows]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(each)}" for key, each in value.items())
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    return "-" if value is None else str(value)
