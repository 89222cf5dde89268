"""One module for each command; each is one call of the Python function of that name."""

from collections.abc import Callable

import typer

from lmpnet_cli.commands import (
    convert,
    discover,
    doctor,
    evaluate,
    export,
    info,
    match,
    merge,
    parts,
    report,
    salient,
    train,
    viz_filters,
)

LEARN, FIND, MEASURE, HAND_ON, ABOUT = "Learn", "Find", "Look inside and measure", "Hand on", "About"


def add_to(app: typer.Typer) -> None:
    """Registers the commands and their second names."""
    panels: dict[str, dict[str, Callable[..., None]]] = {
        LEARN: {"train": train.train, "parts": parts.parts},
        FIND: {"discover": discover.discover, "merge": merge.merge, "match": match.match},
        MEASURE: {"eval": evaluate.evaluate, "viz-filters": viz_filters.viz_filters, "salient": salient.salient},
        HAND_ON: {"report": report.report, "convert": convert.convert, "export": export.export},
        ABOUT: {"info": info.info, "doctor": doctor.doctor},
    }
    for panel, commands in panels.items():
        for name, command in commands.items():
            app.command(name, rich_help_panel=panel)(command)
    app.command("visualize", hidden=True)(viz_filters.viz_filters)
    app.command("evaluate", hidden=True)(evaluate.evaluate)
