"""`lmpnet export`."""

from pathlib import Path
from typing import Annotated

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary
from lmpnet_cli.config import ExportConfig as Config


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="The file, NAME.onnx.", rich_help_panel=o.OUTPUT)],
    checkpoint: o.Checkpoint = Config.checkpoint,
    k: o.K = Config.k,
    thr: Annotated[
        float,
        typer.Option(
            "--thr", help="Erasing distance in cells of a 14 x 14 grid over the image.", rich_help_panel=o.METHOD
        ),
    ] = Config.thr,
    method: o.MethodOption = o.Method(Config.method),
    replica: o.Replica = Config.replica,
    filters: o.Filters = Config.filters,
    margin: o.Margin = Config.margin,
    size: o.Size = Config.size,
    overwrite: o.Overwrite = Config.overwrite,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Write the whole path from picture to keypoints as one ONNX graph.

    It takes RGB bytes (B, 3, S, S) and gives positions in map cells, scores and class probabilities. With it, discover
    runs by onnxruntime, which is faster on a CPU.

    \b
    lmpnet export --out model.onnx
    lmpnet discover photos/ -c model.onnx
    """
    given = o.plain({key: value for key, value in locals().items() if key not in ("quiet", "json")})
    Config(**given)
    from lmpnet_cli.export.onnx import export_onnx as run

    with ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    header = result.header
    if json:
        print_json({"out": out, "bytes": result.bytes, "order": header.method, "names": header.names})
    elif not quiet:
        facts = {
            "input": f"pixels, (B, 3, {header.input_size}, {header.input_size}) RGB bytes",
            "keypoints": f"{header.method} ({', '.join(header.names)})",
            "size": f"{result.bytes / 1e6:.0f} MB",
            "time": f"{result.seconds:.1f} s",
            "written": str(out),
        }
        print_summary("export", facts)
