"""A folder of results belongs to one run, and is as it was until there is something to put into it."""

import subprocess
import sys
from pathlib import Path

import pytest

from lmpnet_cli.errors import OutputError
from lmpnet_cli.io.output_folder import clear_folder, lock_output

RESULTS = ("keypoints.json", "overlays", "run.json")


def contents(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


@pytest.fixture
def earlier(tmp_path):
    folder = tmp_path / "out"
    (folder / "overlays" / "sub").mkdir(parents=True)
    for name in ("keypoints.json", "overlays/sub/old.jpg", "mine.txt"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_stays_empty_goes_again(tmp_path, overwrite):
    with lock_output(tmp_path / "a" / "b", RESULTS, overwrite):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="no luck"), lock_output(tmp_path / "a" / "b", RESULTS, overwrite):
        raise ValueError("no luck")
    assert list(tmp_path.iterdir()) == []


def test_results_stay_and_nothing_beside_them(tmp_path):
    (tmp_path / "mine.txt").touch()
    with lock_output(tmp_path, RESULTS, overwrite=False):
        (tmp_path / "run.json").touch()
    assert contents(tmp_path) == ["mine.txt", "run.json"]


def test_existing_results_are_refused_by_name_and_left_alone(earlier):
    with (
        pytest.raises(OutputError, match=r"already holds keypoints\.json, overlays\. .*--overwrite"),
        lock_output(earlier, RESULTS, overwrite=False),
    ):
        pass
    assert contents(earlier) == ["keypoints.json", "mine.txt", "overlays/sub/old.jpg"]


def test_overwrite_removes_nothing_before_the_work(earlier):
    before = contents(earlier)
    with lock_output(earlier, RESULTS, overwrite=True):
        assert set(before) <= set(contents(earlier))
    assert contents(earlier) == before


def test_what_a_killed_run_was_writing_goes(earlier):
    (earlier / ".lmpnet-12-34.json").write_text("half")
    with lock_output(earlier, RESULTS, overwrite=True):
        pass
    assert contents(earlier) == ["keypoints.json", "mine.txt", "overlays/sub/old.jpg"]


HOLD = """
import sys, time
from pathlib import Path
from lmpnet_cli.io.output_folder import lock_output
with lock_output(Path(sys.argv[1]), (), True):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_told_and_a_killed_one_holds_nothing(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match=r"Another run of lmpnet is writing into .*out\. Wait"):
            lock_output(tmp_path / "out", RESULTS, overwrite=True).__enter__()
        assert (tmp_path / "out").is_dir()
        first.kill()
        first.wait()
        with lock_output(tmp_path / "out", RESULTS, overwrite=True):
            pass
    assert contents(tmp_path) == []


def test_two_runs_of_one_process_cannot_share_a_folder_either(tmp_path):
    with lock_output(tmp_path, RESULTS, overwrite=True), pytest.raises(OutputError, match="Another run"):
        lock_output(tmp_path, RESULTS, overwrite=True).__enter__()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path, overwrite):
    (tmp_path / "out").touch()
    for folder in (tmp_path / "out", tmp_path / "out" / "sub"):
        with pytest.raises(OutputError, match=r"Cannot write into .*out"), lock_output(folder, RESULTS, overwrite):
            pass
    assert (tmp_path / "out").is_file()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_lost(earlier, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(OutputError, match=r"Cannot write into .*: Permission denied\. Choose another --out"),
        lock_output(earlier, RESULTS, overwrite=True),
    ):
        pass
    assert (earlier / "overlays" / "sub" / "old.jpg").exists()


def test_an_old_folder_is_cleared_when_its_turn_comes(earlier, monkeypatch):
    clear_folder(earlier / "overlays")
    clear_folder(earlier / "overlays")
    assert contents(earlier) == ["keypoints.json", "mine.txt"]
    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(OutputError, match="Cannot replace"):
        clear_folder(earlier)
