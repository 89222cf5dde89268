import contextlib
import json
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lmpnet_cli.errors import DeviceError, OutputError
from lmpnet_cli.io.files import write_atomically, write_json, write_text
from lmpnet_cli.io.run_record import versions, write_run
from lmpnet_cli.io.runtime import fast_bfloat16, resolve_device, resolve_workers, seed_everything, seeded


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


@pytest.fixture
def machine(monkeypatch):
    """Set what PyTorch sees: a number of GPUs, with or without Apple's."""

    def build(cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return build


@pytest.mark.parametrize(("cuda", "mps", "kind"), [(0, False, "cpu"), (0, True, "mps"), (2, False, "cuda")])
def test_auto_takes_the_fastest_device(machine, cuda, mps, kind):
    machine(cuda, mps)
    assert resolve_device("auto").type == kind
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(kind) == torch.device(kind)


def test_a_gpu_is_taken_by_number(machine):
    machine(cuda=3)
    assert resolve_device("cuda:2") == torch.device("cuda", 2)
    assert resolve_device("cuda:00") == torch.device("cuda", 0)
    with pytest.raises(DeviceError, match=r"cuda:3 is not available: PyTorch sees 3 cuda device\(s\)"):
        resolve_device("cuda:3")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:99999999999", "mps"])
def test_a_device_that_is_not_there_is_an_error_with_advice(machine, name):
    machine()
    with pytest.raises(DeviceError, match=f"Device {name} is not available.* Use --device auto or cpu"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cpu:", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "cuda:²", "mps:0"])
def test_an_unknown_device_is_an_error_with_the_names_that_are_known(machine, name):
    machine(cuda=1, mps=True)
    with pytest.raises(DeviceError, match=r"Unknown device .* Use auto, cpu, cuda, cuda:N or mps") as caught:
        resolve_device(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("vendor", "flags", "fast"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx2", False),
    ],
)
def test_bfloat16_is_fast_on_some_processors(tmp_path, vendor, flags, fast):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"vendor_id\t: {vendor}\nflags\t\t: {flags} vaes\nbugs\t\t:\n")
    assert fast_bfloat16(torch.device("cpu"), cpuinfo) is fast
    assert not fast_bfloat16(torch.device("cpu"), tmp_path / "none") and not fast_bfloat16(torch.device("mps"), cpuinfo)


def test_machine_facts_have_their_types(monkeypatch):
    assert resolve_workers(0) == 0 and resolve_workers(3) == 3
    for processors, workers in ((None, 1), (1, 1), (6, 3), (64, 8)):
        monkeypatch.setattr(os, "cpu_count", lambda processors=processors: processors)
        assert resolve_workers(None) == workers
        beside_cpu = 0 if processors in (None, 1) else workers
        assert resolve_workers(None, torch.device("cpu")) == beside_cpu
        assert resolve_workers(None, torch.device("meta")) == workers
        assert resolve_workers(1, torch.device("cpu")) == 1


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_a_seed_repeats_every_generator(seed):
    def draw():
        seed_everything(seed)
        return random.random(), np.random.random(), torch.rand(3).tolist()

    first = draw()
    assert draw() == first
    seed_everything(seed - 1 if seed else 1)
    assert random.random() != first[0]


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_generators_continue_after_a_seeded_part(fails):
    def draw():
        return random.random(), np.random.random(), torch.rand(3).tolist()

    seed_everything(5)
    expected = [draw(), draw()]
    seed_everything(5)
    first = draw()
    with contextlib.suppress(ZeroDivisionError), seeded(7):
        inside = draw()
        if fails:
            raise ZeroDivisionError
    assert [first, draw()] == expected
    with seeded(7):
        assert draw() == inside


def test_versions_name_the_libraries_that_decide_numbers():
    found = versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert torch.__version__.startswith(found["torch"]) and found["numpy"] == np.__version__
    assert {"torchvision", "timm", "numpy", "pillow", "lmpnet-cli"} <= set(found)


def test_a_file_is_written_with_its_folders_and_nothing_beside_it(tmp_path):
    write_text(tmp_path / "new" / "sub" / "a.txt", "Ä\n")
    write_text(tmp_path / "new" / "sub" / "a.txt", "Ö\n")
    assert (tmp_path / "new" / "sub" / "a.txt").read_bytes() == "Ö\n".encode()
    assert contents(tmp_path / "new" / "sub") == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_writer_that_raises_leaves_the_old_file_and_no_other(tmp_path, error, old):
    path = tmp_path / "a.json"
    if old:
        path.write_text(old)

    def write(temporary):
        temporary.write_text("half")
        raise error("stop")

    with pytest.raises(OutputError if error is OSError else error, match="stop"):
        write_atomically(path, write)
    assert contents(tmp_path) == (["a.json"] if old else [])
    assert not old or path.read_text() == old


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_follow_the_umask_whatever_the_writer_does(tmp_path, umask):
    def private(temporary):
        temporary.unlink()
        temporary.touch(mode=0o600)

    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "text")
        write_atomically(tmp_path / "b.txt", private)
        assert os.umask(umask) == umask  # nothing changed it
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.txt")] == [0o666 & ~umask] * 2


def test_the_writer_keeps_the_suffix_and_never_sees_the_name(tmp_path):
    seen = []
    write_atomically(tmp_path / "a.b.png", lambda temporary: (seen.append(temporary), temporary.touch()))
    assert seen[0].suffix == ".png" and seen[0].parent == tmp_path and seen[0].name != "a.b.png"


def test_a_file_or_a_folder_in_the_way_is_an_error_for_the_user(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder"):
        with pytest.raises(OutputError, match=r"Cannot write .* Choose another --out"):
            write_text(path, "text")
    assert contents(tmp_path) == ["file", "folder"]


def test_json_is_indented_and_finite(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, None], "path": Path("x")})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": [\n    1,\n    null\n  ],\n  "path": "x"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"b": float("nan")})
    assert contents(tmp_path) == ["a.json"]


def test_run_json_holds_what_repeats_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lmpnet", "discover", "photos"])
    monkeypatch.setattr("lmpnet_cli.io.run_record.now", lambda: "2030-01-02T03:04:05+00:00")
    write_run(tmp_path, "discover", {"k": 5}, 1.23456, images=3)
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["command"], run["arguments"]) == ("discover", ["discover", "photos"])
    assert (run["options"], run["seconds"], run["images"]) == ({"k": 5}, 1.23, 3)
    assert run["date"] == "2030-01-02T03:04:05+00:00"
    assert run["versions"] == versions()


SCRIPT = """
import multiprocessing
multiprocessing.set_start_method({method!r}, force=True)
import lmpnet_cli as lmpnet
{call}
"""
CALL = "print(len(lmpnet.discover({photos!r}, checkpoint={checkpoint!r}, k=2, workers=2, device='cpu').keypoints))"
FUNCTION = f"def work():\n    {CALL}\n"
GUARD = 'if __name__ == "__main__":\n    '


@pytest.mark.parametrize(
    ("method", "call", "guarded"),
    [("spawn", CALL, False), ("forkserver", FUNCTION + "work()", False), ("spawn", f"{FUNCTION}{GUARD}work()", True)],
)
def test_a_script_works_with_and_without_a_guard(tmp_path, birds, checkpoint, method, call, guarded):
    photos = next((birds / "images").iterdir())
    script = tmp_path / "script.py"
    written = call.replace("{photos!r}", repr(str(photos))).replace("{checkpoint!r}", repr(str(checkpoint)))
    script.write_text(SCRIPT.replace("{method!r}", repr(method)).replace("{call}", written))
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stdout) == (0, "24\n"), run.stderr
    assert run.stderr.count("put the call under `if __name__") == (not guarded)
    assert "Traceback" not in run.stderr
