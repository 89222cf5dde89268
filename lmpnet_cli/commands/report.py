"""`lmpnet report RESULT`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary
from lmpnet_cli.config import ReportConfig as Config


def report(
    result: Annotated[Path, typer.Argument(help="Folder of results of discover, viz-filters, eval or merge.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The page (default: report.html in that folder).", rich_help_panel=o.OUTPUT),
    ] = Config.out,
    images: o.Pictures = None,
    limit: Annotated[
        int, typer.Option(help="Pictures in the page; of more, as many are chosen evenly.", rich_help_panel=o.OUTPUT)
    ] = Config.limit,
    side: Annotated[
        int | None,
        typer.Option(
            help="Longer side of the pictures in the page (default: by their number).", rich_help_panel=o.OUTPUT
        ),
    ] = Config.side,
    follow_links: o.FollowLinks = Config.follow_links,
    overwrite: o.Overwrite = Config.overwrite,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Make one HTML page of results: a gallery, the filter atlas or the scores; it needs no connection.

    \b
    lmpnet report results/discover
    lmpnet report results/viz-filters -o filters.html
    lmpnet report all --images photos/ --limit 2000
    """
    given: dict[str, Any] = {
        "out": out,
        "images": images or (),
        "limit": limit,
        "side": side,
        "overwrite": overwrite,
        "follow_links": follow_links,
    }
    Config(result=result, **given)
    from lmpnet_cli.export.report.report import report as run

    with ConsoleProgress(quiet or json) as progress:
        made = run(result, progress=progress, **given)
    if json:
        print_json({"out": str(made.path), "images": made.images, "sections": made.sections, "bytes": made.bytes})
    elif not quiet:
        facts = {
            "images": str(made.images),
            "sections": ", ".join(made.sections),
            "size": f"{made.bytes / 1e6:.1f} MB",
            "written": str(made.path),
        }
        print_summary("report", facts)
