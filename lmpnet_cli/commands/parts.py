"""`lmpnet parts [DATA]`."""

from pathlib import Path
from typing import Annotated

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary
from lmpnet_cli.config import PartsConfig as Config
from lmpnet_cli.config import default_out


def parts(
    data: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders with pictures to learn from, of data sets the training part; no labels needed."),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option("--k", help="Keypoints (default: as many as names, or 5).", rich_help_panel=o.METHOD),
    ] = Config.k,
    names: Annotated[
        str | None,
        typer.Option(
            "--names",
            help="Names of the keypoints, with commas between; without DATA for the vocabulary that is there.",
            rich_help_panel=o.METHOD,
        ),
    ] = None,
    checkpoint: o.Checkpoint = Config.checkpoint,
    images: Annotated[
        int, typer.Option(help="At most so many pictures are learned from.", rich_help_panel=o.INPUT)
    ] = Config.images,
    patches: Annotated[
        int, typer.Option(help="Pictures of each keypoint in parts.png.", rich_help_panel=o.OUTPUT)
    ] = Config.patches,
    size: o.Size = Config.size,
    out: o.Out = default_out("parts"),
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
    """Learn which keypoint is which part, for an existing model, and name the parts.

    \b
    lmpnet parts photos/ --k 8
    lmpnet parts -c results/vocabulary/lmpnet.safetensors --names beak,crown,wing --out named
    """
    given = o.plain({key: value for key, value in locals().items() if key not in ("quiet", "json")})
    Config(**given)
    from lmpnet_cli.parts.learn_parts import learn_parts as run

    with ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    if json:
        summary = {"k": result.spec.k, "names": result.spec.names, "threshold": result.spec.threshold, "out": out}
        print_json(summary | {"skipped": len(result.skipped), "seconds": round(result.seconds, 2)})
    elif not quiet:
        new = out / "lmpnet.safetensors"
        facts = {
            "keypoints": f"{result.spec.k}: {', '.join(result.spec.names)}",
            "pictures": str(result.spec.learned_from.get("pictures", "-")),
            "skipped": o.skipped_line(len(result.skipped)),
            "seen from": f"a score of {result.spec.threshold:g}",
            "time": f"{result.seconds:.1f} s",
            "written": o.written(out, "lmpnet.safetensors", "parts.png", "parts.json"),
            "next": f"look at {out / 'parts.png'}, then lmpnet parts -c {new} --names ... --out named"
            if result.document
            else f"lmpnet discover IMAGES -c {new}",
        }
        print_summary("parts", facts)
