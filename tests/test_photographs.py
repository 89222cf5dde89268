"""The bundled model on real photographs, where LMPNET_DATA names them."""

import pytest

from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.evaluation.evaluate import evaluate

pytestmark = pytest.mark.photographs


def test_greedy_pck_beats_the_baselines_on_whole_photographs(photographs):
    metrics = evaluate(photographs / "cub-full", thr=(1.0, 3.0), device="cpu").metrics
    centre = metrics["baselines"]["image_centre"]
    loose = metrics["results"][0]
    assert metrics["images"] == 143
    assert loose["greedy_pck"]["mean"] > centre["greedy_pck"]["mean"]
    assert loose["greedy_pck_one_to_one"]["mean"] > 2 * centre["greedy_pck_one_to_one"]["mean"]
    for row in metrics["results"]:
        assert row["greedy_pck_one_to_one"]["mean"] > metrics["baselines"]["random"]["greedy_pck_one_to_one"]["mean"]
    parts = metrics["parts"]
    regression = parts["landmark_regression"]
    assert parts["k"] == 5
    assert regression["error"] < 0.7 * regression["baselines"]["image_midpoint"]
    assert (
        parts["visibility"]["average_precision"] > parts["visibility"]["visible"] + 1
    )  # steady parts are seldom hidden
    assert parts["greedy_pck_one_to_one"]["mean"] > 1.5 * centre["greedy_pck_one_to_one"]["mean"]


def test_discover_reads_every_photograph(photographs, tmp_path):
    folder = min((photographs / "cub-full" / "images").iterdir())
    photos = sorted(folder.iterdir())[:24]
    result = discover(photos, out=tmp_path / "out", method="lmpnet", device="cpu")
    assert len(result.keypoints) == len(photos) == 24
    assert not result.skipped
    assert all(each.found[0] for each in result.keypoints)
    parts = discover(photos, method="parts", device="cpu")
    assert parts.method == "parts" and len(parts.keypoints) == len(result.keypoints)
    assert sum(each.found.sum() for each in parts.keypoints) > 3 * len(parts.keypoints)
