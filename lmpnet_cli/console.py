"""What the user sees: progress and summaries on stderr, `--json` on stdout. The only importer of rich."""

import json
import sys
from collections.abc import Mapping, Sequence
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


class _Throughput(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="cyan")


class ConsoleProgress(Progress):
    """A bar with throughput and time left; a plain line for each warning.

    The bar is made when it is first needed, so that the object can be sent to another process before.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bars: Bars | None = None
        self._task: Any = None

    def start(self, task: str, total: int, unit: str = "images") -> None:
        if self.quiet:
            return
        self.stop()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            _Throughput(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._bars = Bars(*columns, console=Console(stderr=True))
        self._bars.start()
        self._task = self._bars.add_task(task, total=total, note="")

    def advance(self, count: int, note: str = "") -> None:
        if self._bars is not None:
            if note:
                self._bars.update(self._task, note=escape(note))
            self._bars.advance(self._task, count)

    def warn(self, message: str) -> None:
        """Warnings show even when quiet, as errors do."""
        console = self._bars.console if self._bars is not None else Console(stderr=True)
        console.print(f"Warning: {escape(printable(message))}", style="yellow", highlight=False, soft_wrap=True)

    def tell(self, message: str) -> None:
        """A plain line above the bar; nothing when quiet."""
        if not self.quiet:
            console = self._bars.console if self._bars is not None else Console(stderr=True)
            console.print(escape(printable(message)), highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Takes the bar away and leaves its last state on the screen."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def __enter__(self) -> "ConsoleProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def printable(text: str) -> str:
    """File names may hold bytes that no terminal can show."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\n", " ")


def print_error(message: str) -> None:
    """One message on stderr."""
    Console(stderr=True).print(f"Error: {escape(printable(message))}", style="red", highlight=False, soft_wrap=True)


def print_note(message: str) -> None:
    """One line on stderr that is not wrapped, so that commands in it can be copied."""
    Console(stderr=True).print(escape(printable(message)), highlight=False, soft_wrap=True)


def print_summary(title: str, facts: Mapping[str, object]) -> None:
    """What was done and what was written where, on stderr."""
    console = Console(stderr=True)
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
    Console(stderr=True).print(table)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on stdout and nothing else."""
    sys.stdout.write(json.dumps(document, allow_nan=False, default=str) + "\n")
