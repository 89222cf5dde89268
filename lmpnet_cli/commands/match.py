"""`lmpnet match IMAGES`."""

from pathlib import Path
from typing import Annotated

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary
from lmpnet_cli.config import MatchConfig as Config
from lmpnet_cli.config import default_out


def match(
    images: Annotated[list[Path], typer.Argument(help="Two pictures or more, or folders with them.")],
    checkpoint: o.Checkpoint = Config.checkpoint,
    columns: Annotated[int, typer.Option(help="Pictures in a row.", rich_help_panel=o.OUTPUT)] = Config.columns,
    size: o.Size = Config.size,
    out: o.Out = default_out("match"),
    overwrite: o.Overwrite = Config.overwrite,
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
    """Draw the same keypoints of several pictures, joined by lines.

    \b
    lmpnet match heron.jpg egret.jpg
    lmpnet match photos/ -c results/vocabulary/lmpnet.safetensors --columns 3
    """
    given = o.plain({key: value for key, value in locals().items() if key not in ("quiet", "json")})
    Config(**given)
    from lmpnet_cli.discovery.match import match as run

    with ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    everywhere = [
        name for index, name in enumerate(result.names) if all(each.found[index] for each in result.keypoints)
    ]
    if json:
        summary = {"images": len(result.keypoints), "skipped": len(result.skipped), "on_all": everywhere, "out": out}
        print_json(summary)
    elif not quiet:
        facts = {
            "images": str(len(result.keypoints)),
            "skipped": o.skipped_line(len(result.skipped)),
            "on all of them": ", ".join(everywhere) or "none",
            "time": f"{result.seconds:.1f} s",
            "written": o.written(out, "match.png"),
        }
        print_summary("match", facts)
