import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lmpnet_cli.errors import CheckpointError, DeviceError
from lmpnet_cli.inference.inspect import info
from lmpnet_cli.io.checkpoints import load_checkpoint, read_header, save_checkpoint
from lmpnet_cli.io.files import file_sha256
from lmpnet_cli.io.stored_weights import quantized
from lmpnet_cli.model.backbone import BackboneSpec
from lmpnet_cli.model.lmpnet import NetworkSpec, build

SPEC = NetworkSpec(
    BackboneSpec("resnet26", "layer2", stride_in_1x1=True),
    ("grey heron", "little egret"),
    epsilon=0.05,
    input_size=96,
    mask_radius=2.0,
    reject=True,
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build(SPEC, replica=True), {"training": {"epochs": 3}, "initial_weights": "none"})
    return path


def test_a_checkpoint_alone_rebuilds_its_model(saved):
    model = load_checkpoint(saved)
    assert model.spec == SPEC
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    torch.manual_seed(1)
    original = build(SPEC, replica=True).eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        output, expected = model(images), original(images)
    torch.testing.assert_close(output.logits, expected.logits)
    torch.testing.assert_close(output.replica_logits, expected.replica_logits)
    assert model.network.backbone.network["layer2"][0].conv1.stride == (2, 2)


def test_the_record_is_kept(saved):
    header = read_header(saved)
    assert header["training"] == {"epochs": 3}
    assert header["replica"] is True
    assert header["versions"]["torch"] == version("torch")
    with safe_open(saved, "pt") as file:
        assert list(file.metadata()) == ["lmpnet"]


@pytest.mark.parametrize(("bits", "share", "steps"), [(16, 0.55, 2**11), (8, 0.3, 2 * 127)])
def test_fewer_bits_on_disk_are_float32_in_memory(saved, tmp_path, bits, share, steps):
    """A weight is off by at most half a step of the largest weight of its channel."""
    model, path = load_checkpoint(saved), tmp_path / "small.safetensors"
    save_checkpoint(path, model, {}, bits=bits)
    assert path.stat().st_size < share * saved.stat().st_size
    loaded = load_checkpoint(path)
    before, after = model.state_dict(), loaded.state_dict()
    for name, weight in after.items():
        assert weight.dtype == before[name].dtype
        if weight.ndim < 2:
            assert torch.equal(weight, before[name])
            continue
        largest = before[name].flatten(1).abs().amax(1)
        assert ((weight - before[name]).flatten(1).abs().amax(1) <= largest / steps * 1.001).all()
    assert info(path)["parameters"] == info(saved)["parameters"]

    save_checkpoint(tmp_path / "again.safetensors", loaded, {}, bits=bits)
    assert load_file(path).keys() == load_file(tmp_path / "again.safetensors").keys()
    for name, stored in load_file(path).items():
        torch.testing.assert_close(stored, load_file(tmp_path / "again.safetensors")[name], rtol=1e-6, atol=0)


def test_channels_without_weights_stay_empty():
    levels, scale = quantized(torch.tensor([[0.0, 0.0], [0.5, -1.0]]))
    assert levels.tolist() == [[0, 0], [64, -127]] and scale.tolist() == pytest.approx([1, 1 / 127])


def test_what_both_networks_share_is_stored_once(tmp_path):
    """A replica that starts from the network and keeps its first layers: only the rest is there twice."""
    model = build(SPEC, replica=True)
    model.replica.load_state_dict(model.network.state_dict())
    with torch.no_grad():
        model.replica.classifier.weight += 1
    path = tmp_path / "one.safetensors"
    save_checkpoint(path, model, {}, bits=8)
    stored = {name for name in load_file(path) if name.startswith("replica.")}
    assert stored == {"replica.classifier.weight", "replica.classifier.weight.scale"}
    replica = load_checkpoint(path).replica.state_dict()
    network = load_checkpoint(path).network.state_dict()
    assert {name for name in network if not torch.equal(network[name], replica[name])} == {"classifier.weight"}
    counted = info(path)
    assert counted["parameters"]["network"] == counted["parameters"]["replica"] and "shared" not in counted


@pytest.mark.parametrize(
    "shared", [["network.classifier.bias"], ["replica.nothing"], ["replica.classifier.bias", "x"], "replica", [1]]
)
def test_false_statements_about_what_is_shared_are_refused(saved, shared):
    rewrite(saved, shared=shared)
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", ["network.classifier.weight", "network.classifier.bias"])
def test_whole_numbers_without_a_scale_are_refused_or_read_as_they_are(saved, name):
    tensors = load_file(saved)
    tensors[name] = torch.ones_like(tensors[name], dtype=torch.int8)
    save_file(tensors, saved, metadata={"lmpnet": json.dumps(read_header(saved))})
    if name.endswith("weight"):
        with pytest.raises(CheckpointError, match=r"weight\.scale should be \[2\] and is None"):
            load_checkpoint(saved)
    else:
        assert load_checkpoint(saved).network.classifier.bias.tolist() == [1, 1]


def test_half_precision_keeps_large_batch_norm_variances(tmp_path):
    """Caffe's ResNet has variances beyond 65,504, the largest float16."""
    model = build(SPEC, replica=False)
    model.network.backbone.network["layer1"][0].bn1.running_var[0] = 2e5
    save_checkpoint(tmp_path / "half.safetensors", model, {}, bits=16)
    loaded = load_checkpoint(tmp_path / "half.safetensors")
    assert loaded.network.backbone.network["layer1"][0].bn1.running_var[0] == 2e5


def test_a_network_without_replica(tmp_path):
    save_checkpoint(tmp_path / "one.safetensors", build(SPEC, replica=False), {})
    assert load_checkpoint(tmp_path / "one.safetensors").replica is None


def rewrite(path: Path, **changes: object) -> None:
    header = read_header(path) | changes
    save_file(load_file(path), path, metadata={"lmpnet": json.dumps(header)})


def test_bad_files_give_one_clear_message(saved, tmp_path):
    missing = tmp_path / "nothing.safetensors"
    with pytest.raises(CheckpointError, match=r"not found.*lmpnet train"):
        load_checkpoint(missing)
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(saved.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(truncated)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    with pytest.raises(CheckpointError, match=r"not written by lmpnet.*--init"):
        load_checkpoint(foreign)
    pickled = tmp_path / "pickle.safetensors"
    torch.save({"weight": torch.zeros(3)}, pickled)
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        load_checkpoint(pickled)


def test_a_folder_stands_for_the_checkpoint_in_it(saved, tmp_path):
    shutil.copy(saved, tmp_path / "lmpnet.safetensors")
    assert load_checkpoint(tmp_path).spec == load_checkpoint(saved).spec
    assert info(tmp_path)["file"] == str(tmp_path / "lmpnet.safetensors")
    (tmp_path / "empty").mkdir()
    for read in (load_checkpoint, info):
        with pytest.raises(CheckpointError, match=r"empty/lmpnet\.safetensors not found"):
            read(tmp_path / "empty")


def test_a_newer_format_is_named(saved):
    rewrite(saved, format_version=2)
    with pytest.raises(CheckpointError, match=r"version 2.*Use the version that wrote it"):
        load_checkpoint(saved)


NO_CLASSES = {"backbone": {"name": "resnet10t"}}
NO_NETWORK = {"backbone": {"name": "no_such_net"}, "classes": ["a", "b"]}


@pytest.mark.parametrize("spec", [{}, None, NO_CLASSES, NO_NETWORK])
def test_a_description_that_does_not_fit(saved, spec):
    rewrite(saved, spec=spec)
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        load_checkpoint(saved)


def test_weights_of_a_diverged_training(saved, tmp_path):
    model = build(SPEC, replica=False)
    model.network.classifier.bias.data[0] = torch.nan
    save_checkpoint(tmp_path / "nan.safetensors", model, {})
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(tmp_path / "nan.safetensors")


def test_a_device_that_is_not_there(saved):
    with pytest.raises(DeviceError, match="cuda:9"):
        load_checkpoint(saved, device="cuda:9")


def test_checksum(tmp_path):
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty").startswith("e3b0c442")


def raw(header: dict[str, object], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


FALSE_TENSORS = {
    "an empty tensor that shares its offset with another": raw(
        {"a": entry([2], 0, 8), "b": entry([0], 4, 4), "c": entry([0], 8, 8)}, bytes(8)
    ),
    "a shape larger than its offsets": raw({"a": entry([1000, 1000], 0, 8)}, bytes(8)),
    "a shape whose size overflows": raw({"a": entry([2**33, 2**33], 0, 8)}, bytes(8)),
    "offsets beyond the end": raw({"a": entry([2**30], 0, 2**32)}, bytes(8)),
    "overlapping offsets": raw({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
    "offsets in the wrong order": raw({"a": entry([2], 8, 0)}, bytes(8)),
    "a gap": raw({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
    "a tensor twice": raw({"a": entry([1], 0, 4)}, bytes(4)).replace(b'{"a"', b'{"a": {}, "a"'),
}


@pytest.mark.parametrize("name", FALSE_TENSORS)
def test_tables_of_tensors_that_lie_are_refused(saved, tmp_path, name):
    path = tmp_path / "a.safetensors"
    path.write_bytes(FALSE_TENSORS[name])
    with pytest.raises(CheckpointError, match=str(path)):
        load_checkpoint(path)

    # the same in a file that says it is from lmpnet
    metadata = {"__metadata__": {"lmpnet": json.dumps(read_header(saved))}}
    length = int.from_bytes(FALSE_TENSORS[name][:8], "little")
    try:
        header = json.loads(FALSE_TENSORS[name][8 : 8 + length])
    except ValueError:
        return
    path.write_bytes(raw(metadata | header, FALSE_TENSORS[name][8 + length :]))
    with pytest.raises(CheckpointError, match=str(path)):
        load_checkpoint(path)


def test_an_empty_tensor_beside_real_ones_does_not_hide_them(saved, tmp_path):
    """A tensor of no elements may begin where another one is located: both must be what they say."""
    tensors = load_file(saved)
    save_file(
        tensors | {"empty": torch.zeros(0)},
        tmp_path / "a.safetensors",
        metadata={"lmpnet": json.dumps(read_header(saved))},
    )
    with pytest.raises(CheckpointError, match="tensor empty should be None and is"):
        load_checkpoint(tmp_path / "a.safetensors")
