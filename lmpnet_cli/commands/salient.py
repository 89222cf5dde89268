"""`lmpnet salient [DATA]`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary, print_table
from lmpnet_cli.config import SaliencyHistogramConfig as Config
from lmpnet_cli.config import default_out

SHOWN = 6  # classes in the table on the screen, at most; the file has all


def salient(
    data: Annotated[
        Path | None,
        typer.Argument(
            help="CUB folder, or COCO keypoint file beside its images (default: the bundled example pictures)."
        ),
    ] = None,
    k: o.K = Config.k,
    thr: Annotated[
        float, typer.Option("--thr", help="Erasing distance of --method lmpnet.", rich_help_panel=o.METHOD)
    ] = Config.thr,
    alpha: o.Alpha = Config.alpha,
    split: o.SplitOption = o.Split(Config.split),
    checkpoint: o.Checkpoint = Config.checkpoint,
    replica: o.Replica = Config.replica,
    filters: o.Filters = Config.filters,
    margin: o.Margin = Config.margin,
    iterations: o.Iterations = Config.iterations,
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
    out: o.Out = default_out("salient"),
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
    """Count which annotated parts a classifier relies on, for each class and over all.

    \b
    lmpnet salient data/CUB_200_2011
    lmpnet salient data/CUB_200_2011 --method lmpnet
    lmpnet salient photos/annotations.json --classifier resnet50
    """
    given = o.plain({key: value for key, value in locals().items() if key not in ("quiet", "json")})
    Config(**given)
    from lmpnet_cli.evaluation.saliency_histogram import salient as run

    with ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    if json:
        print_json(result.document)
    elif not quiet:
        _show(result.document, result.seconds, out)


def _show(document: dict[str, Any], seconds: float, out: Path) -> None:
    classes = dict(list(document["classes"].items())[:SHOWN])
    entries = {"all classes": document["all"], **classes}
    rows = [
        [
            part,
            *("-" if entry["rate"][part] is None else f"{100 * entry['rate'][part]:.0f}" for entry in entries.values()),
        ]
        for part in document["parts"]
    ]
    rows.append(["most often", *(entry["most_frequent"] or "-" for entry in entries.values())])
    title = "Parts detected, in percent of the images that show them"
    print_table(title, ["", *entries], rows)
    hidden = len(document["classes"]) - len(classes)
    facts = {
        "data": f"{document['dataset']}, {document['images']} images, {len(document['classes'])} classes",
        "not shown": f"{hidden} classes, which salient.json has" if hidden else "",
        "skipped": o.skipped_line(len(document["skipped"])),
        "time": f"{seconds:.1f} s",
        "written": o.written(out, "salient.json", "salient.png", "panels"),
    }
    print_summary("salient", {name: fact for name, fact in facts.items() if fact})
