"""The figures of `metrics.json` as tables of text: the same on the screen and on the page."""

from dataclasses import dataclass
from typing import Any

from lmpnet_cli.drawing.charts import result_label


@dataclass(frozen=True)
class TextTable:
    """A table whose first column names the rows."""

    title: str
    head: list[str]
    rows: list[list[str]]


def metric_tables(metrics: dict[str, Any]) -> list[TextTable]:
    """Greedy PCK beside the baselines, recall of each part, and the vocabulary's scores where there are such."""
    columns = {result_label(row): row for row in metrics["results"]}
    columns |= {name.replace("_", " "): row for name, row in metrics["baselines"].items()}
    tables = [_greedy_pck(metrics, columns), _recall(metrics, columns)]
    return [*tables, _identity(metrics["identity"])] if "identity" in metrics else tables


def _greedy_pck(metrics: dict[str, Any], columns: dict[str, Any]) -> TextTable:
    lines: dict[str, list[str]] = {
        f"KP {i + 1}": [f"{row['greedy_pck']['kp'][i]:.1f}" for row in columns.values()] for i in range(metrics["k"])
    }
    lines["greedy PCK"] = [f"{row['greedy_pck']['mean']:.1f}" for row in columns.values()]
    lines["  95 % interval"] = ["{:.1f}-{:.1f}".format(*row["greedy_pck"]["ci95"]) for row in columns.values()]
    lines["  of those found"] = [or_dash(row["greedy_pck"]["found_only_mean"]) for row in columns.values()]
    for name, key in (
        ("one-to-one", "greedy_pck_one_to_one"),
        ("by box", "greedy_pck_bbox"),
        ("by box, 1-to-1", "greedy_pck_bbox_one_to_one"),
    ):
        lines[name] = [or_dash(row[key] and row[key]["mean"]) for row in columns.values()]
    for name, key in (("coverage", "coverage"), ("duplicates", "duplicate_rate"), ("found", "found")):
        lines[name] = [or_dash(row[key]) for row in columns.values()]
    title = f"Greedy PCK in percent, alpha {metrics['alpha']:g} of the shorter image side"
    return TextTable(title, ["", *columns], [[name, *values] for name, values in lines.items()])


def _recall(metrics: dict[str, Any], columns: dict[str, Any]) -> TextTable:
    rows = [
        [part, *(or_dash(row["part_recall"][part]) for row in columns.values())]
        for part in metrics["results"][0]["part_recall"]
    ]
    return TextTable("Parts reached by a keypoint, in percent of the images that show them", ["", *columns], rows)


def _identity(identity: dict[str, Any]) -> TextTable:
    regression = identity["landmark_regression"]
    rows = {
        "landmark regression, % of box (protocol A)": regression["error"],
        **{f"  {name.replace('_', ' ')}": error for name, error in regression["baselines"].items()},
        "Voronoi NMI": identity["voronoi"]["nmi"],
        "Voronoi ARI": identity["voronoi"]["ari"],
        "map-based NMI": identity["map_based"]["nmi"],
        "map-based ARI": identity["map_based"]["ari"],
        "consistency (EvalProtoPNet)": identity["consistency"]["score"],
        "greedy PCK": identity["greedy_pck"]["mean"],
        "greedy PCK, one-to-one": identity["greedy_pck_one_to_one"]["mean"],
        "found": identity["found"],
    }
    if identity["visibility"]:
        rows["visibility, average precision"] = identity["visibility"]["average_precision"]
        rows["  of a random score"] = identity["visibility"]["visible"]
    if "flip" in identity:
        rows["flip error, % of box side"] = identity["flip"]["error"]
        rows["stability (EvalProtoPNet)"] = identity["stability"]["score"]
    title = f"Vocabulary of {identity['k']}: {', '.join(identity['names'])}"
    return TextTable(title, ["", "score"], [[name, or_dash(value)] for name, value in rows.items()])


def or_dash(value: float | None) -> str:
    """Four digits, or a dash where there is no figure."""
    return "-" if value is None else f"{value:.4g}"
