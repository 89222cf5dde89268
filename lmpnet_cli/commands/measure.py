"""Look inside and measure: `lmpnet eval`, `lmpnet viz-filters`, `lmpnet salient`."""

from typing import Any

from lmpnet_cli.commands.console import Terminal, method_line, model_line, print_table, skipped_line, written
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config import EvaluateConfig, SaliencyHistogramConfig, VisualizeConfig, default_out

SHOWN = 6  # largest number of classes in the table on the screen; salient.json has all


@takes(EvaluateConfig, out=default_out("eval"))
def evaluate(config: EvaluateConfig, terminal: Terminal) -> None:
    """Score keypoints against annotations, beside trivial baselines.

    \b
    lmpnet eval --thr 3
    lmpnet eval data/CUB_200_2011 --thr 1 --thr 2 --thr 3
    lmpnet eval photos/annotations.json -c runs/herons/lmpnet.safetensors
    lmpnet eval data/CUB_200_2011 --method saliency --coarse-stride 16 --panels
    lmpnet eval photos/annotations.json --predictions results/discover/keypoints.json
    """
    from lmpnet_cli.evaluation.evaluate import evaluate as run
    from lmpnet_cli.export.report.metric_tables import Metrics, metric_tables, or_dash
    from lmpnet_cli.io.json_input import check

    with terminal.progress() as progress:
        result = run(**vars(config), progress=progress)

    metrics = result.metrics
    if terminal.shows_summary:
        for table in metric_tables(check(metrics, Metrics)):
            print_table(table.title, table.head, table.rows)

    map_size = metrics["map_size"]
    left_out = metrics["left_out"]
    facts = {
        "data": f"{metrics['dataset']}, {metrics['images']} images ({left_out} without annotations are not scored)",
        "not scored": ", ".join(f"{count} {why}" for why, count in metrics["left_out_because"].items()),
        "skipped": skipped_line(len(metrics["skipped"])),
        "method": method_line(config.method, (metrics.get("parts") or {}).get("names") or ["the same in every image"]),
        "checkpoint": "" if config.predictions else model_line(config),
        "predictions": config.predictions,
        "mean shape of": metrics["mean_shape_of"],
        "accuracy": or_dash(metrics["accuracy"]),
        "replica accuracy": or_dash(metrics["replica_accuracy"]),
        "map entropy": map_size and f"{or_dash(metrics['entropy'])} nats on {map_size[0]} x {map_size[1]} cells",
        "time": f"{result.seconds:.1f} s ({metrics['images'] / result.seconds:.1f} images/s)",
        "written": written(config.out, "metrics.json", "metrics.png", "panels", "report.html"),
    }
    terminal.finish("eval", facts, metrics)


@takes(VisualizeConfig, out=default_out("viz-filters"))
def viz_filters(config: VisualizeConfig, terminal: Terminal) -> None:
    """Draw the full-scale filter visualisation: strong to weak filters across, strong to weak images down.

    \b
    lmpnet viz-filters
    lmpnet viz-filters photos/ --columns 12 --replica
    lmpnet viz-filters photos/ -c average.safetensors --compare max.safetensors --compare leaky.safetensors
    """
    from lmpnet_cli.filters.visualize import visualize_filters as run

    with terminal.progress() as progress:
        result = run(**vars(config), progress=progress)

    skipped, filters = len(result.skipped), len(result.filters)
    facts = {
        "images": result.images,
        "skipped": skipped_line(skipped),
        "filters": f"{filters} shown",
        "checkpoint": model_line(config),
        "device": result.device,
        "time": f"{result.seconds:.1f} s",
        "written": written(config.out, "filters.png", "filters.json", "comparison.png", "report.html"),
    }
    document = {"images": result.images, "skipped": skipped, "filters": filters, "out": config.out}
    terminal.finish("viz-filters", facts, document)


@takes(SaliencyHistogramConfig, out=default_out("salient"))
def salient(config: SaliencyHistogramConfig, terminal: Terminal) -> None:
    """Count which annotated parts a classifier relies on, for each class and over all classes.

    \b
    lmpnet salient data/CUB_200_2011
    lmpnet salient data/CUB_200_2011 --method lmpnet
    lmpnet salient photos/annotations.json --classifier resnet50
    """
    from lmpnet_cli.evaluation.saliency_histogram import salient as run

    with terminal.progress() as progress:
        result = run(**vars(config), progress=progress)

    document = result.document
    classes = document["classes"]
    if terminal.shows_summary:
        _print_rates(document)
    facts = {
        "data": f"{document['dataset']}, {document['images']} images, {len(classes)} classes",
        "not shown": f"{len(classes) - SHOWN} classes, which salient.json lists" if len(classes) > SHOWN else "",
        "skipped": skipped_line(len(document["skipped"])),
        "method": method_line(config.method, ["the same in every image"]),
        "checkpoint": model_line(config),
        "time": f"{result.seconds:.1f} s",
        "written": written(config.out, "salient.json", "salient.png", "panels"),
    }
    terminal.finish("salient", facts, document)


def _print_rates(document: dict[str, Any]) -> None:
    shown = dict(list(document["classes"].items())[:SHOWN])
    entries = {"all classes": document["all"], **shown}

    rows = []
    for part in document["landmarks"]:
        rates = [entry["rate"][part] for entry in entries.values()]
        rows.append([part, *("-" if rate is None else f"{100 * rate:.0f}" for rate in rates)])
    rows.append(["most often", *(entry["most_frequent"] or "-" for entry in entries.values())])

    print_table("Parts detected, in percent of the images that show them", ["", *entries], rows)
