"""What the user sees: progress and summaries on stderr, `--json` on stdout. The only module that imports rich."""

import json
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from rich import progress as bars
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmpnet_cli.progress import Progress

SECONDS = 15.0  # between two lines of progress in a log
Result = TypeVar("Result")


class _Throughput(bars.ProgressColumn):
    def render(self, task: bars.Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="cyan")


class ConsoleProgress(Progress):
    """Show a bar with throughput and time left, and a plain line for each warning.

    Where nothing can be redrawn (a log file, a dumb terminal), a line is printed every few seconds instead. The bar is
    created when it is first needed, so that the object can be sent to another process before.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bars: bars.Progress | None = None
        self._started = self._printed = 0.0

    def start(self, task: str, total: int, unit: str = "images") -> None:
        if self.quiet:
            return
        self.stop()

        columns = (
            bars.SpinnerColumn(),
            bars.TextColumn("{task.description}"),
            bars.BarColumn(bar_width=12),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[unit]}"),
            _Throughput(),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[note]}", markup=False),
        )
        console = _stderr()
        in_log = not (console.is_interactive or console.is_jupyter)
        self._bars = bars.Progress(*columns, console=console, disable=in_log)
        self._bars.start()
        self._bars.add_task(task, total=total, note="", unit=unit)
        self._started = self._printed = time.monotonic()

    def advance(self, count: int, note: str = "") -> None:
        if self._bars is None:
            return
        task = self._bars.tasks[0]
        self._bars.update(task.id, advance=count, note=note or task.fields["note"])
        if self._bars.disable and time.monotonic() - self._printed >= SECONDS:
            self._print_line(task)

    def _print_line(self, task: bars.Task) -> None:
        self._printed = time.monotonic()
        speed = task.completed / max(self._printed - self._started, 1e-9)

        facts = [f"{task.completed:.0f} of {task.total:.0f} {task.fields['unit']}", f"{speed:.1f}/s"]
        if speed and task.remaining:
            facts.append(f"{timedelta(seconds=round(task.remaining / speed))} left")
        facts.append(task.fields["note"])
        self.tell(f"{task.description}: {', '.join(filter(None, facts))}")

    def warn(self, message: str) -> None:
        """Print a warning, also when quiet, as errors are."""
        print_line(f"Warning: {message}", "yellow", self._bars)

    def tell(self, message: str) -> None:
        """Print a plain line above the bar; nothing when quiet."""
        if not self.quiet:
            print_line(message, "", self._bars)

    def stop(self) -> None:
        """Stop the bar and leave its last state on the screen; a log gets a last line if there were lines before."""
        if self._bars is None:
            return
        if not self._bars.disable:
            self._bars.stop()
        elif self._printed > self._started:
            self._print_line(self._bars.tasks[0])
        self._bars = None

    def __enter__(self) -> "ConsoleProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _stderr() -> Console:
    return Console(stderr=True)


def print_line(message: str, style: str = "", above: bars.Progress | None = None) -> None:
    """Print one line to stderr, above a bar; it is not wrapped, so that commands in it can be copied."""
    console = _stderr() if above is None else above.console
    console.print(Text(printable(message), style), soft_wrap=True)


def printable(text: str) -> str:
    """Replace characters that no terminal can show, or that would move its cursor; file names may contain them."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(" " if sign in "\n\r\t" else "?" if unicodedata.category(sign)[0] == "C" else sign for sign in text)


@dataclass(frozen=True)
class Terminal:
    """How a command talks to the user: `--quiet` and `--json`."""

    began: ClassVar[float | None] = None  # `time.perf_counter` when the program was started; `cli.main` sets it
    quiet: bool
    json: bool

    @property
    def shows_summary(self) -> bool:
        """Return whether progress, tables and summaries are printed; warnings and errors always are."""
        return not (self.quiet or self.json)

    def run(self, function: Callable[..., Result], config: Any, unfinished: Path | None = None) -> Result:
        """Call the Python function of a command with its options, and show its progress.

        After an interruption that left the file `unfinished` behind, the user is told how to resume the run.
        """
        try:
            with ConsoleProgress(quiet=not self.shows_summary) as progress:
                return function(**vars(config), progress=progress)
        except KeyboardInterrupt:
            if unfinished is not None and unfinished.exists():
                kept = f"The finished work is kept in {unfinished.parent}"
                print_line(f"{kept}: run the same command with --resume to continue.")
            raise

    def summarize(
        self,
        title: str,
        config: Any,
        result: Any,
        facts: Mapping[str, object],
        files: Sequence[str | Path] = (),
        document: Mapping[str, Any] | None = None,
    ) -> None:
        """Print the summary of a command, or its JSON document.

        Args:
            facts: what only this command shows; it replaces rows of `common_facts` that have the same name.
            files: results that are shown if they exist; names are relative to `out`.
            document: the JSON document in place of `document_of(result)`.
        """
        paths = [path if isinstance(path, Path) else config.out / path for path in files]
        waited = None if self.began is None else time.perf_counter() - self.began
        rows = {**common_facts(config, result, facts.get("images"), waited), **facts}
        if paths:
            rows["written"] = ", ".join(str(path) for path in paths if path.exists())
        self.show(title, rows, document_of(result) if document is None else document)

    def show(self, title: str, facts: Mapping[str, object], document: Mapping[str, Any]) -> None:
        """Print `document` as one JSON object to stdout, or `facts` as a summary to stderr, without empty facts."""
        if self.json:
            sys.stdout.write(json.dumps(document, allow_nan=False, default=str) + "\n")
        if not self.shows_summary:
            return

        table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, fact in facts.items():
            if fact not in (None, ""):
                table.add_row(name, Text(printable(str(fact))))
        _stderr().print(table)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> None:
    """Print a table of results to stderr, with a note below; numbers are aligned to the right."""
    about: dict[str, Any] = {"title": title, "title_justify": "left", "caption": note, "caption_justify": "left"}
    table = Table(**about, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(Text(printable(column)), justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    _stderr().print(table)


def common_facts(config: Any, result: Any, images: Any, waited: float | None = None) -> dict[str, object]:
    """Return the rows that summaries share, as far as there are any.

    Args:
        images: stands in for a number in the result.
        waited: seconds since the program was started.
    """
    known = document_of(result)
    images, skipped, seconds = known.get("images", images), known.get("skipped"), known.get("seconds")
    method = known.get("method", getattr(config, "method", None))
    named = method in ("parts", "landmarks")
    meaning = ", ".join(known.get("names", ["the same in every image"])) if named else "ranks in each image"
    if method == "lmpnet" and (distance := getattr(config, "distance", None)):
        meaning += f"; {distance} distance"

    return {
        "images": images,
        "skipped": f"{skipped} (listed in the results)" if skipped else skipped,
        "method": f"{method} ({meaning})" if method else None,
        "checkpoint": model_line(config) if hasattr(config, "checkpoint") else None,
        "device": known.get("device"),
        "time": None if seconds is None else _time(seconds, images, waited),
    }


def _time(seconds: float, images: Any, waited: float | None) -> str:
    """Return the whole time and, in brackets, what of it was the start, and the throughput without it."""
    whole = max(seconds, waited or 0.0)
    start = f"{whole - seconds:.1f} s to start" if whole - seconds >= 0.05 else ""
    rate = f"{images / seconds:.1f} images/s" if images and seconds else ""
    details = ", ".join(filter(None, [start, rate]))
    return f"{whole:.1f} s" + (f" ({details})" if details else "")


def document_of(result: Any) -> dict[str, Any]:
    """Return the JSON document of a result: its numbers, texts and names, its output, and how many images it has."""
    document: dict[str, Any] = {}
    for name, value in vars(result).items():
        if name == "skipped":
            document[name] = value if isinstance(value, int) else len(value)
        elif name == "keypoints":
            document["images"] = getattr(result, "images", len(value))  # several objects may be on one image
        elif name == "path":
            document["out"] = value
        elif isinstance(value, float):
            document[name] = round(value, 4)
        elif value is None or isinstance(value, int | str | Path | tuple):
            document[name] = value
    return document


def model_line(config: Any) -> str:
    """Return the checkpoint or classifier that ran, for a summary; empty where a file of predictions is scored."""
    from lmpnet_cli.io.bundled import bundled_checkpoint

    if getattr(config, "predictions", None):
        return ""
    if getattr(config, "classifier", None):
        return f"{config.classifier} (timm)"
    return str(config.checkpoint) if config.checkpoint else f"{bundled_checkpoint().name} (bundled)"
