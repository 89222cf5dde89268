"""`lmpnet merge RESULTS`."""

from pathlib import Path
from typing import Annotated

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary
from lmpnet_cli.config import MergeConfig as Config
from lmpnet_cli.config import default_out


def merge(
    results: Annotated[
        list[Path], typer.Argument(help="Folders of `discover`, searched in depth, and single keypoints.json files.")
    ],
    out: o.Out = default_out("merge"),
    overwrite: o.Overwrite = Config.overwrite,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Make one keypoints.json of the shards of a run, the same as a run in one go.

    \b
    lmpnet discover photos/ --shard 1/2 --out shards/1
    lmpnet discover photos/ --shard 2/2 --out shards/2
    lmpnet merge shards/ --out all
    """
    given = o.plain({key: value for key, value in locals().items() if key not in ("quiet", "json")})
    Config(**given)
    from lmpnet_cli.discovery.merge import merge as run

    with ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    if json:
        facts = {"images": len(result.keypoints), "skipped": len(result.skipped), "shards": result.shards, "out": out}
        print_json(facts)
    elif not quiet:
        facts = {
            "shards": f"{result.shards}" + (f", {len(result.twice)} of them twice" if result.twice else ""),
            "images": str(len(result.keypoints)),
            "skipped": o.skipped_line(len(result.skipped)),
            "written": o.written(out, "keypoints.json"),
        }
        print_summary("merge", facts)
