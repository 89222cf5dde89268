"""`lmpnet info` and `lmpnet doctor`."""

import json

import pytest
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.inference.inspect import info
from lmpnet_cli.io import doctor as diagnosis
from lmpnet_cli.io.bundled import bundled_checkpoint
from lmpnet_cli.io.checkpoints import load_checkpoint


def test_info_tells_what_the_checkpoint_holds(named):
    record = info(named)
    model = load_checkpoint(named)
    stored = model.state_dict()
    for part in ("network", "replica", "part_head"):
        assert record["parameters"][part] == sum(v.numel() for k, v in stored.items() if k.startswith(f"{part}."))
    assert record["parts"]["names"] == ["head", "wing", "tail"] and record["kind"] == "checkpoint"
    shown = CliRunner().invoke(app, ["info", str(named)])
    assert shown.exit_code == 0
    for text in ("test_resnet to layer3", "3: head, wing, tail", "64 x 64 pixels", record["sha256"]):
        assert text in shown.stderr
    assert json.loads(CliRunner().invoke(app, ["info", str(named), "--json"]).stdout)["sha256"] == record["sha256"]


def test_a_checkpoint_names_its_data_and_not_where_they_lay(checkpoint, birds):
    training = info(checkpoint)["training"]
    assert training["data"] == [birds.name] and "out" not in training
    assert str(birds.parent) not in json.dumps({**info(checkpoint), "file": ""})


def test_the_bundled_model_names_no_folder():
    record = info()
    assert record["file"] == str(bundled_checkpoint())
    assert all("/" not in name for name in record["training"]["data"]) and "/" not in str(record["training"]["init"])


def test_info_of_other_files(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no")
    for name in ("x.safetensors", "none.safetensors", "none.onnx"):
        with pytest.raises(CheckpointError):
            info(tmp_path / name)
    (tmp_path / "x.onnx").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="is not a readable ONNX file"):
        info(tmp_path / "x.onnx")


def test_doctor_finds_nothing_broken_here_and_says_what_an_extra_is_for():
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0, result.stderr
    findings = json.loads(result.stdout)
    assert findings["torch"]["state"] == "ok" and findings["bundled model"]["state"] == "ok"
    assert {"extra onnx", "extra ray", "extra tables", "device", "current folder"} <= set(findings)
    assert CliRunner().invoke(app, ["doctor"]).stderr.strip().endswith("Nothing is broken.")


def test_doctor_names_what_is_missing_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr(diagnosis, "_installed", lambda name: name != "onnxruntime")
    findings = {each.name: each for each in diagnosis.doctor()}
    assert findings["extra onnx"].state == "missing"
    assert (
        "onnxruntime missing" in findings["extra onnx"].says
        and "pip install 'lmpnet-cli[onnx]'" in findings["extra onnx"].says
    )
    monkeypatch.setattr(diagnosis, "versions", lambda: {"torch": "not installed"})
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1 and "broken" in result.stderr
