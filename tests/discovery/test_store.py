"""A run of discover that was interrupted is resumed, and ends with the files of one that was not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import copy_some

from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.provenance import Manifest, RunImages
from lmpnet_cli.discovery.store import MANIFEST, Chunk, ChunkQueue, ChunkStore, chunk_name, local_store
from lmpnet_cli.drawing.image_writer import ImageWriter
from lmpnet_cli.errors import InputError, OptionError, OutputError
from lmpnet_cli.inference.lmpnet import LMPNetPredictions
from lmpnet_cli.inference.saliency import SaliencyPredictions
from lmpnet_cli.io.storage import open_folder
from lmpnet_cli.keypoints import Keypoints

OPTIONS = {"workers": 0, "device": "cpu", "method": "lmpnet", "precision": "32", "batch_size": 3}


@pytest.fixture(scope="module")
def folder(birds, tmp_path_factory):
    """Ten birds in two folders; the first image and the last five cannot be read."""
    folder = copy_some(birds, tmp_path_factory.mktemp("photos"), 26)
    images = sorted(folder.rglob("*/*.jpg"))
    for path in images[10:]:
        path.unlink()
    (folder / "0.jpg").touch()
    for name in "wxyz":
        (folder / f"{name}.jpg").touch()
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """Return all files without the times at which they were made."""
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    document = json.loads(found["keypoints.json"])
    del document["info"]["date_created"], found["run.json"]
    return found | {"keypoints.json": json.dumps(document).encode()}


@pytest.fixture(scope="module")
def undisturbed(folder, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    return contents(out)


def stop_after(batches: int, patch: pytest.MonkeyPatch, error: BaseException) -> None:
    whole = LMPNetPredictions.keypoints
    count = 0

    def find(predictions):
        nonlocal count
        count += 1
        if count > batches:
            raise error
        return whole(predictions)

    patch.setattr(LMPNetPredictions, "keypoints", find)


def interrupt(folder: Path, checkpoint: Path, out: Path, batches: int, error: BaseException, **options) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(type(error)):
        # the drawings of a batch are finished before the next one, on machines with many processors as well
        patch.setattr("lmpnet_cli.discovery.discover.takes_turns", lambda _: True)
        stop_after(batches, patch, error)
        discover(folder, out=out, checkpoint=checkpoint, **(OPTIONS | options))


def test_a_resumed_run_of_saliency_has_as_many_keypoints(folder, checkpoint, tmp_path):
    options = OPTIONS | {"method": "saliency", "nms_radius": 4, "coarse_weight": 0, "checkpoint": checkpoint}
    discover(folder, out=tmp_path / "whole", **options)
    whole = SaliencyPredictions.keypoints
    calls = []

    def stop_in_the_second_batch(predictions):
        calls.append(predictions)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return whole(predictions)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lmpnet_cli.discovery.discover.takes_turns", lambda _: True)
        patch.setattr(SaliencyPredictions, "keypoints", stop_in_the_second_batch)
        discover(folder, out=tmp_path / "out", **options)
    assert local_store(tmp_path / "out").numbers() == [0]
    discover(folder, out=tmp_path / "out", resume=True, **options)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_an_interrupted_run_is_resumed_to_the_same_files(folder, checkpoint, undisturbed, tmp_path, batches):
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, batches, KeyboardInterrupt())
    assert local_store(out).numbers() == list(range(batches))
    with pytest.MonkeyPatch.context() as patch:
        whole, rest = LMPNetPredictions.keypoints, []
        patch.setattr(LMPNetPredictions, "keypoints", lambda each: rest.append(1) or whole(each))
        result = discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert len(rest) == 4 - batches  # nothing is computed twice
    assert contents(out) == undisturbed
    assert [path for path in out.iterdir() if path.name.startswith(".")] == []
    assert [name for name, _ in result.skipped] == ["0.jpg", "broken.jpg", "w.jpg", "x.jpg", "y.jpg", "z.jpg"]


def test_a_full_disk_loses_nothing_that_was_done(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, 2, OutputError("no room"))
    interrupt(folder, checkpoint, out, 1, OutputError("no room"), resume=True)
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed


def test_what_a_killed_run_leaves_half_written_does_no_harm(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, 2, KeyboardInterrupt())
    for name in (".overlays-new/.lmpnet-1-2.jpg", ".lmpnet-1-2.json", ".chunks/.lmpnet-1-2.jsonl"):
        (out / name).write_text("half")
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("step", ["commit", "_contact_sheet"])
def test_a_run_that_is_stopped_while_its_files_are_replaced_is_resumed(
    folder, checkpoint, undisturbed, tmp_path, step, alone
):
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lmpnet_cli.discovery.discover.takes_turns", lambda _: alone)
        patch.setattr(ImageWriter, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed


def test_an_unfinished_run_is_resumed_or_replaced_only_on_request(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, 2, KeyboardInterrupt())
    with pytest.raises(OutputError, match=r"unfinished run\. Add --resume .* --overwrite"):
        discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    for changed, named in (
        ({"k": 3}, "k"),
        ({"margin": 1}, "margin"),
        ({"objects": "none"}, "objects"),
        ({"batch_size": 4}, "batch_size, chunk"),
        ({"overlays": False}, "overlays"),
    ):
        with pytest.raises(InputError, match=rf"different images or options \({named}\)"):
            discover(folder, out=out, checkpoint=checkpoint, resume=True, **(OPTIONS | changed))
    with pytest.raises(InputError, match=r"different images or options \(images\)"):
        discover(folder / "0.jpg", out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    discover(folder, out=out, checkpoint=checkpoint, overwrite=True, **OPTIONS)
    assert contents(out) == undisturbed


def test_a_damaged_manifest_is_one_message(folder, checkpoint, tmp_path):
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, 1, KeyboardInterrupt())
    manifest = out / ".chunks" / MANIFEST
    whole = json.loads(manifest.read_text())
    damaged = [b"", b"[]", b"\xff", b"[" * 100_000, b"1e400"]
    damaged += [json.dumps(whole | {"chunk": 0}).encode(), json.dumps(whole | {"info": {"k": float("nan")}}).encode()]
    for content in damaged:
        manifest.write_bytes(content)
        with pytest.raises(InputError, match=r"is damaged .* --overwrite"):
            discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    for foreign in ({}, whole | {"format_version": 99}):
        manifest.write_text(json.dumps(foreign))
        with pytest.raises(InputError, match="another version of lmpnet"):
            discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)


@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_chunk_is_computed_again(folder, checkpoint, undisturbed, tmp_path, number):
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, 3, KeyboardInterrupt())
    path = out / ".chunks" / chunk_name(number)
    path.write_bytes(path.read_bytes()[:-20])
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed


def test_a_chunk_keeps_every_digit(tmp_path):
    random = np.random.default_rng(0)
    xy, scores = random.normal(100, 30, (5, 2)), random.random(5)
    xy[2], scores[2] = np.nan, np.nan
    first = Keypoints("a.jpg", 64, 48, xy, scores, random.random(5), "heron", 1 / 3)
    second = Keypoints("c\udcff.jpg", 64, 48, xy / 3, scores)
    store = ChunkStore(open_folder(tmp_path))
    store.write(7, Chunk([first, second], [("b.jpg", "not an image")]))
    chunk = store.intact(7, ["a.jpg", "b.jpg", "c\udcff.jpg"])
    assert chunk.skipped == [("b.jpg", "not an image")] and store.numbers() == [7]
    for expected, found in zip((first, second), chunk.keypoints, strict=True):
        for field, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(found, field), value)


def test_a_chunk_that_is_not_one_is_not_taken(tmp_path):
    store = ChunkStore(open_folder(tmp_path))
    whole = Chunk([Keypoints("a.jpg", 9, 9, np.ones((1, 2)), np.ones(1))], [("b.jpg", "why")])
    store.write(0, whole)
    assert store.intact(0, ["a.jpg", "b.jpg"]) is not None
    assert store.intact(0, ["a.jpg"]) is None and store.intact(0, ["a.jpg", "x.jpg"]) is None
    line = json.loads(whole.to_bytes().splitlines()[0])
    too_large = ({"xy": [[1e999, 1]]}, {"xy": [[1e308, 1]]}, {"class_score": 1e999}, {"window": [0, 0, 1e308, 1]})
    for wrong in (*too_large, {"xy": [1]}, {"file_name": 5}):
        (tmp_path / chunk_name(0)).write_text(json.dumps(line | wrong))
        assert store.intact(0, ["a.jpg"]) is None
        with pytest.raises(InputError, match="is damaged"):
            store.read(0)


def test_chunks_are_finished_in_order_and_written_behind_their_drawings(tmp_path):
    def image(name: str) -> Keypoints:
        return Keypoints(name, 9, 9, np.ones((1, 2)), np.ones(1))

    names = ["a", "b", "c", "d", "e", "f", "g"]
    manifest = Manifest(RunImages([], 7, ""), 2, [], {}, {})
    store = ChunkStore(open_folder(tmp_path / "chunks"))
    store.begin(manifest)
    store.write(1, Chunk([image("c")], [("d", "why")]))
    queue = ChunkQueue(store, manifest, names, resume=True)
    assert queue.missing == [0, 2, 3] and queue.of_missing(names) == ["a", "b", "e", "f", "g"]
    assert queue.drawn_before == 1

    queue.add([image("b")], [("a", "why")])
    queue.write(1)
    assert store.numbers() == [1]
    queue.write(2)
    assert store.numbers() == [0, 1]
    queue.add([image("g")], [("e", "why"), ("f", "why")])  # a batch without a readable image comes with the next one
    assert queue.missing == []
    queue.write(3)
    assert store.numbers() == [0, 1, 2, 3] and len(store.read(2)) == 2
    assert [each.file_name for each in queue.keypoints] == ["b", "c", "g"]
    assert [name for name, _ in queue.skipped] == ["a", "d", "e", "f"]
    queue.remove()
    assert [*tmp_path.iterdir()] == []


def test_chunks_without_a_manifest_do_not_count(folder, checkpoint, undisturbed, tmp_path):
    """A run that was killed while it removed its chunks has removed the manifest first."""
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, 2, KeyboardInterrupt())
    (out / ".chunks" / MANIFEST).unlink()
    discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    assert contents(out) == undisturbed


def test_a_chunk_is_a_whole_number_of_batches(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, 3, KeyboardInterrupt(), chunk=4)
    assert local_store(out).manifest().chunk == 6 and local_store(out).numbers() == [0]
    discover(folder, out=out, checkpoint=checkpoint, resume=True, chunk=4, **OPTIONS)
    assert contents(out) == undisturbed


def test_resume_starts_a_run_where_there_is_none_and_refuses_a_complete_one(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed
    with pytest.raises(OutputError, match="is complete"):
        discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    with pytest.raises(OptionError, match="--resume"):
        discover(tmp_path / "clip.mp4", out=out, resume=True)


def test_earlier_results_stay_while_a_new_run_is_interrupted(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(folder, tmp_path / "one")
    discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    interrupt(tmp_path / "one", checkpoint, out, 2, KeyboardInterrupt(), overwrite=True, k=3)
    kept = {name: data for name, data in contents(out).items() if not name.startswith(".")}
    assert kept == undisturbed
    discover(tmp_path / "one", out=out, checkpoint=checkpoint, resume=True, k=3, **OPTIONS)
    assert json.loads((out / "keypoints.json").read_text())["info"]["k"] == 3


def test_missing_drawings_are_one_message(folder, checkpoint, tmp_path):
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, 2, KeyboardInterrupt())
    shutil.rmtree(out / ".overlays-new")
    with pytest.raises(OutputError, match=r"The drawings of the interrupted run in .* are missing"):
        discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)


@pytest.mark.parametrize(
    "changed",
    [{"patch": 8}, {"coarse_stride": 4}, {"draws": 2}, {"coarse_weight": 0.1}, {"nms_radius": 3.0}, {"keep": 0.9}],
)
def test_every_option_of_the_saliency_method_decides(changed, checkpoint, folder):
    from lmpnet_cli.config import DiscoverConfig
    from lmpnet_cli.discovery.provenance import settings
    from lmpnet_cli.inference.predictor import open_predictor

    options = {"images": folder, "checkpoint": checkpoint, "method": "saliency", "device": "cpu"}
    configs = [DiscoverConfig(**options), DiscoverConfig(**options, **changed)]
    (one, first), (other, second) = ((open_predictor(config), config) for config in configs)
    assert settings(one, first) != settings(other, second)
    before, after = Manifest.of_run(one, first, [], 1), Manifest.of_run(other, second, [], 1)
    assert before.differences(after) == list(changed)
    assert before.differences(replace(before)) == []


def test_a_manifest_has_what_decides_and_null_for_what_is_not_used(folder, checkpoint):
    from lmpnet_cli.config import DiscoverConfig
    from lmpnet_cli.inference.predictor import open_predictor

    def manifest(**changed) -> Manifest:
        config = DiscoverConfig(images=folder, checkpoint=checkpoint, method="lmpnet", device="cpu", **changed)
        return Manifest.of_run(open_predictor(config), config, [], 1)

    assert manifest(iterations=2).differences(manifest(iterations=7)) == []
    assert manifest(mask_radius=2).differences(manifest(fusion="predictions")) == ["fusion", "mask_radius"]
    alone = manifest(replica=False).options
    assert (alone["replica"], alone["mask_radius"], alone["fusion"]) == (False, None, None)


def test_a_video_removes_an_unfinished_run_of_images(folder, checkpoint, tmp_path):
    out = tmp_path / "out"
    interrupt(folder, checkpoint, out, 1, KeyboardInterrupt())
    video = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 64))
    for number in range(3):
        video.write(np.full((64, 64, 3), 60 * number, np.uint8))
    video.release()
    options = {key: value for key, value in OPTIONS.items() if key != "batch_size"}
    discover(tmp_path / "a.avi", out=out, checkpoint=checkpoint, overwrite=True, **options)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
