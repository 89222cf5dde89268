"""Charts of results, as arrays. The only user of matplotlib, which is imported when a chart is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lmpnet_cli.data.images import Rgb

# Okabe and Ito: blue for what was measured, orange for its stricter twin, grey for the trivial
SHOWN_CLASSES = 23  # in a chart, beside "all classes"; files have all
MEASURED, STRICT, TRIVIAL = "#0072B2", "#E69F00", "#999999"


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _pixels(figure: Any) -> Rgb:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_curves(history: Sequence[dict[str, Any]]) -> Rgb:
    """Loss and accuracy of network and replica over the epochs."""
    figure = _figure(9, 3.6)
    for panel, (title, kind) in enumerate((("loss", "loss"), ("accuracy", "accuracy")), start=1):
        axes = figure.add_subplot(1, 2, panel)
        for phase, style in (("network", "-"), ("replica", "--")):
            rows = [row for row in history if row["phase"] == phase]
            for part, color in (("train", "#0072B2"), ("val", "#D55E00")):
                values = [row[f"{part}_{kind}"] for row in rows]
                if any(value is not None for value in values):
                    label = f"{phase}, {'training' if part == 'train' else 'validation'}"
                    axes.plot([row["epoch"] for row in rows], values, style, color=color, marker=".", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        if panel == 1:
            axes.legend(fontsize=8)
    return _pixels(figure)


def draw_metrics(metrics: Mapping[str, Any]) -> Rgb:
    """`metrics.json` as a picture: greedy PCK beside the trivial predictors, and how often each part is reached.

    Where a vocabulary was scored, a third panel shows what its scores say of annotated visibility.
    """
    rows = {row_name(row): row for row in metrics["results"]}
    trivial = {name.replace("_", " "): row for name, row in metrics["baselines"].items()}
    recall = metrics["results"][0]["part_recall"]
    visibility = metrics.get("identity", {}).get("visibility")
    panels = 3 if visibility else 2
    figure = _figure(5.5 * panels, max(4.2, 1.6 + 0.24 * len(recall)))
    _draw_pck(figure.add_subplot(1, panels, 1), rows | trivial, len(rows), metrics)
    _draw_recall(figure.add_subplot(1, panels, 2), recall, next(iter(rows)), trivial)
    if visibility:
        _draw_visibility(figure.add_subplot(1, panels, 3), visibility)
    title = f"{metrics['dataset']}: {metrics['images']} pictures, {metrics['k']} keypoints each"
    figure.suptitle(_plain(title), fontsize=11)
    return _pixels(figure)


def row_name(row: Mapping[str, Any]) -> str:
    """What a row of results is called in tables and charts."""
    return "keypoints" if row["thr"] is None else f"thr {row['thr']:g}"


def _plain(text: str) -> str:
    """Names of files and parts are no formulas."""
    return text.replace("$", r"\$")


def _draw_pck(axes: Any, rows: Mapping[str, Any], measured: int, metrics: Mapping[str, Any]) -> None:
    places = np.arange(len(rows))
    for shift, key, color, label in (
        (-0.2, "greedy_pck", MEASURED, "any match"),
        (0.2, "greedy_pck_one_to_one", STRICT, "one-to-one"),
    ):
        means = np.array([row[key]["mean"] for row in rows.values()])
        ends = np.array([row[key]["ci95"] for row in rows.values()]).T
        errors = np.abs(ends - means)
        axes.bar(places + shift, means, 0.4, color=color, label=label, yerr=errors, error_kw={"lw": 1, "capsize": 2})
    axes.axvline(measured - 0.5, color=TRIVIAL, lw=1, ls=":")
    axes.set(title="Greedy PCK and 95 % interval", ylabel="% of keypoints", ylim=(0, 105))
    axes.set_xticks(places, list(rows), rotation=30, ha="right")
    axes.set_xlabel(f"nearer than {metrics['alpha']:g} x shorter side to a true point; right of the line: no model")
    axes.legend(fontsize=8)
    axes.grid(axis="y", alpha=0.3)


def _draw_recall(axes: Any, recall: Mapping[str, Any], name: str, trivial: Mapping[str, Any]) -> None:
    known = {part: value for part, value in recall.items() if value is not None}
    order = sorted(known, key=lambda part: known[part])
    places = np.arange(len(order))
    axes.barh(places, [known[part] for part in order], color=MEASURED, label=name)
    for baseline, marker in (("image centre", "|"), ("mean shape", "x")):
        values = [trivial[baseline]["part_recall"][part] for part in order]
        axes.plot(values, places, marker, color="black", ms=6, label=baseline)
    axes.set(title="Parts reached by a keypoint", xlabel="% of pictures that show the part", xlim=(0, 100))
    axes.set_yticks(places, [_plain(part) for part in order])
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(axis="x", alpha=0.3)


def _draw_visibility(axes: Any, visibility: Mapping[str, Any]) -> None:
    recall, precision, _ = zip(*visibility["curve"], strict=True)
    axes.plot(recall, precision, color=MEASURED, label=f"scores, area {visibility['average_precision']:g} %")
    axes.axhline(visibility["visible"], color=TRIVIAL, ls=":", label="every keypoint seen")
    if visibility["precision"] is not None:
        axes.plot(visibility["recall"], visibility["precision"], "o", color=STRICT, label="the vocabulary's threshold")
    low = min(*precision, visibility["visible"])
    axes.set(title="Keypoints of the vocabulary: seen where visible?", xlabel="recall, %", ylabel="precision, %")
    axes.set(xlim=(0, 101), ylim=(max(0, low - 5), 101))
    axes.legend(fontsize=8, loc="lower left")
    axes.grid(alpha=0.3)


def draw_saliency_histogram(document: Mapping[str, Any]) -> Rgb:
    """`salient.json` as bar charts: on which share of the pictures each part is detected, over all and by class.

    Of many classes the first are drawn.
    """
    entries = {"all classes": document["all"], **dict(list(document["classes"].items())[:SHOWN_CLASSES])}
    parts = document["parts"]
    columns = min(3, len(entries))
    rows = -(-len(entries) // columns)
    figure = _figure(4.2 * columns, rows * max(2.4, 0.8 + 0.19 * len(parts)))
    places = np.arange(len(parts))[::-1]  # the first part on top
    for panel, (name, entry) in enumerate(entries.items(), start=1):
        axes = figure.add_subplot(rows, columns, panel)
        rates = [100 * (entry["rate"][part] or 0) for part in parts]
        best = entry["most_frequent"]
        axes.barh(places, rates, color=[STRICT if part == best else MEASURED for part in parts])
        axes.set(xlim=(0, 100), title=_plain(f"{name} ({entry['images']})"))
        axes.set_yticks(places, [_plain(part) for part in parts], fontsize=7)
        axes.grid(axis="x", alpha=0.3)
    method = f"{document['dataset']}, {document['method']}, {document['k']} keypoints a picture"
    figure.suptitle(
        _plain(
            f"{method}: % of the pictures showing a part on which it is detected\norange: detected on the most pictures"
        )
    )
    return _pixels(figure)
