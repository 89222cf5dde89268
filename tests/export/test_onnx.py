"""`lmpnet export` and `discover --backend onnx`: the ONNX model gives the same keypoints as PyTorch."""

import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.config import DiscoverConfig, ExportConfig
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.errors import CheckpointError, DeviceError, OptionError, OutputError
from lmpnet_cli.export.onnx import export_onnx
from lmpnet_cli.io import onnx_file
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.io.onnx_file import trace
from lmpnet_cli.landmarks.fit import fit
from lmpnet_cli.model.backbone import BackboneSpec
from lmpnet_cli.model.lmpnet import LMPNet, LMPNetOutput, NetworkSpec
from lmpnet_cli.model.onnx_module import OnnxModule
from lmpnet_cli.model.reading import Distance, Fusion, Position, Reading

OPTIONS = {"workers": 0, "device": "cpu", "overlays": False}


@pytest.fixture(scope="module")
def landmarked(birds, named, tmp_path_factory) -> Path:
    """The same network with parts and landmarks."""
    options = {key: value for key, value in OPTIONS.items() if key != "overlays"}
    return fit(birds, checkpoint=named, images=10, out=tmp_path_factory.mktemp("landmarked") / "run", **options).out


@pytest.fixture(scope="module")
def exported(checkpoint, named, landmarked, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    for name, source in (("lmpnet", checkpoint), ("parts", named), ("landmarks", landmarked)):
        result = export_onnx(folder / f"{name}.onnx", checkpoint=source, method=name)
        assert result.header.method == name and result.bytes == result.path.stat().st_size
    return {name: folder / f"{name}.onnx" for name in ("lmpnet", "parts", "landmarks")}


@pytest.mark.parametrize("method", ["lmpnet", "parts", "landmarks"])
def test_the_onnx_model_gives_the_keypoints_of_torch(exported, checkpoint, named, landmarked, birds, method):
    source = {"lmpnet": checkpoint, "parts": named, "landmarks": landmarked}[method]
    expected = discover(birds / "images", checkpoint=source, method=method, **OPTIONS)
    found = discover(birds / "images", checkpoint=exported[method], batch_size=7, **OPTIONS)
    assert (found.method, found.names) == (expected.method, expected.names) and len(found.keypoints) == 96
    for one, other in zip(expected.keypoints, found.keypoints, strict=True):
        assert (one.file_name, one.width, one.class_name) == (other.file_name, other.width, other.class_name)
        np.testing.assert_allclose(one.xy, other.xy, atol=0.01)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        assert one.class_score == pytest.approx(other.class_score, abs=1e-4)
        if method == "lmpnet":
            np.testing.assert_allclose(one.replica_shares, other.replica_shares, atol=1e-4)
        else:
            assert one.replica_shares is other.replica_shares is None


def test_the_first_look_is_a_file_beside_the_model(exported, named, birds, tmp_path, monkeypatch):
    for name in ("lmpnet", "parts"):
        assert exported[name].with_name(f"{name}.first-look.onnx").is_file()
    whole = export_onnx(tmp_path / "whole.onnx", checkpoint=named, method="parts", objects="none")
    assert whole.files == [tmp_path / "whole.onnx"] and [path.name for path in tmp_path.iterdir()] == ["whole.onnx"]
    expected = discover(birds / "images", checkpoint=named, method="parts", objects="none", **OPTIONS)
    found = discover(birds / "images", checkpoint=tmp_path / "whole.onnx", **OPTIONS)
    for one, other in zip(expected.keypoints, found.keypoints, strict=True):
        np.testing.assert_allclose(one.xy, other.xy, atol=0.01)
        assert one.window is other.window is None

    both = export_onnx(tmp_path / "all.onnx", checkpoint=named, method="parts", objects="all", max_objects=3)
    assert both.files[1] == tmp_path / "all.first-look.onnx"
    with pytest.raises(OptionError, match="--export dlc has room for one object per image"):  # before any work
        discover(birds / "images", checkpoint=both.path, out=tmp_path / "out", export="dlc", **OPTIONS)
    assert not (tmp_path / "out").exists()
    expected = discover(birds / "images", checkpoint=named, method="parts", objects="all", max_objects=3, **OPTIONS)
    found = discover(birds / "images", checkpoint=tmp_path / "all.onnx", **OPTIONS)
    assert [each.window for each in found.keypoints] == [each.window for each in expected.keypoints]
    (tmp_path / "all.first-look.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"all\.first-look\.onnx not found"):
        discover(birds / "images", checkpoint=tmp_path / "all.onnx", **OPTIONS)
    (tmp_path / "new.first-look.onnx").touch()
    with pytest.raises(OutputError, match=r"new\.first-look\.onnx already exists"):
        export_onnx(tmp_path / "new.onnx", checkpoint=named)


def test_the_onnx_model_is_valid_for_any_batch_size(exported):
    model = onnx.load(exported["lmpnet"])
    onnx.checker.check_model(model)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    session = onnxruntime.InferenceSession(exported["lmpnet"])
    for count in (1, 5):
        outputs = session.run(None, {"pixels": np.zeros((count, 3, 64, 64), np.uint8)})
        assert [each.shape[0] for each in outputs] == [count] * 4
    assert [each.name for each in session.get_outputs()] == list(OnnxModule.OUTPUTS)
    header = json.loads(session.get_modelmeta().custom_metadata_map["lmpnet"])
    assert (header["input_size"], header["method"], header["names"][0]) == (64, "lmpnet", "kp1")


class Maps(LMPNet):
    """Stands in for the networks: its maps contain a few whole numbers, so that rounding makes no difference."""

    def __init__(self):
        super().__init__(NetworkSpec(BackboneSpec(), ("a", "b", "c")), torch.nn.Identity())

    def normalize(self, pixels):
        return (pixels % 3).float()

    def forward(self, images, reading):
        maps = torch.cat([images.roll(3 * step, 3) for step in range(4)], 1)
        return LMPNetOutput(maps, images.mean((2, 3)), maps.flip(2))


READINGS = list(product(get_args(Distance), get_args(Fusion), get_args(Position)))


@pytest.mark.parametrize(("distance", "fusion", "position"), READINGS)
def test_ties_and_empty_maps_give_the_same_result_as_torch(distance, fusion, position):
    reading = Reading(filters=9, distance=distance, fusion=fusion, position=position)
    module = OnnxModule(Maps(), "lmpnet", k=4, reading=reading).eval()
    pixels = torch.randint(0, 256, (12, 3, 14, 14), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[0], pixels[1, 1:], pixels[2, 0] = 0, 0, 2
    with torch.inference_mode():
        expected = module(pixels)
    assert expected[0][0].isnan().all()  # nothing is active
    session = onnxruntime.InferenceSession(trace(module, 14).model_proto.SerializeToString())
    for one, other in zip(expected, session.run(None, {"pixels": pixels.numpy()}), strict=True):
        np.testing.assert_allclose(one.numpy(), other, atol=1e-5)


def test_the_onnx_backend_exports_a_checkpoint_for_the_run(checkpoint, birds):
    options = OPTIONS | {
        "checkpoint": checkpoint,
        "method": "lmpnet",
        "k": 3,
        "thr": 2.0,
        "replica": False,
        "filters": 20,
        "margin": 1,
    }
    expected = discover(birds / "images", **options)
    found = discover(birds / "images", backend="onnx", **options)
    for one, other in zip(expected.keypoints, found.keypoints, strict=True):
        np.testing.assert_allclose(one.xy, other.xy, atol=0.01)


def test_results_name_the_weights_of_the_checkpoint(exported, checkpoint, birds, tmp_path):
    images = sorted((birds / "images").rglob("*.jpg"))[:3]
    documents = []
    for source in (checkpoint, exported["lmpnet"]):
        out = tmp_path / source.suffix
        discover(images, checkpoint=source, method="lmpnet", out=out, **OPTIONS)
        documents.append(json.loads((out / "keypoints.json").read_text()))
    for document in documents:
        document["info"].pop("date_created")
    assert documents[0]["info"] == documents[1]["info"]


def test_options_that_are_fixed_in_an_onnx_model_cannot_change(exported, birds):
    for given in ({"k": 7}, {"thr": 2.0}, {"size": 96}, {"margin": 1}, {"method": "parts"}):
        name = next(iter(given))
        with pytest.raises(OptionError, match=f"was exported with --{name} .* so --{name} .* cannot be used"):
            discover(birds / "images", checkpoint=exported["lmpnet"], **OPTIONS | given)
    discover(birds / "images", checkpoint=exported["lmpnet"], **OPTIONS | {"k": 5, "thr": 3})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backend": "onnx", "method": "saliency"}, "--method saliency cannot be combined with"),
        ({"backend": "onnx", "precision": "bf16"}, "--precision bf16 cannot be combined with"),
        ({"backend": "onnx", "method": "lmpnet", "iterations": 3}, "--iterations cannot be combined with"),
        ({"backend": "torch", "checkpoint": "model.onnx"}, "cannot run the ONNX model"),
        ({"backend": "jax"}, "--backend jax is unknown"),
    ],
)
def test_incompatible_options_are_refused(given, message):
    with pytest.raises(OptionError, match=message):
        DiscoverConfig(images="photos", **given)


def test_damaged_and_foreign_onnx_files_are_refused(exported, checkpoint, birds, tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.onnx"):
        discover(birds, checkpoint=tmp_path / "none.onnx", **OPTIONS)
    (tmp_path / "cut.onnx").write_bytes(exported["parts"].read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="onnxruntime cannot read"):
        discover(birds, checkpoint=tmp_path / "cut.onnx", **OPTIONS)
    foreign = onnx.load(exported["parts"])
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match="was not written by `lmpnet export`"):
        discover(birds, checkpoint=tmp_path / "foreign.onnx", **OPTIONS)
    with pytest.raises(OptionError, match="Both a model and the ONNX model"):
        discover(birds, checkpoint=exported["parts"], model=load_checkpoint(checkpoint), **OPTIONS)
    with pytest.raises(DeviceError, match="ONNX models run on the CPU"):
        discover(birds, checkpoint=exported["parts"], **OPTIONS | {"device": "cuda"})
    with pytest.raises(OptionError, match="must end in"):
        ExportConfig(out=tmp_path / "model")
    with pytest.raises(OutputError, match="already exists"):
        export_onnx(exported["parts"], checkpoint=checkpoint)


def test_the_command(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    monkeypatch.setattr(onnx_file, "trace", lambda *_: SimpleNamespace(model_proto=onnx.ModelProto()))  # the slow part
    options = ["-c", str(checkpoint), "--method", "lmpnet", "--k", "2", "--json"]
    result = CliRunner().invoke(app, ["export", "-o", str(path), *options])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["names"] == ["kp1", "kp2"] and path.exists()
    assert CliRunner().invoke(app, ["export"]).exit_code == 2
