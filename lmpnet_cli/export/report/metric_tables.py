"""Arrange the scores of `metrics.json` as tables of text, the same on the screen and in a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmpnet_cli.drawing.charts import result_label

Rows = Mapping[str, Mapping[str, Any]]  # label of a column -> one entry of `results` or `baselines`


@dataclass(frozen=True)
class TextTable:
    """A table whose first column names the rows."""

    title: str
    head: list[str]
    rows: list[list[str]]


def metric_tables(metrics: Mapping[str, Any]) -> list[TextTable]:
    """Return the tables of `metrics.json`: greedy PCK and landmark recall with the baselines, and the parts' scores."""
    results = {result_label(row): row for row in metrics["results"]}
    baselines = {name.replace("_", " "): row for name, row in metrics["baselines"].items()}
    columns = results | baselines

    tables = [_greedy_pck(metrics, columns), _landmark_recall(columns, list(metrics["results"][0]["landmark_recall"]))]
    if "parts" in metrics:
        tables.append(_parts(metrics["parts"]))
    return tables


def _greedy_pck(metrics: Mapping[str, Any], columns: Rows) -> TextTable:
    rows = columns.values()
    lines: dict[str, list[str]] = {}
    for index in range(metrics["k"]):
        lines[f"KP {index + 1}"] = [f"{row['greedy_pck']['kp'][index]:.1f}" for row in rows]

    lines["greedy PCK"] = [f"{row['greedy_pck']['mean']:.1f}" for row in rows]
    lines["  95 % interval"] = ["{:.1f}-{:.1f}".format(*row["greedy_pck"]["ci95"]) for row in rows]
    lines["  found keypoints only"] = [or_dash(row["greedy_pck"]["found_only_mean"]) for row in rows]

    for name, key in (
        ("one-to-one", "greedy_pck_one_to_one"),
        ("by box", "greedy_pck_bbox"),
        ("by box, one-to-one", "greedy_pck_bbox_one_to_one"),
    ):
        lines[name] = [or_dash(row[key] and row[key]["mean"]) for row in rows]
    for name, key in (("coverage", "coverage"), ("duplicates", "duplicate_rate"), ("found per image", "found")):
        lines[name] = [or_dash(row[key]) for row in rows]

    title = f"Greedy PCK in percent, alpha {metrics['alpha']:g} of the shorter image side"
    return TextTable(title, ["", *columns], [[name, *values] for name, values in lines.items()])


def _landmark_recall(columns: Rows, landmarks: list[str]) -> TextTable:
    rows = [
        [landmark, *(or_dash(row["landmark_recall"][landmark]) for row in columns.values())] for landmark in landmarks
    ]
    title = "Landmarks reached by a keypoint, in percent of the images that show them"
    return TextTable(title, ["", *columns], rows)


def _parts(parts: Mapping[str, Any]) -> TextTable:
    regression, visibility = parts["landmark_regression"], parts["visibility"]
    scores: dict[str, float | None] = {"landmark regression, % of box (protocol A)": regression["error"]}
    for name, error in regression["baselines"].items():
        scores[f"  {name.replace('_', ' ')}"] = error

    scores |= {
        "Voronoi NMI": parts["voronoi"]["nmi"],
        "Voronoi ARI": parts["voronoi"]["ari"],
        "map-based NMI": parts["map_based"]["nmi"],
        "map-based ARI": parts["map_based"]["ari"],
        "consistency (EvalProtoPNet)": parts["consistency"]["score"],
        "greedy PCK": parts["greedy_pck"]["mean"],
        "greedy PCK, one-to-one": parts["greedy_pck_one_to_one"]["mean"],
        "found per image": parts["found"],
    }
    if visibility:
        scores["visibility, average precision"] = visibility["average_precision"]
        scores["  of a random score"] = visibility["visible"]
    if "flip" in parts:
        scores["flip error, % of box side"] = parts["flip"]["error"]
        scores["stability (EvalProtoPNet)"] = parts["stability"]["score"]

    rows = [[name, or_dash(score)] for name, score in scores.items()]
    return TextTable(f"Parts: {', '.join(parts['names'])}", ["", "score"], rows)


def or_dash(value: float | None) -> str:
    """Return a number with four digits, or a dash for None."""
    return "-" if value is None else f"{value:.4g}"
