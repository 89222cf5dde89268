"""`lmpnet viz-filters [IMAGES]`."""

from pathlib import Path
from typing import Annotated

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary
from lmpnet_cli.config import VisualizeConfig as Config
from lmpnet_cli.config import default_out


def viz_filters(
    images: Annotated[
        list[Path] | None, typer.Argument(help="Folders and files (default: the bundled example pictures).")
    ] = None,
    rows: Annotated[int, typer.Option(help="Tiles down: images by rank.", rich_help_panel=o.METHOD)] = Config.rows,
    columns: Annotated[
        int, typer.Option(help="Tiles across: filters by rank.", rich_help_panel=o.METHOD)
    ] = Config.columns,
    tile: Annotated[int, typer.Option(help="Side of one image, in pixels.", rich_help_panel=o.OUTPUT)] = Config.tile,
    replica: Annotated[
        bool, typer.Option("--replica", help="The replica's filters, on masked images.", rich_help_panel=o.METHOD)
    ] = Config.replica,
    layer: Annotated[
        str | None,
        typer.Option(help="A layer before the last, such as layer2.", rich_help_panel=o.METHOD),
    ] = Config.layer,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            help="One more checkpoint, whose filters are shown below those of --checkpoint in comparison.png; may be "
            "given several times.",
            rich_help_panel=o.METHOD,
        ),
    ] = None,
    checkpoint: o.Checkpoint = Config.checkpoint,
    size: o.Size = Config.size,
    out: o.Out = default_out("viz-filters"),
    overwrite: o.Overwrite = Config.overwrite,
    report: o.Report = Config.report,
    max_pixels: o.MaxPixels = Config.max_pixels,
    follow_links: o.FollowLinks = Config.follow_links,
    device: o.Device = Config.device,
    precision: o.Precise = o.Precision(Config.precision),
    batch_size: o.BatchSize = Config.batch_size,
    workers: o.Workers = Config.workers,
    seed: o.Seed = Config.seed,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Draw the full-scale filter visualisation: strong to weak filters across, strong to weak images down.

    \b
    lmpnet viz-filters
    lmpnet viz-filters photos/ --columns 12 --replica
    lmpnet viz-filters photos/ -c average.safetensors --compare max.safetensors --compare leaky.safetensors
    """
    given = o.plain({key: value for key, value in locals().items() if key not in ("quiet", "json")})
    given["compare"] = compare or ()
    Config(**given)
    from lmpnet_cli.filters.visualize import visualize_filters as run

    with ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    if json:
        print_json(
            {"images": result.images, "skipped": len(result.skipped), "filters": len(result.filters), "out": out}
        )
    elif not quiet:
        facts = {
            "images": result.images,
            "skipped": o.skipped_line(len(result.skipped)),
            "filters": f"{len(result.filters)} shown",
            "device": result.device,
            "time": f"{result.seconds:.1f} s",
            "written": o.written(out, "filters.png", "filters.json", "comparison.png", "report.html"),
        }
        print_summary("viz-filters", facts)
