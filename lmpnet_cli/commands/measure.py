"""Look inside and measure: `lmpnet eval`, `lmpnet viz-filters`, `lmpnet salient`."""

from typing import Any

from lmpnet_cli.commands.console import Terminal, document_of, print_table
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config import EvaluateConfig, SaliencyHistogramConfig, VisualizeConfig, default_out

SHOWN = 6  # largest number of classes in the table on the screen; salient.json has all


@takes(EvaluateConfig, out=default_out("eval"))
def evaluate(config: EvaluateConfig, terminal: Terminal) -> None:
    """Score keypoints against annotations, and compare with trivial baselines.

    Scores what `discover` finds with the same options.

    \b
    lmpnet eval --thr 3
    lmpnet eval data/CUB_200_2011 --thr 1 --thr 2 --thr 3
    lmpnet eval photos/annotations.json -c runs/herons
    lmpnet eval data/CUB_200_2011 --method saliency --coarse-stride 16 --panels
    lmpnet eval photos/annotations.json --predictions results/discover/keypoints.json
    """
    from lmpnet_cli.evaluation.evaluate import evaluate as run
    from lmpnet_cli.export.report.metric_tables import Metrics, metric_tables, or_dash
    from lmpnet_cli.io.json_input import check

    result = terminal.run(run, config)

    metrics = result.metrics
    if terminal.shows_summary:
        for table in metric_tables(check(metrics, Metrics)):
            print_table(table.title, table.head, table.rows, table.note)

    map_size = metrics["map_size"]
    facts = {
        "images": metrics["images"],
        "data": metrics["dataset"],
        "annotations": ", ".join(f"{count} {why}" for why, count in metrics["left_out_because"].items()),
        "predictions": config.predictions,
        "mean shape of": metrics["mean_shape_of"],
        "accuracy": _share(metrics["accuracy"]),
        "replica accuracy": _share(metrics["replica_accuracy"]),
        "map entropy": map_size and f"{or_dash(metrics['entropy'], '.2f')} nats on {map_size[0]} x {map_size[1]} cells",
    }
    files = ("metrics.json", "metrics.png", "panels", "report.html")
    terminal.summarize("eval", config, result, facts, files, metrics)


def _share(value: float | None) -> str | None:
    """Return an accuracy; None where no image is of a class that the model knows."""
    return None if value is None else f"{value:.3f}"


@takes(VisualizeConfig, out=default_out("viz-filters"))
def viz_filters(config: VisualizeConfig, terminal: Terminal) -> None:
    """Draw a grid with one column per filter: strong filters at the left, images with a strong activation at the top.

    \b
    lmpnet viz-filters
    lmpnet viz-filters photos/ --columns 12 --replica
    lmpnet viz-filters photos/ -c average.safetensors --compare max.safetensors --compare leaky.safetensors
    """
    from lmpnet_cli.filters.visualize import visualize_filters as run

    result = terminal.run(run, config)

    filters = {"filters": len(result.filters)}
    files = ("filters.png", "filters.json", "comparison.png", "report.html")
    terminal.summarize("viz-filters", config, result, filters, files, document_of(result) | filters)


@takes(SaliencyHistogramConfig, out=default_out("salient"))
def salient(config: SaliencyHistogramConfig, terminal: Terminal) -> None:
    """Count how often a classifier relies on each annotated landmark, per class and in total.

    \b
    lmpnet salient data/CUB_200_2011
    lmpnet salient data/CUB_200_2011 --method lmpnet
    lmpnet salient photos/annotations.json --classifier resnet50
    """
    from lmpnet_cli.evaluation.saliency_histogram import salient as run

    result = terminal.run(run, config)

    document = result.document
    classes = document["classes"]
    if terminal.shows_summary:
        _print_rates(document)
    facts = {
        "images": document["images"],
        "data": f"{document['dataset']}, {len(classes)} classes",
        "not shown": f"{len(classes) - SHOWN} classes, which salient.json lists" if len(classes) > SHOWN else "",
    }
    terminal.summarize("salient", config, result, facts, ["salient.json", "salient.png", "panels"], document)


def _print_rates(document: dict[str, Any]) -> None:
    shown = dict(list(document["classes"].items())[:SHOWN])
    entries = {"all classes": document["all"], **shown}

    rows = []
    for name in document["landmarks"]:
        rates = [entry["rate"][name] for entry in entries.values()]
        rows.append([name, *("-" if rate is None else f"{100 * rate:.0f}" for rate in rates)])
    rows.append(["most often", *(entry["most_frequent"] or "-" for entry in entries.values())])

    print_table("Landmarks detected, in percent of the images that show them", ["", *entries], rows)
