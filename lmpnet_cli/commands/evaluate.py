"""`lmpnet eval [DATA]`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import ConsoleProgress, print_json, print_summary, print_table
from lmpnet_cli.config import EvaluateConfig as Config
from lmpnet_cli.config import default_out


def evaluate(
    data: Annotated[
        Path | None,
        typer.Argument(
            help="CUB folder, or COCO keypoint file beside its images (default: the bundled example pictures)."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            "-p",
            help="Score the keypoints of this COCO file, of any tool, instead of running a model; --k and --thr are "
            "then the file's.",
            rich_help_panel=o.INPUT,
        ),
    ] = Config.predictions,
    k: o.K = Config.k,
    thr: Annotated[
        list[float],
        typer.Option(
            "--thr",
            help="Erasing distance in cells of a 14 x 14 grid over the image; may be given several times.",
            rich_help_panel=o.METHOD,
        ),
    ] = list(Config.thr),  # noqa: B006 (Typer copies it)
    alpha: Annotated[
        float,
        typer.Option(
            help="Tolerance as a share of the shorter image side, or longer box side.", rich_help_panel=o.METHOD
        ),
    ] = Config.alpha,
    split: o.SplitOption = o.Split(Config.split),
    parts: Annotated[
        bool,
        typer.Option(
            "--parts/--no-parts",
            help="Also score the vocabulary: is each keypoint the same part in every image? (default: where there is one)",
            rich_help_panel=o.METHOD,
        ),
    ] = Config.parts,
    stability: Annotated[
        bool,
        typer.Option(
            "--stability",
            help="Also mirror the pictures and add noise: do the vocabulary's keypoints stay? Two more passes.",
            rich_help_panel=o.METHOD,
        ),
    ] = Config.stability,
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
    out: o.Out = default_out("eval"),
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
    """Score keypoints against annotations, beside the trivial baselines.

    \b
    lmpnet eval --thr 3
    lmpnet eval data/CUB_200_2011 --thr 1 --thr 2 --thr 3
    lmpnet eval photos/annotations.json -c runs/herons/lmpnet.safetensors
    lmpnet eval data/CUB_200_2011 --method saliency --coarse-stride 16 --panels
    lmpnet eval photos/annotations.json --predictions results/discover/keypoints.json
    """
    given = o.plain({key: value for key, value in locals().items() if key not in ("quiet", "json")})
    Config(**given)
    from lmpnet_cli.evaluation.evaluate import evaluate as run

    with ConsoleProgress(quiet or json) as progress:
        result = run(progress=progress, **given)
    if json:
        print_json(result.metrics)
    elif not quiet:
        _show(result.metrics, result.seconds, out)


def _show(metrics: dict[str, Any], seconds: float, out: Path) -> None:
    from lmpnet_cli.export.report.metric_tables import metric_tables, or_dash

    for table in metric_tables(metrics):
        print_table(table.title, table.head, table.rows)
    facts = {
        "data": f"{metrics['dataset']}, {metrics['images']} images ({metrics['left_out']} without annotation left out)",
        "left out": ", ".join(f"{count} {why}" for why, count in metrics["left_out_because"].items()),
        "skipped": o.skipped_line(len(metrics["skipped"])),
        "mean shape of": metrics["mean_shape_of"],
        "accuracy": or_dash(metrics["accuracy"]),
        "of the replica": or_dash(metrics["replica_accuracy"]),
        "map entropy": metrics["map_size"]
        and f"{or_dash(metrics['entropy'])} nats on {' x '.join(map(str, metrics['map_size']))} cells",
        "time": f"{seconds:.1f} s ({metrics['images'] / seconds:.1f} images/s)",
        "written": o.written(out, "metrics.json", "metrics.png", "panels", "report.html"),
    }
    print_summary("eval", {name: fact for name, fact in facts.items() if fact})
