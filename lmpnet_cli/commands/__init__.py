"""One module for each command; each is one call of the Python function of that name."""

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
    report,
    salient,
    train,
    viz_filters,
    vocabulary,
)


def add_to(app: typer.Typer) -> None:
    """Registers the commands and their second names."""
    app.command("train")(train.train)
    app.command("discover")(discover.discover)
    app.command("export")(export.export)
    app.command("vocabulary")(vocabulary.vocabulary)
    app.command("match")(match.match)
    app.command("merge")(merge.merge)
    app.command("convert")(convert.convert)
    app.command("report")(report.report)
    app.command("info")(info.info)
    app.command("doctor")(doctor.doctor)
    app.command("viz-filters")(viz_filters.viz_filters)
    app.command("visualize", hidden=True)(viz_filters.viz_filters)
    app.command("eval")(evaluate.evaluate)
    app.command("salient")(salient.salient)
    app.command("evaluate", hidden=True)(evaluate.evaluate)
