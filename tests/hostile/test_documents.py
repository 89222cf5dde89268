"""Untrusted checkpoints, annotations and results give one clear error, run no code and take no memory in advance."""

import json
import os
import pickle
import resource
import socket
import subprocess
import tracemalloc
from pathlib import Path
from shutil import copytree

import pytest
import torch
from documents import Documents
from spreadsheets import is_formula, original, rows_of

from lmpnet_cli.commands.console import printable
from lmpnet_cli.config import CONVERT_FORMATS
from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.data.listing import UnreadableImage, list_images
from lmpnet_cli.errors import CheckpointError, DatasetError, LmpnetError
from lmpnet_cli.export.convert import convert
from lmpnet_cli.export.report.report import report
from lmpnet_cli.inference.inspect import info
from lmpnet_cli.io.checkpoints import load_checkpoint, read_header


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    return Documents(tmp_path_factory.mktemp("documents"))


def test_damaged_documents_are_read_or_refused_in_one_message(documents):
    """These are the first of the tens of thousands that `make fuzz` tries."""
    refused = 0
    for number in range(400):
        try:
            documents.attempt(number)
        except LmpnetError as error:
            assert str(error)
            refused += 1
    assert 150 < refused < 390


def parts(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def written(path: Path, header: dict, rest: bytes, length: int | None = None) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + rest)
    return path


def redescribed(documents: Documents, path: Path, **changed: object) -> Path:
    """Write the checkpoint with a changed description of itself."""
    header, rest = parts(documents.checkpoint)
    own = json.loads(header["__metadata__"]["lmpnet"])
    for key, value in changed.items():
        inside, _, last = key.rpartition("__")
        target = own
        for step in inside.split("__") if inside else ():
            target = target[step]
        target[last] = value
    header["__metadata__"]["lmpnet"] = json.dumps(own)
    return written(path, header, rest)


LYING = {
    "a network without end": {"spec__backbone__name": "vit_giant_patch14_dinov2"},
    "a network of a hub": {"spec__backbone__name": "hf-hub:stranger/network"},
    "a network of a folder": {"spec__backbone__name": "local-dir:/tmp/network"},
    "no network": {"spec__backbone__name": ["resnet50"]},
    "a million classes": {"spec__classes": [str(number) for number in range(10**6)]},
    "classes that are no names": {"spec__classes": [1, 2]},
    "an input without end": {"spec__input_size": 10**9},
    "no input": {"spec__input_size": 0},
    "a division by zero": {"spec__std": [0, 0, 0]},
    "a mean of none": {"spec__mean": [float("nan")] * 3},
    "a leak": {"spec__epsilon": float("inf")},
    "a part head without end": {"parts__directions": 10**9},
    "a part head of windows": {"parts__windows": [10**9]},
    "a part head beyond counting": {"parts__directions": 10**30},
    "a part head of nothing": {"parts__names": []},
    "a second network": {"replica": True},
    "no description": {"spec": None},
}


@pytest.mark.parametrize("what", LYING)
def test_what_a_checkpoint_promises_must_be_in_it(what, documents, tmp_path):
    path = redescribed(documents, tmp_path / "a.safetensors", **LYING[what])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="does not fit its own description") as caught:
        load_checkpoint(path)
    assert len(str(caught.value)) < 800
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # kB; some promise gigabytes


def test_another_version_is_said(documents, tmp_path):
    with pytest.raises(CheckpointError, match="has format version 99; this version of lmpnet reads 1"):
        load_checkpoint(redescribed(documents, tmp_path / "a.safetensors", format_version=99))


def broken(documents: Documents, path: Path, how: str) -> Path:
    header, rest = parts(documents.checkpoint)
    first = next(key for key in header if key != "__metadata__")
    if how == "length":
        return written(path, header, rest, length=2**62)
    if how == "offsets":
        header[first]["data_offsets"] = [0, 2**40]
    elif how == "shape":
        header[first]["shape"] = [2**20, 2**20]
    elif how == "dtype":
        header[first]["dtype"] = "F7"
    elif how == "metadata":
        header["__metadata__"]["more"] = "x" * 10**8
    elif how == "missing":
        del header[first]
    elif how == "cut":
        rest = rest[:-100]
    elif how == "deep":
        header["__metadata__"]["lmpnet"] = "[" * 10**6
    return written(path, header, rest)


@pytest.mark.parametrize("how", ["length", "offsets", "shape", "dtype", "metadata", "missing", "cut", "deep"])
def test_lying_headers_are_one_error(how, documents, tmp_path):
    path = broken(documents, tmp_path / "a.safetensors", how)
    for read in (load_checkpoint, read_header, info):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        assert len(str(caught.value)) < 800


class Harm:
    def __reduce__(self):
        return os.mkdir, (self.place,)

    def __init__(self, place: str) -> None:
        self.place = place


def test_pickles_in_disguise_are_not_opened(tmp_path):
    for name, save in (("plain", lambda path: path.write_bytes(pickle.dumps(Harm(str(tmp_path / "harm"))))), ("torch", lambda path: torch.save(Harm(str(tmp_path / "harm")), path))):  # fmt: skip
        path = tmp_path / f"{name}.safetensors"
        save(path)
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            load_checkpoint(path)
    assert not (tmp_path / "harm").exists()


def test_pipes_and_folders_are_no_checkpoints(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "lmpnet.safetensors").mkdir()
    for path in (tmp_path / "pipe.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="not a regular file"):
            load_checkpoint(path)


OUTSIDE = ("../secret.jpg", "/etc/hostname", "a/../../secret.jpg", "sub/../../../secret.jpg")


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_in_annotations_cannot_leave_the_folder(name, tmp_path):
    image = {"id": 1, "file_name": name, "width": 9, "height": 9}
    points = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 1, 2]}
    document = {"images": [image], "annotations": [points], "categories": [{"id": 1, "name": "x", "keypoints": ["a"]}]}
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="is located outside"):
        read_annotations(tmp_path / "set" / "a.json")


def test_links_in_data_sets_are_not_followed_out(birds, tmp_path):
    from lmpnet_cli.data.datasets import read_classes

    copytree(birds, tmp_path / "cub")
    first = min((tmp_path / "cub" / "images").rglob("*.jpg"))
    first.rename(tmp_path / "secret.jpg")
    first.symlink_to(tmp_path / "secret.jpg")
    for follow in (False, True):
        annotated = [image.listed for image in read_annotations(tmp_path / "cub", "all", follow).images]
        samples = [sample.listed for sample in read_classes([tmp_path / "cub"], follow).samples]
        folders = [sample.listed for sample in read_classes([tmp_path / "cub" / "images"], follow).samples]
        for listed in (annotated, samples, folders):
            refused = [image.path for image in listed if image.refused]
            assert refused == ([] if follow else [first])
    with pytest.raises(UnreadableImage, match="--follow-links"):
        next(image for image in list_images([tmp_path / "cub"]) if image.refused).readable  # noqa: B018


@pytest.mark.parametrize("to", CONVERT_FORMATS)
@pytest.mark.parametrize("name", ["../../outside", "/outside", "sub/../../../outside"])
def test_no_format_writes_outside_its_folder(to, name, documents, tmp_path):
    document = json.loads((documents.folder / "found" / "keypoints.json").read_text())
    document["images"][0]["file_name"] = f"{name}.jpg"
    (tmp_path / "keypoints.json").write_text(json.dumps(document))
    (tmp_path / "images").mkdir()
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    before = set(tmp_path.rglob("*"))
    try:
        convert(tmp_path / "keypoints.json", to=to, out=tmp_path / "deep" / "out", images=[documents.folder / "cub" / "images"])  # fmt: skip
    except LmpnetError as error:
        assert "outside" in str(error)
    new = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "deep") for path in new)
    assert not Path("/outside.txt").exists() and not Path("/outside.jpg").exists()


def test_names_cannot_steer_the_terminal():
    assert printable("a\x1b[2Jb\rc\nd\u202ee\x07.jpg") == "a?[2Jb c d?e?.jpg"
    assert printable("süß 鳥.jpg") == "süß 鳥.jpg"


def test_names_are_quoted_in_tables(documents, tmp_path):
    """A name that begins like a formula or holds separators is one cell, and not a formula."""
    document = json.loads((documents.folder / "found" / "keypoints.json").read_text())
    document["images"][0]["file_name"] = '=1+1,"\n;x.jpg'
    (tmp_path / "keypoints.json").write_text(json.dumps(document))
    convert(tmp_path / "keypoints.json", to="csv", out=tmp_path / "out.csv")
    name = rows_of((tmp_path / "out.csv").read_bytes().decode())[1][0]
    assert original(name) == '=1+1,"\n;x.jpg' and not is_formula(name)


def test_a_checkpoint_brings_no_code_and_asks_for_no_network(documents, tmp_path, monkeypatch):
    def refuse(*_, **__):
        pytest.fail("it asks for more")

    for place, name in ((socket.socket, "connect"), (subprocess.Popen, "__init__"), (os, "system")):
        monkeypatch.setattr(place, name, refuse)
    load_checkpoint(documents.checkpoint)
    for name in ("hf-hub:stranger/network", "hf_hub:stranger/network", "local-dir:/tmp"):
        with pytest.raises(CheckpointError):
            load_checkpoint(redescribed(documents, tmp_path / "a.safetensors", spec__backbone__name=name))


def coco(names: int, images: int) -> dict:
    return {
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in range(images)],
        "annotations": [{"id": 1, "image_id": 0, "keypoints": [1, 1, 2] * names}],
        "categories": [{"id": 1, "name": "x", "keypoints": [str(number) for number in range(names)]}],
    }


def test_annotations_take_no_more_memory_than_they_have_text(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(coco(8000, 8000)))
    tracemalloc.start()
    assert len(read_annotations(tmp_path / "a.json").images) == 8000
    assert tracemalloc.get_traced_memory()[1] < 50e6  # an array for each image would be a gigabyte
    tracemalloc.stop()


def test_cub_folders_of_links_and_devices(birds, tmp_path):
    from lmpnet_cli.data.datasets import read_classes, training_images

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "CUB_200_2011").symlink_to(birds)
    for read in (lambda data: read_classes([data]), read_annotations, lambda data: training_images([data])):
        with pytest.raises(DatasetError, match=r"images.txt is a link that points outside the folder"):
            read(tmp_path / "data")
    assert read_annotations(tmp_path / "data", "all", follow_links=True).images
    assert read_annotations(tmp_path / "data" / "CUB_200_2011", "all").images  # named by itself it is no link out
    copytree(birds, tmp_path / "cub")
    (tmp_path / "cub" / "classes.txt").unlink()
    (tmp_path / "cub" / "classes.txt").symlink_to("/dev/zero")
    for follow, message in ((False, "points outside"), (True, "not a regular file")):
        with pytest.raises(DatasetError, match=message):
            read_annotations(tmp_path / "cub", "all", follow)


@pytest.fixture
def result(documents, tmp_path):
    copytree(documents.folder / "found", tmp_path / "result")
    return tmp_path / "result"


def test_an_untrusted_result_does_not_decide_what_is_followed(documents, result, tmp_path):
    images = tmp_path / "images"
    copytree(documents.folder / "cub" / "images", images)
    first = min(images.rglob("*.jpg"))
    first.rename(tmp_path / "secret.jpg")
    first.symlink_to(tmp_path / "secret.jpg")
    run = json.loads((result / "run.json").read_text())
    run["options"] |= {"follow_links": True, "images": [str(images)]}
    (result / "run.json").write_text(json.dumps(run))
    count = report(result).path.read_text().count('type="text/plain" id="p')
    assert (
        report(result, images=[images], overwrite=True).path.read_text().count('type="text/plain" id="p') == count - 1
    )


@pytest.mark.parametrize("data", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"no image"])
def test_drawings_of_an_untrusted_result_are_read_with_care(data, result):
    metrics = {"dataset": "x", "images": 1, "results": [], "baselines": {}, "alpha": 0.1}
    (result / "metrics.json").write_text(json.dumps(metrics))
    (result / "metrics.png").write_bytes(data)
    with pytest.raises(DatasetError):
        report(result)


@pytest.mark.parametrize("name", ["keypoints.json", "run.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, "1e400", '{"info": 1e400}', "null"])
def test_documents_of_another_shape_are_one_message(name, text, result):
    (result / name).write_text(text)
    try:
        report(result)
    except LmpnetError as error:
        assert str(error)
    else:
        assert name == "run.json"  # it is no more than told of


def test_pipes_in_place_of_documents_are_not_waited_for(result):
    for name in ("keypoints.json", "run.json"):
        (result / name).unlink()
        os.mkfifo(result / name)
    with pytest.raises(LmpnetError):
        report(result)
    with pytest.raises(LmpnetError):
        convert(result / "keypoints.json", to="csv", out=result / "a.csv")
