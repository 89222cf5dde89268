"""A run of discover that was cut off goes on, and ends as one that was not."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import copy_some

from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.store import JOURNAL
from lmpnet_cli.drawing.image_writer import ImageWriter
from lmpnet_cli.errors import InputError, OptionError, OutputError
from lmpnet_cli.inference import lmpnet as lmpnet_finder

OPTIONS = {"workers": 0, "device": "cpu", "method": "lmpnet", "precision": "32", "batch_size": 3}


@pytest.fixture(scope="module")
def folder(birds, tmp_path_factory):
    """Ten birds in two folders; the first picture and the last four cannot be read."""
    folder = copy_some(birds, tmp_path_factory.mktemp("photos"), 26)
    pictures = sorted(folder.rglob("*/*.jpg"))
    for path in pictures[10:]:
        path.unlink()
    (folder / "0.jpg").touch()
    for name in "wxyz":
        (folder / f"{name}.jpg").touch()
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """All files; but for the times they were made at."""
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
    whole = lmpnet_finder.find_keypoints
    count = 0

    def find(*arguments, **named):
        nonlocal count
        count += 1
        if count > batches:
            raise error
        return whole(*arguments, **named)

    patch.setattr(lmpnet_finder, "find_keypoints", find)


def cut_off(folder: Path, checkpoint: Path, out: Path, batches: int, error: BaseException, **options) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(type(error)):
        stop_after(batches, patch, error)
        discover(folder, out=out, checkpoint=checkpoint, **(OPTIONS | options))


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_a_run_that_was_cut_off_goes_on_to_the_same_files(folder, checkpoint, undisturbed, tmp_path, batches):
    out = tmp_path / "out"
    cut_off(folder, checkpoint, out, batches, KeyboardInterrupt())
    assert (out / JOURNAL).exists() == (batches > 0)
    with pytest.MonkeyPatch.context() as patch:
        whole, rest = lmpnet_finder.find_keypoints, []
        patch.setattr(lmpnet_finder, "find_keypoints", lambda *a, **b: rest.append(1) or whole(*a, **b))
        result = discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert len(rest) == 4 - batches  # nothing is done twice
    assert contents(out) == undisturbed
    assert [name for name, _ in result.skipped] == ["0.jpg", "broken.jpg", "w.jpg", "x.jpg", "y.jpg", "z.jpg"]


def test_a_full_disk_loses_nothing_that_was_done(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    cut_off(folder, checkpoint, out, 2, OutputError("no room"))
    cut_off(folder, checkpoint, out, 1, OutputError("no room"), resume=True)
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed


def test_a_killed_run_leaves_a_line_cut_off_and_half_a_drawing(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    cut_off(folder, checkpoint, out, 2, KeyboardInterrupt())
    journal = out / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-20])
    (out / ".overlays-new" / ".lmpnet-1-2.jpg").write_text("half")
    (out / ".lmpnet-1-2.json").write_text("half")
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("step", ["commit", "_contact_sheet"])
def test_a_run_that_is_stopped_as_its_files_change_places_goes_on(
    folder, checkpoint, undisturbed, tmp_path, step, alone
):
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lmpnet_cli.discovery.discover.takes_turns", lambda _: alone)
        patch.setattr(ImageWriter, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed


def test_a_run_that_was_cut_off_is_not_forgotten(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    cut_off(folder, checkpoint, out, 2, KeyboardInterrupt())
    with pytest.raises(OutputError, match=r"cut off\. Add --resume .* --overwrite"):
        discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    for changed, named in (({"k": 3}, "k"), ({"margin": 1}, "margin"), ({"batch_size": 4}, "batch_size")):
        with pytest.raises(InputError, match=rf"other images or options \({named} differ\)"):
            discover(folder, out=out, checkpoint=checkpoint, resume=True, **(OPTIONS | changed))
    with pytest.raises(InputError, match="images, names_sha256, places differ"):
        discover(folder / "0.jpg", out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    discover(folder, out=out, checkpoint=checkpoint, overwrite=True, **OPTIONS)
    assert contents(out) == undisturbed


def test_a_damaged_journal_is_said(folder, checkpoint, tmp_path):
    out = tmp_path / "out"
    cut_off(folder, checkpoint, out, 2, KeyboardInterrupt())
    whole = (out / JOURNAL).read_bytes().splitlines(keepends=True)
    wrong = (b"[]", b"{}", b"\xff", b"[" * 100_000, b"1e400", b'{"images": -1, "keypoints": [], "skipped": []}')
    for line in (*(each + b"\n" for each in wrong), b'{"images": 3, "keypoints": [{}], "skipped": []}\n'):
        (out / JOURNAL).write_bytes(whole[0] + line)
        with pytest.raises(InputError, match="is damaged"):
            discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)


def test_resume_begins_where_there_is_nothing_and_refuses_what_is_done(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed
    with pytest.raises(OutputError, match="is complete"):
        discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    with pytest.raises(OptionError, match="--resume"):
        discover(tmp_path / "clip.mp4", out=out, resume=True)


def test_earlier_results_stay_while_a_new_run_is_cut_off(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(folder, tmp_path / "one")
    discover(folder, out=out, checkpoint=checkpoint, **OPTIONS)
    cut_off(tmp_path / "one", checkpoint, out, 2, KeyboardInterrupt(), overwrite=True, k=3)
    kept = {name: data for name, data in contents(out).items() if not name.startswith(".")}
    assert kept == undisturbed
    discover(tmp_path / "one", out=out, checkpoint=checkpoint, resume=True, k=3, **OPTIONS)
    assert json.loads((out / "keypoints.json").read_text())["info"]["k"] == 3


def test_drawings_that_are_gone_are_said(folder, checkpoint, tmp_path):
    out = tmp_path / "out"
    cut_off(folder, checkpoint, out, 2, KeyboardInterrupt())
    shutil.rmtree(out / ".overlays-new")
    with pytest.raises(OutputError, match=r"The drawings of the run in .* are gone"):
        discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)


def test_a_journal_that_lost_its_first_line_begins_again(folder, checkpoint, undisturbed, tmp_path):
    out = tmp_path / "out"
    cut_off(folder, checkpoint, out, 1, KeyboardInterrupt())
    for left in (b"", (out / JOURNAL).read_bytes()[:30]):
        (out / JOURNAL).write_bytes(left)
        cut_off(folder, checkpoint, out, 1, KeyboardInterrupt(), resume=True)
        assert (out / JOURNAL).read_bytes().startswith(b'{"version"')
    discover(folder, out=out, checkpoint=checkpoint, resume=True, **OPTIONS)
    assert contents(out) == undisturbed


@pytest.mark.parametrize(
    "changed",
    [{"patch": 8}, {"coarse_stride": 4}, {"draws": 2}, {"coarse_weight": 0.1}, {"nms_radius": 3.0}, {"keep": 0.9}],
)
def test_every_option_of_the_second_method_decides(changed, checkpoint, folder):
    from lmpnet_cli.config import DiscoverConfig
    from lmpnet_cli.discovery.provenance import settings, what_decides
    from lmpnet_cli.inference.predictor import open_predictor

    options = {"images": folder, "checkpoint": checkpoint, "method": "saliency", "device": "cpu"}
    configs = [DiscoverConfig(**options), DiscoverConfig(**options, **changed)]
    finders = [open_predictor(config) for config in configs]
    for said in (lambda predictor, config: what_decides(predictor, config, []), settings):
        one, other = (said(predictor, config) for predictor, config in zip(finders, configs, strict=True))
        assert one != other


def test_a_video_leaves_no_trace_of_a_run_of_pictures(folder, checkpoint, tmp_path):
    import cv2
    import numpy as np

    out = tmp_path / "out"
    cut_off(folder, checkpoint, out, 1, KeyboardInterrupt())
    video = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 64))
    for number in range(3):
        video.write(np.full((64, 64, 3), 60 * number, np.uint8))
    video.release()
    options = {key: value for key, value in OPTIONS.items() if key != "batch_size"}
    discover(tmp_path / "a.avi", out=out, checkpoint=checkpoint, overwrite=True, **options)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
