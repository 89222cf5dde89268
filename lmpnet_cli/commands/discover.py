"""`lmpnet discover IMAGES`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary, telling_how_to_go_on
from lmpnet_cli.config import CONVERT_FORMATS, default_out, url_of
from lmpnet_cli.config import DiscoverConfig as Config


def discover(
    images: Annotated[list[Path], typer.Argument(help="Folders, searched in depth, and single files; or one video.")],
    k: o.K = Config.k,
    thr: Annotated[
        float,
        typer.Option(
            "--thr", help="Erasing distance in cells of a 14 x 14 grid over the image.", rich_help_panel=o.METHOD
        ),
    ] = Config.thr,
    checkpoint: o.Checkpoint = Config.checkpoint,
    replica: o.Replica = Config.replica,
    filters: o.Filters = Config.filters,
    margin: o.Margin = Config.margin,
    iterations: o.Iterations = Config.iterations,
    every: Annotated[
        int, typer.Option(help="Of a video, take every so many-th frame.", rich_help_panel=o.INPUT)
    ] = Config.every,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="torch|onnx|ray",
            help="What runs the networks: torch, onnx, which is faster on a CPU, or ray, a cluster (default: onnx for "
            "a graph of `lmpnet export`, else torch).",
            rich_help_panel=o.RUN,
        ),
    ] = Config.backend,
    shard: Annotated[
        str | None,
        typer.Option(
            help="I/N: every N-th image only, from the I-th on; `lmpnet merge` joins the parts.",
            rich_help_panel=o.RUN,
        ),
    ] = Config.shard,
    chunk: Annotated[
        int | None,
        typer.Option(
            help="Images per chunk; finished chunks survive an interruption (default: one batch; 1024 with ray).",
            rich_help_panel=o.RUN,
        ),
    ] = Config.chunk,
    actors: Annotated[
        int | None,
        typer.Option(
            help="Workers with a model each (default: one for each GPU, or for every four processors).",
            rich_help_panel=o.RAY,
        ),
    ] = Config.actors,
    method: o.MethodOption = o.Method(Config.method),
    classifier: o.Classifier = Config.classifier,
    classifier_weights: o.ClassifierWeights = Config.classifier_weights,
    target_class: o.TargetClass = Config.target_class,
    patch: o.Patch = Config.patch,
    coarse_stride: o.CoarseStride = Config.coarse_stride,
    draws: o.Draws = Config.draws,
    coarse_weight: o.CoarseWeight = Config.coarse_weight,
    nms_radius: o.NmsRadius = Config.nms_radius,
    keep: o.Keep = Config.keep,
    panels: o.Panels = Config.panels,
    size: o.Size = Config.size,
    out: o.Out = default_out("discover"),
    overwrite: o.Overwrite = Config.overwrite,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out that was cut off.", rich_help_panel=o.OUTPUT)
    ] = Config.resume,
    overlays: Annotated[
        bool,
        typer.Option(
            "--overlays/--no-overlays", help="Draw the pictures with their keypoints.", rich_help_panel=o.OUTPUT
        ),
    ] = Config.overlays,
    report: o.Report = Config.report,
    export: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(CONVERT_FORMATS),
            autocompletion=o.formats,
            help="Also write this format, as `lmpnet convert` does, into exports/; may be given several times.",
            rich_help_panel=o.OUTPUT,
        ),
    ] = None,
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
    """Find keypoints on every image and write them as COCO keypoint annotations, with overlays.

    \b
    lmpnet discover photos/ --k 5
    lmpnet discover photos/ --report --export cvat
    lmpnet discover clip.mp4 --every 5
    lmpnet discover photos/ --method saliency --panels
    lmpnet discover photos/ --shard 1/4 --out shards/1
    lmpnet discover photos/ -c model.onnx
    lmpnet discover s3://bucket/photos --backend ray --out s3://bucket/keypoints
    lmpnet discover photos/ heron.jpg -c runs/herons/lmpnet.safetensors --out herons
    """
    given = o.plain({key: value for key, value in locals().items() if key not in ("quiet", "json")})
    given["export"] = export or ()
    Config(**given)  # usage errors come before the seconds that torch takes to load
    if backend == "ray":
        _on_ray(given, quiet, json)
        return
    from lmpnet_cli.discovery.discover import discover as run
    from lmpnet_cli.discovery.store import LOCAL_CHUNKS

    with telling_how_to_go_on(out / LOCAL_CHUNKS), ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    found = sum(int(each.found.sum()) for each in result.keypoints)
    count = len(result.keypoints)
    facts = {
        "images": count,
        "skipped": o.skipped_line(len(result.skipped)),
        "keypoints": f"{found} ({found / count:.2f} of {len(result.names)} an image)",
        "method": f"{result.method} ({', '.join(result.names)})",
        "device": result.device,
        "time": f"{result.seconds:.1f} s ({count / result.seconds:.1f} images/s)",
        "written": o.written(out, "keypoints.json", "overlays", "overview.jpg", "panels", "exports", "report.html"),
    }
    if json:
        print_json(
            {
                "images": count,
                "skipped": len(result.skipped),
                "keypoints": found,
                "method": result.method,
                "names": result.names,
                "seconds": round(result.seconds, 2),
                "out": out,
            }
        )
    elif not quiet:
        print_summary("discover", facts)


def _on_ray(given: dict[str, Any], quiet: bool, json: bool) -> None:
    from lmpnet_cli.discovery.ray.run import discover_on_ray as run

    with ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    out = url_of(result.out) or result.out
    if json:
        counts = {"images": result.images, "skipped": result.skipped, "keypoints": result.found}
        print_json(counts | {"method": result.method, "names": result.names, "chunks": result.chunks, "out": str(out)})
    elif not quiet:
        facts = {
            "images": str(result.images),
            "skipped": o.skipped_line(result.skipped),
            "keypoints": f"{result.found} ({result.found / result.images:.2f} of {len(result.names)} an image)",
            "chunks": f"{result.chunks}" + (f", {result.done_before} done before" if result.done_before else ""),
            "time": f"{result.seconds:.1f} s",
            "written": f"{out}/manifest.json, chunk-*.jsonl (`lmpnet merge {out}` makes one keypoints.json)",
        }
        print_summary("discover", facts)
