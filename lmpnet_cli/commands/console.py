"""What the user sees: progress and summaries on stderr, `--json` on stdout. The only importer of rich."""

import json
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        self.began = self.told = time.monotonic()

    def advance(self, count: int, note: str) -> None:
        self.done += count
        self.note = note or self.note
        if time.monotonic() - self.told >= SECONDS:
            self.tell()

    def finish(self) -> None:
        """A last line where there were lines before: a short stage needs none."""
        if self.told > self.began:
            self.tell()

    def tell(self) -> None:
        self.told = time.monotonic()
        speed = self.done / max(self.told - self.began, 1e-9)
        parts = [f"{self.done} of {self.total} {self.unit}", f"{speed:.1f}/s"]
        if speed and self.done < self.total:
            parts.append(f"{timedelta(seconds=round((self.total - self.done) / speed))} left")
        parts.append(self.note)
        line = f"{self.task}: {', '.join(part for part in parts if part)}"
        self.console.print(escape(printable(line)), highlight=False, soft_wrap=True)


class ConsoleProgress(Progress):
    """A bar with throughput and time left; a plain line for each warning.

    Where nothing can be redrawn (a log file, a dumb terminal), a line every now and then takes its place.

    The bar is made when it is first needed, so that the object can be sent to another process before.
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
        """Warnings show even when quiet, as errors do."""
        console = self._bars.console if self._bars is not None else _stderr()
        console.print(f"Warning: {escape(printable(message))}", style="yellow", highlight=False, soft_wrap=True)

    def tell(self, message: str) -> None:
        """A plain line above the bar; nothing when quiet."""
        if not self.quiet:
            console = self._bars.console if self._bars is not None else _stderr()
            console.print(escape(printable(message)), highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Takes the bar away and leaves its last state on the screen."""
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
    return Console(stderr=True, emoji=False)  # :bug: in a name is no picture of one


def printable(text: str) -> str:
    """File names may hold bytes that no terminal can show, or that would move its cursor."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(" " if sign in "\n\r\t" else "?" if unicodedata.category(sign)[0] == "C" else sign for sign in text)


def print_error(message: str) -> None:
    """One message on stderr."""
    _stderr().print(f"Error: {escape(printable(message))}", style="red", highlight=False, soft_wrap=True)


def print_note(message: str) -> None:
    """One line on stderr that is not wrapped, so that commands in it can be copied."""
    _stderr().print(escape(printable(message)), highlight=False, soft_wrap=True)


@contextmanager
def telling_how_to_go_on(state: Path) -> Iterator[None]:
    """After an interruption that left `state` behind."""
    try:
        yield
    except KeyboardInterrupt:
        if state.exists():
            print_note(f"What is done is kept in {state.parent}: the same command with --resume goes on from there.")
        raise


def print_summary(title: str, facts: Mapping[str, object]) -> None:
    """What was done and what was written where, on stderr."""
    console = _stderr()
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, escape(printable(str(value))))
    console.print(table)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of results on stderr; numbers are aligned to the right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    _stderr().print(table)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on stdout and nothing else."""
    sys.stdout.write(json.dumps(document, allow_nan=False, default=str) + "\n")
