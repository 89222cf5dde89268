"""Charts show their values: longer bars for larger ones, and a colour for each kind."""

import numpy as np
import pytest

from lmpnet_cli.drawing.charts import draw_curves, draw_metrics, draw_saliency_histogram, result_label


def history(val=0.5, phases=("network", "replica")):
    row = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": val, "val_accuracy": val}
    return [{"phase": phase, "epoch": epoch, **row} for phase in phases for epoch in (1, 2, 3)]


def test_curves_are_drawn_with_and_without_validation():
    with_val, without = draw_curves(history()), draw_curves(history(val=None))
    assert with_val.dtype == np.uint8 and with_val.shape == without.shape and with_val.shape[2] == 3
    vermilion = np.array([213, 94, 0])  # the colour of validation
    assert (np.abs(with_val.astype(int) - vermilion).max(2) < 10).any()
    assert not (np.abs(without.astype(int) - vermilion).max(2) < 10).any()
    late = history()
    late[0]["val_loss"] = late[0]["val_accuracy"] = None
    assert (draw_curves(late) != with_val).any()
    assert draw_curves(history(phases=["network"])[:1]).shape == with_val.shape


def row(threshold, mean, recall):
    figures = {"mean": mean, "ci95": [mean - 2, mean + 2]}
    return {"thr": threshold, "greedy_pck": figures, "greedy_pck_one_to_one": figures, "landmark_recall": recall}


def metrics(mean, recall):
    baseline = row(None, 20.0, {"beak": 10.0, "tail": 5.0, "left eye": None})
    return {
        "dataset": "birds",
        "images": 7,
        "k": 5,
        "alpha": 0.1,
        "results": [row(3.0, mean, recall), row(1.0, 95.0, recall)],
        "baselines": {"image_centre": baseline, "random": baseline, "mean_shape": baseline},
    }


def blue(image):
    return (np.abs(image.astype(int) - (0, 114, 178)).max(2) < 10).sum()


def test_the_bars_of_metrics_are_as_long_as_their_values():
    low, high = (draw_metrics(metrics(m, {"beak": 50.0, "tail": 20.0, "left eye": None})) for m in (30.0, 90.0))
    assert low.shape == high.shape and low.dtype == np.uint8
    half = low.shape[1] // 2  # the bars of greedy PCK, and those of the landmarks
    assert blue(high[:, :half]) > 1.2 * blue(low[:, :half]) > 0
    longer = draw_metrics(metrics(30.0, {"beak": 99.0, "tail": 80.0, "left eye": None}))
    assert blue(longer[:, half:]) > 1.2 * blue(low[:, half:]) > 0


def test_a_third_panel_shows_the_scores_of_parts_against_visibility():
    given = metrics(30.0, {"beak": 50.0, "tail": 20.0, "left eye": None})
    plain = draw_metrics(given)

    def with_curve(curve, visible=60.0):
        scores = {"average_precision": 80.0, "visible": visible, "precision": 75.0, "recall": 50.0, "curve": curve}
        return draw_metrics(given | {"parts": {"visibility": scores}})

    long = with_curve([[100.0, 60.0, 0.1], [50.0, 75.0, 0.5], [0.0, 100.0, 0.9]])
    short = with_curve([[100.0, 60.0, 0.1], [98.0, 62.0, 0.5]])
    assert long.shape[1] > plain.shape[1] and long.shape == short.shape
    third = 2 * long.shape[1] // 3
    assert blue(long[:, third:]) > 1.5 * blue(short[:, third:]) > 0
    assert draw_metrics(given | {"parts": {"visibility": None}}).shape == plain.shape
    assert with_curve([[100.0, 100.0, 0.1]], visible=100.0).shape == plain.shape  # nothing is hidden


@pytest.mark.parametrize(("threshold", "name"), [(3.0, "thr 3"), (2.5, "thr 2.5"), (None, "keypoints")])
def test_results_have_a_label(threshold, name):
    assert result_label(threshold) == name


def area(image, colour):
    return int((np.abs(image.astype(int) - np.array(colour)).max(2) < 10).sum())


def test_bars_are_as_long_as_the_detection_rates_and_the_best_is_orange():
    orange, blue = (230, 159, 0), (0, 114, 178)

    def chart(rates, best):
        entry = {"images": 7, "rate": rates, "most_frequent": best}
        document = {
            "dataset": "birds",
            "method": "saliency",
            "k": 5,
            "landmarks": list(rates),
            "all": entry,
            "classes": {},
        }
        return draw_saliency_histogram(document)

    first = chart({"beak": 0.8, "tail": 0.4, "crest": None}, "beak")
    assert area(first, orange) == pytest.approx(2 * area(first, blue), rel=0.05) and area(first, blue) > 1000
    second = chart({"beak": 0.2, "tail": 0.8, "crest": None}, "tail")
    assert area(second, orange) == pytest.approx(4 * area(second, blue), rel=0.05)
    rows = [
        np.flatnonzero((np.abs(each.astype(int) - np.array(orange)).max(2) < 10).any(1)).mean()
        for each in (first, second)
    ]
    assert rows[0] < rows[1]  # the first landmark is on top
    none = chart({"beak": 0.0, "tail": None, "crest": None}, None)
    assert area(none, orange) == 0
