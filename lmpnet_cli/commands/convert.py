"""`lmpnet convert KEYPOINTS`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary
from lmpnet_cli.config import CONVERT_FORMATS
from lmpnet_cli.config import ConvertConfig as Config


def convert(
    keypoints: Annotated[Path, typer.Argument(help="keypoints.json, or the folder that holds it.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="|".join(CONVERT_FORMATS), help="The format.", autocompletion=o.formats, rich_help_panel=o.OUTPUT
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The file, or a folder (default: results/convert/FORMAT).", rich_help_panel=o.OUTPUT
        ),
    ] = Config.out,
    images: o.Pictures = None,
    image_prefix: Annotated[
        str | None,
        typer.Option(
            help="label-studio: what stands before an image's name in its address (default: its local files).",
            rich_help_panel=o.OUTPUT,
        ),
    ] = Config.image_prefix,
    follow_links: o.FollowLinks = Config.follow_links,
    overwrite: o.Overwrite = Config.overwrite,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Write keypoints in the format of another tool.

    \b
    lmpnet convert results/discover --to csv -o keypoints.csv
    lmpnet convert results/discover/keypoints.json --to cvat -o for-cvat
    lmpnet convert results/discover --to yolo-pose --images photos/
    """
    given: dict[str, Any] = {
        "to": to,
        "out": out,
        "images": images or (),
        "image_prefix": image_prefix,
        "overwrite": overwrite,
        "follow_links": follow_links,
    }
    Config(keypoints=keypoints, **given)
    from lmpnet_cli.export.convert import convert as run

    with ConsoleProgress(quiet or json) as progress:
        result = run(keypoints, progress=progress, **given)
    if json:
        print_json({"images": result.images, "names": result.names, "files": [str(file) for file in result.files]})
    elif not quiet:
        facts = {
            "images": str(result.images),
            "keypoints": ", ".join(result.names),
            "written": ", ".join(map(str, result.files)),
            "next": result.next,
        }
        print_summary("convert", facts)
