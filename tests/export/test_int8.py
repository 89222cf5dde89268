"""`lmpnet export --int8`: smaller models that give nearly the same keypoints, or none."""

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import InputError, OptionError
from lmpnet_cli.export import int8
from lmpnet_cli.export.int8 import agreement, before_the_last_convolutions
from lmpnet_cli.export.onnx import export_onnx
from lmpnet_cli.keypoints import Keypoints

OPTIONS = {"workers": 0, "device": "cpu", "overlays": False}


@pytest.fixture(scope="module")
def small(named, birds, tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "small.onnx"
    asked = ["--out", str(out), "-c", str(named), "--method", "parts", "--int8", str(birds / "images")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(int8.ENOUGH, "parts", 0.5)  # the tests' network is tiny and its input has 64 pixels
        result = CliRunner().invoke(app, ["export", *asked])
    assert result.exit_code == 0, result.stderr
    assert "8 bits" in result.stderr
    return out


def test_the_keypoints_are_nearly_those_of_the_float_model(small, named, birds):
    expected = discover(birds / "images", checkpoint=named, method="parts", **OPTIONS).keypoints
    found = discover(birds / "images", checkpoint=small, **OPTIONS).keypoints
    assert agreement(expected, found, ranked=False) > 0.7
    names = [each.file_name for each in found]
    assert names == [each.file_name for each in expected]


def test_convolutions_compute_with_8_bits_up_to_the_last_one(small, named, tmp_path):
    whole = export_onnx(tmp_path / "whole.onnx", checkpoint=named, method="parts")
    for ours, before in zip([small, small.with_name("small.first-look.onnx")], whole.files, strict=True):
        model = onnx.load(ours)
        weights = {each.name: each for each in model.graph.initializer}
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
        dequantized = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
        stored = {weights[dequantized[node.input[1]]].data_type for node in convolutions}
        assert stored == {onnx.TensorProto.INT8}
        assert ours.stat().st_size < 0.6 * before.stat().st_size

    proto = onnx.load(whole.path)
    chosen = set(before_the_last_convolutions(proto))
    types = {node.name: node.op_type for node in proto.graph.node}
    assert {types[name] for name in chosen} <= {"Conv", "Relu", "Add", "MaxPool"}
    assert all(name in chosen for name, kind in types.items() if kind == "Conv")
    inside = [node.name for node in proto.graph.node if "backbone" in int8._namespace(node)]
    left = [types[name] for name in inside if name not in chosen and types[name] in int8.COMPUTED]
    assert left == ["Add", "Relu"]  # behind the last convolution


def test_a_model_whose_keypoints_move_is_not_written(named, birds, tmp_path, monkeypatch):
    monkeypatch.setitem(int8.ENOUGH, "parts", 1.01)
    with pytest.raises(OptionError, match=r"With 8 bits only \d+% of the keypoints of 48 images stay within 5%"):
        export_onnx(tmp_path / "a.onnx", checkpoint=named, method="parts", int8=birds / "images")
    one = next((birds / "images").rglob("*.jpg"))
    with pytest.raises(OptionError, match="--int8 needs at least two images"):
        export_onnx(tmp_path / "a.onnx", checkpoint=named, method="parts", int8=one)
    with pytest.raises(InputError, match="nowhere"):
        export_onnx(tmp_path / "a.onnx", checkpoint=named, method="parts", int8=tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


def points(xy, name="a.jpg", window=(0.0, 0.0, 100.0, 50.0)):
    xy = np.array(xy, float)
    return Keypoints(name, 400, 300, xy, np.where(np.isnan(xy[:, 0]), np.nan, 1.0), window=window)


def test_agreement_by_hand():
    gone = [np.nan, np.nan]
    before = [points([[10, 10], [50, 20], gone]), points([[10, 10], [50, 20], [90, 40]], "b.jpg")]
    after = [points([[50, 20], [12, 13], [0, 0]]), points([[10, 15.1], gone, [90, 44.9]], "c.jpg")]
    assert agreement(before, after, ranked=True) == 2 / 5  # 5 % of 100 pixels; b.jpg is missing
    assert agreement(before, after, ranked=False) == 0
    after[1] = points([[10, 15.1], gone, [90, 44.9]], "b.jpg")
    assert agreement(before, after, ranked=False) == 1 / 5
