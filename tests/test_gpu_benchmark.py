"""The program that trains on a GPU: its archives, its steps, its plan and its document."""

import json
import time

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("benchmark_programs")


@pytest.fixture
def run(tmp_path, benchmark_programs):
    from gpu_plan import REHEARSAL, Run

    return Run(tmp_path, 10, REHEARSAL)


def test_what_is_packed_is_unpacked(birds, tmp_path, monkeypatch):
    import gpu_archives

    monkeypatch.setattr(gpu_archives, "THERE", 200 * 2**10)
    paths = gpu_archives.write_archives(
        [*gpu_archives.data_entries(birds, 512), ("weights/0-a.bin", bytes(1000))], tmp_path / "packed"
    )
    assert len(paths) > 1 and all(path.stat().st_size <= 200 * 2**10 for path in paths)
    gpu_archives.unpack(tmp_path / "packed", tmp_path / "work")
    assert (tmp_path / "work/weights/0-a.bin").read_bytes() == bytes(1000)
    for name in ("images.txt", "bounding_boxes.txt", "parts/part_locs.txt", "train_test_split.txt"):
        before, after = ((root / name).read_text().split() for root in (birds, tmp_path / "work/data" / birds.name))
        assert before == after

    paths[0].unlink()
    with pytest.raises(SystemExit, match="copy all"):
        gpu_archives.unpack(tmp_path / "packed", tmp_path / "other")


def test_large_images_and_their_annotations_are_scaled_down(tmp_path):
    import gpu_archives
    from gpu_archives import scaled_row

    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(tmp_path / "a.png")
    content, factor = gpu_archives.scaled_down((tmp_path / "a.png").read_bytes(), 150)
    (tmp_path / "b.jpg").write_bytes(content)
    with Image.open(tmp_path / "b.jpg") as smaller:
        assert (factor, smaller.size) == (0.5, (200, 150))
    assert gpu_archives.scaled_down((tmp_path / "a.png").read_bytes(), 300)[1] == 1
    assert scaled_row(["7", "10.0", "20.0", "30.0", "41.0"], 1, 0.5) == "7 5.0 10.0 15.0 20.5"
    assert scaled_row(["7", "3", "11.0", "20.0", "1"], 2, 0.5) == "7 3 5.5 10.0 1"


def test_results_come_back_in_pieces(tmp_path, monkeypatch):
    import gpu_archives

    monkeypatch.setattr(gpu_archives, "BACK", 1000)
    noise = np.random.default_rng(0).bytes(5000)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.bin").write_bytes(noise)
    for _ in range(2):  # the pieces of an earlier run are replaced
        pieces = gpu_archives.write_pieces_of([tmp_path / "sub/a.bin"], tmp_path, tmp_path / "back")
    assert len(pieces) > 5 and max(path.stat().st_size for path in pieces) <= 1000
    gpu_archives.join(tmp_path / "back", tmp_path / "joined")
    assert (tmp_path / "joined/sub/a.bin").read_bytes() == noise


def test_a_step_is_done_once_and_failures_are_left_out(run):
    import gpu_plan
    from gpu_plan import Run

    calls = []

    def fails():
        calls.append("fails")
        raise ValueError("no such kernel")

    assert run.step("good", 0, lambda: {"a": 1}) == {"a": 1}
    assert run.step("good", 0, lambda: pytest.fail("again")) == {"a": 1}
    again = Run(run.work, 10, run.setting)
    assert again.step("good", 0, lambda: pytest.fail("again")) == {"a": 1}
    for each in (run, again, again):
        assert each.step("bad, or not", 0, fails) is None
    (run.work / "steps/killing.begun").write_text(gpu_plan.MARK * gpu_plan.KILLS)  # as if it had killed the program
    assert again.step("killing", 0, lambda: pytest.fail("again")) is None
    (run.work / "steps/killed.begun").write_text(gpu_plan.MARK)
    assert again.step("killed", 0, lambda: 1) == 1
    assert calls == ["fails"] * 2 and again.left_out == ["bad, or not: it failed", "killing: it failed"]
    assert "no such kernel" in (run.work / "steps/bad-or-not.error").read_text()
    assert again.step("long", 10**6, lambda: pytest.fail("too little time")) is None


def test_a_step_is_stopped_when_the_minutes_are_over_and_done_later(tmp_path):
    from gpu_plan import REHEARSAL, RESERVE, Run

    short = Run(tmp_path, (RESERVE + 0.3) / 60, REHEARSAL)
    started = time.monotonic()
    assert short.step("slow", 0, lambda: time.sleep(30)) is None
    assert time.monotonic() - started < 10
    assert short.left_out == ["slow: stopped when the minutes were over"]
    for _ in range(3):  # this is no failure
        assert Run(tmp_path, (RESERVE + 0.1) / 60, REHEARSAL).step("slow", 0, lambda: time.sleep(30)) is None
    assert Run(tmp_path, 10, REHEARSAL).step("slow", 0, lambda: 3) == 3


def test_epochs_fill_their_share():
    from gpu_plan import MAIN, REPLICA_COST, Training, plan_epochs

    assert plan_epochs(Training("a", {}, cost=2), 100, 1000, 200, 50) == (10, 0)
    network, replica = plan_epochs(MAIN, 240, 1000, 200, 1000)
    assert network == replica and 230 < 5 * (network + REPLICA_COST * replica) <= 240
    assert plan_epochs(MAIN, 0.1, 1000, 200, 50) == (1, 1)
    assert plan_epochs(MAIN, 10**6, 1000, 200, 50) == (50, 50)


def test_held_out_images_are_training_images_that_no_training_sees(birds, run):
    import shutil

    from gpu_plan import Setting, splits

    from lmpnet_cli.data.datasets import read_table

    shutil.copytree(birds, run.work / "data" / "birds")
    run.setting = Setting()
    folders = {name: paths[0] for name, paths in splits(run).items()}
    original = dict(read_table(birds / "train_test_split.txt", 2))
    new = {name: dict(read_table(folder / "train_test_split.txt", 2)) for name, folder in folders.items()}
    training = {number for number, is_training in original.items() if is_training == "1"}
    assert set(new["train"]) | set(new["chosen by"]) == training and not set(new["train"]) & set(new["chosen by"])
    assert set(new["test"]) == set(original) - training
    assert set(new["train"].values()) == {"1"} and set(new["test"].values()) | set(new["chosen by"].values()) == {"0"}
    assert len(new["chosen by"]) >= 1


def test_the_document_has_a_row_for_everything_measured(birds, run):
    import gpu_report
    from gpu_plan import record, score_step

    data = {"chosen by": [], "test": [birds]}
    run.step("pace", 0, lambda: {"device": "a device", "rate": 1.0, "images": 9, "minutes": 1})
    run.step("scores of max", 0, lambda: relabelled(score_step(run, None, data)))
    run.step("max", 0, lambda: {"epochs": [3, 0]})
    run.step("best", 0, lambda: {"name": "max", "bundled": 60.0, "max": 61.5})
    run.step("speed, discover", 0, lambda: {"parts": {"discover": 5.0, "forward": 10.0}})
    run.step("speed, training", 0, lambda: {"average": 100.0})
    run.step("layer3", 10**6, dict)
    text = gpu_report.markdown(json.loads(json.dumps(record(run, rehearsal=True))))
    assert gpu_report.MARK in text and "left out: layer3: too little time" in text
    assert "| max | 86.1 | 3 + 0 |" in text
    assert text.count("| birds | max | ") == 3 and "| birds | image centre | |" in text.replace("  ", " ")
    assert "It beats the bundled model" in text
    assert "| parts | 5.0 | 10.0 |" in text and "| average | 100.0 |" in text


def relabelled(scores):
    """Scores as of the test images of a data set."""
    return {"birds, test": next(iter(scores.values()))}
