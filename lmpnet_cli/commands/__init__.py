"""The commands. Each is one call of the Python function of that name, and its summary."""

from collections.abc import Callable

import typer

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


def add_to(app: typer.Typer) -> None:
    """Register the commands, each followed by its second name where it has one."""
    for panel, commands in PANELS.items():
        for name, command in commands.items():
            app.command(name, rich_help_panel=panel)(command)
            for second in (second for second, first in SECOND_NAMES.items() if first == name):
                app.command(second, rich_help_panel=panel, short_help=f"Same as {name}.")(command)
