"""Draw charts of results as arrays. This is the only module that uses matplotlib; it is imported when a chart is drawn.

`Axes` and `Figure` of matplotlib are typed as Any, since their own signatures are incomplete.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lmpnet_cli.data.images import Rgb

# The palette of Okabe and Ito. Results are blue, their stricter variant is orange, baselines are grey.
RESULT_COLOR, STRICT_COLOR, BASELINE_COLOR = "#0072B2", "#E69F00", "#999999"
TRAINING_COLOR, VALIDATION_COLOR = "#0072B2", "#D55E00"
MAX_CLASS_PANELS = 23  # beside "all classes"; the JSON file has all of them


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _pixels(figure: Any) -> Rgb:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _plain(text: str) -> str:
    """Escape the dollar sign, so that matplotlib does not read a name as a formula."""
    return text.replace("$", r"\$")


def draw_curves(history: Sequence[Mapping[str, Any]]) -> Rgb:
    """Draw the loss and the accuracy of network and replica over the epochs.

    Args:
        history: the rows of `history.csv`.
    """
    figure = _figure(9, 3.6)
    loss_axes, accuracy_axes = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)

    _draw_curve_panel(loss_axes, history, "loss")
    _draw_curve_panel(accuracy_axes, history, "accuracy")
    loss_axes.legend(fontsize=8)
    return _pixels(figure)


def _draw_curve_panel(axes: Any, history: Sequence[Mapping[str, Any]], quantity: str) -> None:
    for phase, style in (("network", "-"), ("replica", "--")):
        rows = [row for row in history if row["phase"] == phase]
        epochs = [row["epoch"] for row in rows]

        for column, subset, color in (
            (f"train_{quantity}", "training", TRAINING_COLOR),
            (f"val_{quantity}", "validation", VALIDATION_COLOR),
        ):
            values = [row[column] for row in rows]
            if any(value is not None for value in values):
                axes.plot(epochs, values, style, color=color, marker=".", label=f"{phase}, {subset}")

    axes.set(title=quantity, xlabel="epoch")
    axes.grid(alpha=0.3)


def draw_metrics(metrics: Mapping[str, Any]) -> Rgb:
    """Draw `metrics.json`: greedy PCK beside the baselines, and how often each landmark is reached.

    A third panel shows how well the scores of the model's parts predict annotated visibility, where parts were scored
    and some are hidden.
    """
    results = {result_label(row["thr"]): row for row in metrics["results"]}
    baselines = {name.replace("_", " "): row for name, row in metrics["baselines"].items()}
    recall = metrics["results"][0]["landmark_recall"]
    visibility = metrics.get("parts", {}).get("visibility")
    if visibility and visibility["visible"] == 100:  # nothing to tell apart
        visibility = None

    panels = 3 if visibility else 2
    figure = _figure(5.5 * panels, max(4.2, 1.6 + 0.24 * len(recall)))
    _draw_pck(figure.add_subplot(1, panels, 1), results, baselines, metrics["alpha"])
    _draw_recall(figure.add_subplot(1, panels, 2), recall, next(iter(results)), baselines)
    if visibility:
        _draw_visibility(figure.add_subplot(1, panels, 3), visibility)

    title = f"{metrics['dataset']}: {metrics['images']} images, at most {metrics['k']} keypoints each"
    figure.suptitle(_plain(title), fontsize=11)
    return _pixels(figure)


def draw_landmarks(document: Mapping[str, Any]) -> Rgb:
    """Draw `fit.json`: for each landmark the cross-validated PCK beside that of the mean position, and the error."""
    checked = document["cross_validation"]
    own, shape = checked["landmarks"]["by_landmark"], checked["mean_shape"]["by_landmark"]
    labels = [_plain(f"{name} ({own[name]['images']})") for name in own]
    positions = np.arange(len(labels))

    figure = _figure(9, max(3.0, 1.4 + 0.3 * len(labels)))
    pck_axes, error_axes = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for axes, key, unit in (
        (pck_axes, "pck", f"within {checked['landmarks']['alpha']:.0%} of the box, percent"),
        (error_axes, "error", "mean distance, percent of the box"),
    ):
        for shift, rows, color, label in (
            (-0.2, own, RESULT_COLOR, "landmarks"),
            (0.2, shape, BASELINE_COLOR, "mean position"),
        ):
            values = [row[key] or 0 for row in rows.values()]
            axes.barh(positions + shift, values, 0.4, color=color, label=label)
        axes.set(xlabel=unit, yticks=positions, yticklabels=labels if key == "pck" else [])
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
    pck_axes.set_xlim(0, 100)
    error_axes.legend(fontsize=8)

    title = f"Landmarks of {document['images']} images, cross-validated in {checked['folds']} folds"
    figure.suptitle(f"{title} (in brackets: images that show one)", fontsize=10)
    return _pixels(figure)


def result_label(threshold: float | None) -> str:
    """Return the name of one entry of `results` in tables and charts: "thr 3", or "keypoints" without a threshold."""
    return "keypoints" if threshold is None else f"thr {threshold:g}"


def _draw_pck(axes: Any, results: Mapping[str, Any], baselines: Mapping[str, Any], alpha: float) -> None:
    rows = {**results, **baselines}
    positions = np.arange(len(rows))

    for shift, key, color, label in (
        (-0.2, "greedy_pck", RESULT_COLOR, "any match"),
        (0.2, "greedy_pck_one_to_one", STRICT_COLOR, "one-to-one"),
    ):
        means = np.array([row[key]["mean"] for row in rows.values()])
        intervals = np.array([row[key]["ci95"] for row in rows.values()]).T
        errors = np.abs(intervals - means)
        axes.bar(positions + shift, means, 0.4, color=color, label=label, yerr=errors, error_kw={"lw": 1, "capsize": 2})

    axes.axvline(len(results) - 0.5, color=BASELINE_COLOR, lw=1, ls=":")
    axes.set(title="Greedy PCK with 95 % interval", ylabel="% of keypoints", ylim=(0, 105))
    axes.set_xticks(positions, list(rows), rotation=30, ha="right")
    axes.set_xlabel(f"closer than {alpha:g} x shorter image side to a landmark\n(baselines are right of the line)")
    axes.legend(fontsize=8)
    axes.grid(axis="y", alpha=0.3)


def _draw_recall(
    axes: Any, recall: Mapping[str, float | None], label: str, baselines: Mapping[str, Mapping[str, Any]]
) -> None:
    known = {landmark: value for landmark, value in recall.items() if value is not None}
    landmarks = sorted(known, key=lambda landmark: known[landmark])
    positions = np.arange(len(landmarks))

    axes.barh(positions, [known[landmark] for landmark in landmarks], color=RESULT_COLOR, label=label)
    for name, marker in (("image centre", "|"), ("mean shape", "x")):
        values = [baselines[name]["landmark_recall"][landmark] for landmark in landmarks]
        axes.plot(values, positions, marker, color="black", ms=6, label=name)

    axes.set(title="Landmarks reached by a keypoint", xlabel="% of images that show the landmark", xlim=(0, 100))
    axes.set_yticks(positions, [_plain(landmark) for landmark in landmarks])
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(axis="x", alpha=0.3)


def _draw_visibility(axes: Any, visibility: Mapping[str, Any]) -> None:
    recall, precision, _thresholds = zip(*visibility["curve"], strict=True)
    score_label = f"part scores, average precision {visibility['average_precision']:g} %"

    axes.plot(recall, precision, color=RESULT_COLOR, label=score_label)
    axes.axhline(visibility["visible"], color=BASELINE_COLOR, ls=":", label="every part predicted visible")
    if visibility["precision"] is not None:
        axes.plot(visibility["recall"], visibility["precision"], "o", color=STRICT_COLOR, label="the model's threshold")

    lowest = min(*precision, visibility["visible"])
    axes.set(title="Visibility predicted by the part scores", xlabel="recall, %", ylabel="precision, %")
    axes.set(xlim=(0, 101), ylim=(max(0, lowest - 5), 101))
    axes.legend(fontsize=8, loc="lower left")
    axes.grid(alpha=0.3)


def draw_saliency_histogram(document: Mapping[str, Any]) -> Rgb:
    """Draw `salient.json` as bar charts: the share of images in which each landmark is detected, overall and by class.

    Only the first `MAX_CLASS_PANELS` classes are drawn.
    """
    classes = list(document["classes"].items())[:MAX_CLASS_PANELS]
    entries = {"all classes": document["all"], **dict(classes)}
    landmarks = document["landmarks"]

    columns = min(3, len(entries))
    rows = -(-len(entries) // columns)
    figure = _figure(4.2 * columns, rows * max(2.4, 0.8 + 0.19 * len(landmarks)))
    for panel, (name, entry) in enumerate(entries.items(), start=1):
        _draw_detection_rates(figure.add_subplot(rows, columns, panel), name, entry, landmarks)

    method = f"{document['dataset']}, {document['method']}, at most {document['k']} keypoints per image"
    measure = "% of the images showing a landmark in which it is detected\norange: the most frequently detected"
    figure.suptitle(_plain(f"{method}: {measure}"))
    return _pixels(figure)


def _draw_detection_rates(axes: Any, name: str, entry: Mapping[str, Any], landmarks: Sequence[str]) -> None:
    positions = np.arange(len(landmarks))[::-1]  # the first landmark is on top
    rates = [100 * (entry["rate"][landmark] or 0) for landmark in landmarks]
    colors = [STRICT_COLOR if landmark == entry["most_frequent"] else RESULT_COLOR for landmark in landmarks]

    axes.barh(positions, rates, color=colors)
    axes.set(xlim=(0, 100), title=_plain(f"{name} ({entry['images']})"))
    axes.set_yticks(positions, [_plain(landmark) for landmark in landmarks], fontsize=7)
    axes.grid(axis="x", alpha=0.3)
