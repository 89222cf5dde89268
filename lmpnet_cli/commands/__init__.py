"""The commands. Each is one call of the Python function of that name, and its summary."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from lmpnet_cli.commands import about, find, learn, measure, share

PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Train": {"train": learn.train, "parts": learn.parts, "fit": learn.fit},
    "Find keypoints": {"discover": find.discover, "merge": find.merge, "match": find.match},
    "Inspect and evaluate": {
        "eval": measure.evaluate,
        "viz-filters": measure.viz_filters,
        "salient": measure.salient,
    },
    "View and export the results": {"report": share.report, "convert": share.convert, "export": share.export},
    "About": {"info": about.info, "doctor": about.doctor},
}
SECOND_NAMES = {"evaluate": "eval", "visualize": "viz-filters"}


class _Command(TyperCommand):
    """A command whose help has no column for `--no-...`, which would cut off long names; the descriptions name it."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for parameter in self.params:
            if isinstance(parameter, TyperOption):
                parameter.secondary_opts = []
        super().format_help(ctx, formatter)


def add_to(app: typer.Typer) -> None:
    """Register the commands, each followed by its second name where it has one."""
    for panel, commands in PANELS.items():
        for name, command in commands.items():
            app.command(name, cls=_Command, rich_help_panel=panel)(command)
            for second in (second for second, first in SECOND_NAMES.items() if first == name):
                app.command(second, cls=_Command, rich_help_panel=panel, short_help=f"Same as {name}.")(command)
