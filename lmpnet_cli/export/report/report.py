"""`lmpnet report`: show the results of discover, viz-filters or eval as one HTML file that works from disk.

1. The files in the folder decide which sections the report has: `keypoints.json` gives a gallery, a page for each
   keypoint and, after `discover --review`, the images to correct first; `filters.json` the filter atlas;
   `metrics.json` the tables of scores.
2. Images are embedded as small copies while the file is written.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from PIL import Image

from lmpnet_cli import __version__
from lmpnet_cli.config import MAX_PIXELS, ReportConfig, takes_options
from lmpnet_cli.data.images import evenly, read_image
from lmpnet_cli.data.listing import UnreadableImage, real
from lmpnet_cli.data.run_images import options_of
from lmpnet_cli.errors import DatasetError, InputError, OptionError
from lmpnet_cli.export.formats import Document, read_document
from lmpnet_cli.export.naming import with_names
from lmpnet_cli.export.report.embedded_images import EmbeddedImages
from lmpnet_cli.export.report.filter_atlas import IMAGE_ID, FilterDocument, atlas_data
from lmpnet_cli.export.report.gallery import gallery_data, gallery_facts
from lmpnet_cli.export.report.metric_tables import Metrics, metric_tables
from lmpnet_cli.export.report.settings_tables import settings_tables
from lmpnet_cli.export.report.template import report_html
from lmpnet_cli.export.report.thumbnails import encode_webp
from lmpnet_cli.export.review import Reviewed, images_to_review
from lmpnet_cli.io.bundled import bundled_classes
from lmpnet_cli.io.files import write_pieces
from lmpnet_cli.io.json_input import dict_in, list_in
from lmpnet_cli.io.json_input import read_document as read_schema
from lmpnet_cli.io.output_folder import lock_output
from lmpnet_cli.io.run_record import read_run
from lmpnet_cli.progress import Progress

RESULT_FILES = ("keypoints.json", "filters.json", "metrics.json")
REPORT = "report.html"
OUTDATED = "is damaged or of another version"
MAX_WEBP_SIDE = 16383  # pixels; the format allows no more

Documents = Mapping[str, dict[str, Any]]  # name of a result file -> its content


@dataclass(frozen=True)
class ReportResult:
    """Describes the report that was written.

    Attributes:
        path: the HTML file.
        images: the number of images in its gallery.
        sections: titles of its sections.
        bytes: the size of the file.
    """

    path: Path
    images: int
    sections: list[str]
    bytes: int


@takes_options(ReportConfig)
def report(result: str | Path, *, progress: Progress | None = None, **options: Any) -> ReportResult:
    """Write the report of a folder of results.

    Args:
        result: a folder that discover, viz-filters, eval or merge wrote.
        progress: is told about every image.
        **options: listed below.

    Raises:
        InputError, DatasetError: when there is nothing to show, or a file of the folder is damaged.
        OptionError: when the report would replace one of the results.
        OutputError: when the report exists already, or cannot be written.
    """
    config = ReportConfig(result=Path(result), **options)
    if not config.result.is_dir():
        raise InputError(f"Folder {config.result} not found. Check the spelling and the current folder.")
    if real(config.target) in {real(config.result / name) for name in (*RESULT_FILES, "run.json")}:
        raise OptionError(f"--out {config.target} is one of the results that are read. Choose another --out.")

    with lock_output(config.target.parent, [config.target.name], config.overwrite):
        return _write_report(config, progress or Progress())


def update_report(folder: Path, wanted: bool, progress: Progress, reviewed: Sequence[Reviewed] | None = None) -> None:
    """Write the report of results that were just written, or remove the outdated one where none is wanted.

    Args:
        reviewed: the images to correct first, where the caller has found them already.
    """
    (folder / REPORT).unlink(missing_ok=True)
    if wanted:
        _write_report(ReportConfig(result=folder), progress, reviewed)


@dataclass
class _Content:
    """Collects what the sections of a report show; None leaves a section out."""

    images: EmbeddedImages
    gallery: dict[str, Any] | None = None
    review: list[dict[str, Any]] = field(default_factory=list)
    filters: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    facts: list[str] = field(default_factory=list)
    limit_note: str = ""
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def sections(self) -> list[tuple[str, str]]:
        """Return the key and the title of each section."""
        sections = []
        if self.gallery:
            sections += [("gallery", "Gallery"), ("keypoints", "Keypoints")]
        if self.review:
            sections.append(("review", "Review"))
        if self.filters:
            sections.append(("filters", "Filter atlas"))
        if self.metrics:
            sections.append(("metrics", "Scores"))
        return [*sections, ("settings", "Settings"), ("skipped", f"Skipped ({len(self.skipped)})")]


def _write_report(config: ReportConfig, progress: Progress, reviewed: Sequence[Reviewed] | None = None) -> ReportResult:
    folder, target = config.result, config.target
    documents = _read_results(folder)

    content = _Content(EmbeddedImages(config, progress), skipped=_skipped_images(documents))
    if "keypoints.json" in documents:
        info = dict_in(documents["keypoints.json"].get("info"))
        _add_gallery(content, config, _shows_classes(config, info), reviewed)
    elif given := config.needing_parts:
        raise OptionError(f"{given[0]} needs keypoints, but {folder} contains no keypoints.json. Remove the option.")
    if "filters.json" in documents:
        _add_filters(content, folder)
    if "metrics.json" in documents:
        _add_metrics(content, folder)

    sections = content.sections()
    html = report_html(
        content.images,
        version=__version__,
        title=_title(folder),
        facts=content.facts,
        sections=sections,
        settings=settings_tables(folder, dict_in(documents.get("keypoints.json", {}).get("info"))),
        skipped=content.skipped,
        limit_note=content.limit_note,
        gallery=content.gallery,
        review=content.review,
        filters=content.filters,
        metrics=content.metrics,
        data={"gallery": content.gallery, "review": content.review, "filters": content.filters},
    )
    write_pieces(target, html)

    titles = [title for _, title in sections]
    return ReportResult(target, len(content.images.paths), titles, target.stat().st_size)


def _read_results(folder: Path) -> Documents:
    """Read the result files of the folder.

    Raises:
        InputError: when there are none.
        DatasetError: when one is damaged.
    """
    present = [name for name in RESULT_FILES if (folder / name).is_file()]
    if not present:
        is_unmerged = (folder / "manifest.json").exists()
        merge = f" Run `lmpnet merge {folder}` first to make a keypoints.json." if is_unmerged else ""
        raise InputError(
            f"{folder} contains none of {', '.join(RESULT_FILES)}. Pass the --out folder of discover, merge, "
            f"viz-filters or eval.{merge}"
        )
    return {name: _read_result(folder / name) for name in present}


def _read_result(path: Path) -> dict[str, Any]:
    document = read_schema(path, dict[str, Any], "is damaged", "Run the command again.")
    if path.name == "keypoints.json":
        # `read_document` reads the keypoints later; do not hold them in memory twice
        return {key: value for key, value in document.items() if key not in ("images", "annotations")}
    return document


def _skipped_images(documents: Documents) -> list[tuple[str, str]]:
    """Return file name and reason of every image that was skipped."""
    entries = [dict_in(entry) for document in documents.values() for entry in list_in(document.get("skipped"))]
    return [(str(entry.get("file_name", "")), str(entry.get("reason", ""))) for entry in entries]


def _shows_classes(config: ReportConfig, info: dict[str, Any]) -> bool:
    """Return whether predicted classes are shown: the bundled model would call every other animal one of its birds.

    A copy of it with other parts or with landmarks has the same classes.
    """
    return config.classes or info.get("classes") != bundled_classes()


def _add_gallery(content: _Content, config: ReportConfig, classes: bool, reviewed: Sequence[Reviewed] | None) -> None:
    document = with_names(read_document(config.result / "keypoints.json"), config, content.images.progress)
    if reviewed is None:
        reviewed = _reviewed(document, config.result)
    chosen = _choose(document, config.limit, {document.results[each.index].file_name for each in reviewed})
    content.gallery = gallery_data(document, chosen, classes)
    content.review = [
        {"position": chosen.index(each.index), "value": round(each.value, 2), "reason": each.reason}
        for each in reviewed
    ]
    content.facts += gallery_facts(document, len(content.skipped))
    content.images.add_gallery(document, chosen)
    content.images.large = {each["position"] for each in content.review}
    if len(chosen) < len(document.results):
        content.limit_note = (
            f"This report shows {config.limit} of {len(document.images)} images, chosen evenly by name (--limit)."
        )


def _reviewed(document: Document, folder: Path) -> list[Reviewed]:
    """Return the images to correct first, where the run was asked for them."""
    count = options_of(folder).get("review")
    if not isinstance(count, int) or count < 1 or not document.results:
        return []
    return images_to_review(document, count)


def _choose(document: Document, limit: int, reviewed: Collection[str]) -> list[int]:
    """Return the indices of the results of at most `limit` images, and of the images to review.

    Corrections need all objects of an image.
    """
    images = document.images
    first = [0, *accumulate(map(len, images))]
    listed = [index for index, objects in enumerate(images) if objects[0].file_name in reviewed]
    chosen = sorted({*evenly(len(images), limit), *listed})
    return [index for image in chosen for index in range(first[image], first[image + 1])]


def _add_filters(content: _Content, folder: Path) -> None:
    document = read_schema(folder / "filters.json", FilterDocument, OUTDATED, "Run `lmpnet viz-filters` again.")
    grid = _read_drawing(folder / "filters.png", "viz-filters")
    content.filters = atlas_data(document, grid.size) | {"network": f"{document.network}, {document.layer}"}
    content.facts.append(f"{len(document.filters)} filters on {document.images} images")

    grid.thumbnail((MAX_WEBP_SIDE, MAX_WEBP_SIDE))
    content.images.encoded.append((IMAGE_ID, encode_webp(grid)))


def _add_metrics(content: _Content, folder: Path) -> None:
    metrics = read_schema(folder / "metrics.json", Metrics, OUTDATED, "Run `lmpnet eval` again.")
    chart = folder / "metrics.png"
    chart_text = encode_webp(_read_drawing(chart, "eval")) if chart.is_file() else ""
    content.metrics = {"tables": metric_tables(metrics), "chart": chart_text}
    content.facts.append(f"{metrics.dataset}, {metrics.images} images scored")


def _read_drawing(path: Path, command: str) -> Image.Image:
    """Read a drawing of a command; it is untrusted, since the folder may come from another person.

    Raises:
        DatasetError: when it cannot be read.
    """
    try:
        return Image.fromarray(read_image(path, MAX_PIXELS).rgb)
    except UnreadableImage as error:
        raise DatasetError(f"{path} is damaged ({error}). Run `lmpnet {command}` again.") from error


def _title(folder: Path) -> str:
    command, name = str(read_run(folder).get("command", "results")), folder.absolute().name
    return f"lmpnet {command}" if name == command else f"lmpnet {command}: {name}"
