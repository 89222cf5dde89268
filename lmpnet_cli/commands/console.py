"""What the user sees: progress and summaries on stderr, `--json` on stdout. The only module that imports rich."""

import json
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from lmpnet_cli.progress import Progress

SECONDS = 15.0  # between two lines of progress in a log


class _Throughput(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="cyan")


class _Lines:
    """Progress as lines of text."""

    def __init__(self, console: Console, task: str, total: int, unit: str) -> None:
        self.console, self.task, self.total, self.unit = console, task, total, unit
        self.done, self.note = 0, ""
        self.started = self.printed = time.monotonic()

    def advance(self, count: int, note: str) -> None:
        self.done += count
        self.note = note or self.note
        if time.monotonic() - self.printed >= SECONDS:
            self.print()

    def finish(self) -> None:
        """Print a last line if there were lines before; a short stage needs none."""
        if self.printed > self.started:
            self.print()

    def print(self) -> None:
        self.printed = time.monotonic()
        speed = self.done / max(self.printed - self.started, 1e-9)

        facts = [f"{self.done} of {self.total} {self.unit}", f"{speed:.1f}/s"]
        if speed and self.done < self.total:
            facts.append(f"{timedelta(seconds=round((self.total - self.done) / speed))} left")
        facts.append(self.note)

        line = f"{self.task}: {', '.join(fact for fact in facts if fact)}"
        self.console.print(escape(printable(line)), highlight=False, soft_wrap=True)


class ConsoleProgress(Progress):
    """Show a bar with throughput and time left, and a plain line for each warning.

    Where nothing can be redrawn (a log file, a dumb terminal), a line is printed every few seconds instead. The bar is
    created when it is first needed, so that the object can be sent to another process before.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bars: Bars | None = None
        self._task: Any = None
        self._lines: _Lines | None = None

    def start(self, task: str, total: int, unit: str = "images") -> None:
        if self.quiet:
            return
        self.stop()

        console = _stderr()
        if not console.is_jupyter and (not console.is_terminal or console.is_dumb_terminal):
            self._lines = _Lines(console, task, total, unit)
            return

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            _Throughput(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._bars = Bars(*columns, console=console)
        self._bars.start()
        self._task = self._bars.add_task(task, total=total, note="")

    def advance(self, count: int, note: str = "") -> None:
        if self._lines is not None:
            self._lines.advance(count, note)
        elif self._bars is not None:
            if note:
                self._bars.update(self._task, note=escape(note))
            self._bars.advance(self._task, count)

    def warn(self, message: str) -> None:
        """Print a warning, also when quiet, as errors are."""
        console = self._bars.console if self._bars is not None else _stderr()
        console.print(f"Warning: {escape(printable(message))}", style="yellow", highlight=False, soft_wrap=True)

    def tell(self, message: str) -> None:
        """Print a plain line above the bar; nothing when quiet."""
        if not self.quiet:
            console = self._bars.console if self._bars is not None else _stderr()
            console.print(escape(printable(message)), highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Stop the bar and leave its last state on the screen."""
        if self._lines is not None:
            self._lines.finish()
            self._lines = None
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def __enter__(self) -> "ConsoleProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _stderr() -> Console:
    return Console(stderr=True, emoji=False)  # :bug: in a file name stays as it is


def printable(text: str) -> str:
    """Replace characters that no terminal can show, or that would move its cursor; file names may contain them."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(" " if sign in "\n\r\t" else "?" if unicodedata.category(sign)[0] == "C" else sign for sign in text)


def print_error(message: str) -> None:
    """Print one error message to stderr."""
    _stderr().print(f"Error: {escape(printable(message))}", style="red", highlight=False, soft_wrap=True)


def print_note(message: str) -> None:
    """Print one line to stderr that is not wrapped, so that commands in it can be copied."""
    _stderr().print(escape(printable(message)), highlight=False, soft_wrap=True)


@contextmanager
def resume_hint(state: Path) -> Iterator[None]:
    """After an interruption that left `state` behind, say how to resume the run."""
    try:
        yield
    except KeyboardInterrupt:
        if state.exists():
            print_note(f"The finished work is kept in {state.parent}: run the same command with --resume to continue.")
        raise


@dataclass(frozen=True)
class Terminal:
    """How a command talks to the user: `--quiet` and `--json`."""

    quiet: bool
    json: bool

    def progress(self) -> ConsoleProgress:
        """Return the progress of a run; it is silent, but for warnings, under `--quiet` and `--json`."""
        return ConsoleProgress(self.quiet or self.json)

    @property
    def shows_summary(self) -> bool:
        """Return whether tables and summaries are printed."""
        return not (self.quiet or self.json)

    def finish(self, title: str, facts: Mapping[str, object], document: Mapping[str, Any]) -> None:
        """Print `document` as one JSON object to stdout, or `facts` as a summary to stderr, without empty facts."""
        if self.json:
            sys.stdout.write(json.dumps(document, allow_nan=False, default=str) + "\n")
        if not self.shows_summary:
            return

        table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, fact in facts.items():
            if text := "" if fact is None else str(fact):
                table.add_row(name, escape(printable(text)))
        _stderr().print(table)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of results to stderr; numbers are aligned to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    _stderr().print(table)


def skipped_line(count: int) -> str:
    """Return the number of skipped images, for a summary."""
    return f"{count} (listed in the results)" if count else "0"


def written(out: Path | None, *names: str) -> str:
    """Return the paths of those results that exist, for a summary."""
    return ", ".join(str(out / name) for name in names if (out / name).exists()) if out else ""


def method_line(method: str | None, names: Sequence[str]) -> str:
    """Return the method and what it means for the keypoints, for a summary."""
    if method is None:
        return ""
    return f"{method} ({', '.join(names) if method == 'parts' else 'ranks in each image'})"


def model_line(config: Any) -> str:
    """Return the checkpoint or classifier that ran, for a summary."""
    from lmpnet_cli.io.bundled import bundled_checkpoint

    if getattr(config, "classifier", None):
        return f"{config.classifier} (timm)"
    return str(config.checkpoint) if config.checkpoint else f"{bundled_checkpoint().name} (bundled)"
