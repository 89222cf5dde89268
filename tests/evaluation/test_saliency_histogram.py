import json

import numpy as np
import pytest

from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.errors import OutputError
from lmpnet_cli.evaluation.saliency_histogram import salient
from lmpnet_cli.inference.lmpnet import LMPNetPredictions

OPTIONS = {"device": "cpu", "workers": 0}
FASTER = {"lmpnet": {}, "saliency": {"coarse_stride": 16}}


@pytest.mark.parametrize("method", ["saliency", "lmpnet"])
def test_counts_add_up(method, birds, checkpoint, tmp_path):
    result = salient(birds, out=tmp_path / "out", checkpoint=checkpoint, method=method, **OPTIONS, **FASTER[method])
    document = json.loads((tmp_path / "out/salient.json").read_text())
    assert document == result.document
    assert (document["method"], document["images"], len(document["classes"])) == (method, 48, 4)
    for part in document["landmarks"]:
        for key in ("detected", "visible"):
            assert document["all"][key][part] == sum(entry[key][part] for entry in document["classes"].values())
        for entry in (document["all"], *document["classes"].values()):
            assert 0 <= entry["detected"][part] <= entry["visible"][part] <= entry["images"]
            if entry["visible"][part]:
                assert entry["rate"][part] == pytest.approx(entry["detected"][part] / entry["visible"][part], abs=1e-4)
    best = document["all"]["most_frequent"]
    assert document["all"]["detected"][best] == max(document["all"]["detected"].values()) > 0
    with pytest.raises(OutputError, match="--overwrite"):
        salient(birds, out=tmp_path / "out", checkpoint=checkpoint, method=method, **OPTIONS, **FASTER[method])


def test_all_points_are_counted_unless_k_is_given(birds, checkpoint):
    options = OPTIONS | {"nms_radius": 4, "coarse_weight": 0, "checkpoint": checkpoint}
    whole, five = (salient(birds, **options, **k).document for k in ({}, {"k": 5}))
    assert whole["k"] > five["k"] == 5
    for part in whole["landmarks"]:
        assert whole["all"]["detected"][part] >= five["all"]["detected"][part]
    assert sum(whole["all"]["detected"].values()) > sum(five["all"]["detected"].values())


def test_detections_on_tails_alone(birds, checkpoint, monkeypatch):
    """Told the tails of the second class and nothing elsewhere, the histogram has tails of the second class."""
    annotations = read_annotations(birds, "test")
    tail = annotations.landmark_names.index("tail")
    classes = sorted({image.class_name for image in annotations.images})
    of = {image.name: image for image in annotations.images}
    real = LMPNetPredictions.sweep

    def tails(self):
        (found,) = real(self)
        for each in found:
            each.xy[:] = np.nan
            if of[each.file_name].class_name == classes[1]:
                each.xy[0] = of[each.file_name].landmarks[tail] + 0.5
        return [found]

    monkeypatch.setattr(LMPNetPredictions, "sweep", tails)
    document = salient(birds, checkpoint=checkpoint, method="lmpnet", alpha=0.02, **OPTIONS).document
    entry = document["classes"][classes[1]]
    assert entry["rate"]["tail"] == 1 and entry["most_frequent"] == "tail" == document["all"]["most_frequent"]
    assert sum(entry["detected"].values()) == entry["visible"]["tail"]
    assert document["classes"][classes[0]]["most_frequent"] is None
