"""`discover --backend ray` on two workers of this machine, and on a bucket: the same as `discover`, restartable."""

import json
import logging
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from conftest import copy_some
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.merge import merge
from lmpnet_cli.discovery.ray import resources as cluster_machines
from lmpnet_cli.discovery.ray import run as cluster
from lmpnet_cli.discovery.ray.parquet import from_parquet, summary, to_parquet
from lmpnet_cli.discovery.ray.run import discover_on_ray
from lmpnet_cli.discovery.ray.storage import Store, list_places, local_copies
from lmpnet_cli.discovery.ray.worker import Worker, part_name
from lmpnet_cli.errors import InputError, OptionError, OutputError
from lmpnet_cli.progress import Progress

ray = pytest.importorskip("ray", reason="needs the extra ray")
OPTIONS = {"device": "cpu", "method": "lmpnet", "precision": "32"}
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of all kinds


@pytest.fixture(scope="module")
def two_workers():
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=100_000_000,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def pictures(birds, tmp_path_factory) -> Path:
    return copy_some(birds, tmp_path_factory.mktemp("pictures"), 22)


@pytest.fixture(scope="module")
def whole(pictures, checkpoint, tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("whole") / "out"
    discover(pictures, checkpoint=checkpoint, out=out, overlays=False, workers=0, **OPTIONS)
    return without_date(out)


@pytest.fixture
def in_this_process(monkeypatch):
    """Blocks are worked on here, one after the other: for what does not hang on Ray."""

    def worked(_ray, rows, config, weights):
        return list(map(Worker(config, weights, 2), rows))

    monkeypatch.setattr(cluster, "_worked", worked)


def without_date(out: Path) -> dict:
    document = json.loads((out / "keypoints.json").read_text())
    document["info"].pop("date_created")
    return document


def test_two_workers_give_what_one_process_gives_and_a_run_goes_on(two_workers, pictures, checkpoint, whole, tmp_path):
    run = {"checkpoint": checkpoint, "out": tmp_path / "run", "block": 8, "actors": 2, **OPTIONS}
    result = discover_on_ray(pictures, **run)
    assert (result.images, result.skipped, result.blocks, result.done_before) == (22, 1, 3, 0)
    merge(tmp_path / "run", out=tmp_path / "all")
    assert without_date(tmp_path / "all") == whole

    with pytest.raises(OutputError, match=r"already holds a run with 3 of 3 blocks\. Add --resume"):
        discover_on_ray(pictures, **run)
    with pytest.raises(OutputError, match=r"other images or options \(info differ\)"):
        discover_on_ray(pictures, **run | {"resume": True, "thr": 2})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("part-*")}
    (tmp_path / "run" / part_name(1)).unlink()
    (tmp_path / "run" / part_name(2)).write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"Of 3 blocks .* 1 are missing, part-000001\.parquet first"):
        merge(tmp_path / "run")
    counted = []

    class Counting(Progress):
        def advance(self, count: int, note: str = "") -> None:
            counted.append(count)

    result = discover_on_ray(pictures, progress=Counting(), **run | {"resume": True})
    assert (result.images, result.skipped, result.done_before) == (22, 1, 1)
    assert counted[0] == 8 and sum(counted) == 23
    first = tmp_path / "run" / part_name(0)
    assert first.stat().st_mtime_ns == before[first]  # not repeated
    merge(tmp_path / "run", out=tmp_path / "again")
    assert without_date(tmp_path / "again") == whole


def test_a_worker_that_is_killed_loses_and_doubles_nothing(two_workers, pictures, checkpoint, whole, tmp_path):
    import psutil

    killed = []

    def kill() -> None:
        while not list((tmp_path / "run").glob("part-*")):  # one block is done, others are not
            time.sleep(0.02)
        for process in psutil.process_iter(["cmdline"]):
            if "ray::MapWorker" in " ".join(process.info["cmdline"] or []) and not killed:
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    discover_on_ray(pictures, checkpoint=checkpoint, out=tmp_path / "run", chunk=2, actors=1, **OPTIONS)
    thread.join()
    assert killed
    merge(tmp_path / "run", out=tmp_path / "all")
    assert without_date(tmp_path / "all") == whole


def test_an_error_of_a_worker_is_one_message(two_workers, pictures, checkpoint, tmp_path, monkeypatch):
    class Failing(Worker):
        def _work(self, block):
            raise OutputError("Cannot write part-000000.parquet: No space left on device. Choose another --out.")

    monkeypatch.setattr(cluster, "Worker", Failing)
    with pytest.raises(OutputError, match=r"^Cannot write part-000000.parquet: No space left"):
        discover_on_ray(pictures, checkpoint=checkpoint, out=tmp_path / "run", actors=1, **OPTIONS)


def test_what_ray_cannot_do_is_one_message(monkeypatch, tmp_path):
    class Lost:
        def is_initialized(self):
            return True

        def nodes(self):
            raise RuntimeError("\x1b[36mray::worker()\x1b[39m (pid=1)\n  Traceback\nThe actor died")

    config = DiscoverConfig(images="x", out=tmp_path, backend="ray", **OPTIONS)
    with pytest.raises(InputError, match=r"^A worker failed: RuntimeError: The actor died\. .*--resume\.$"):
        list(cluster._worked(Lost(), [{}], config, ("a", b"")))


@pytest.fixture(scope="module")
def bucket(pictures):
    """A bucket with the pictures, on a server of this machine."""
    server_module = pytest.importorskip("moto.server", reason="needs moto")
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        system = s3fs.S3FileSystem()
        system.mkdir("birds")
        system.put(f"{pictures}/", "birds/pictures/", recursive=True)
        yield "s3://birds"
    server.stop()


def test_a_worker_reads_from_a_bucket_and_writes_into_it(bucket, checkpoint, whole, tmp_path):
    places = list_places([Path(f"{bucket}/pictures")])
    assert [name for _, name in places] == sorted([image["file_name"] for image in whole["images"]] + ["broken.jpg"])
    config = DiscoverConfig(images=f"{bucket}/pictures", out=f"{bucket}/run", backend="ray", batch_size=4, **OPTIONS)
    worker = Worker(config, ("lmpnet.safetensors", checkpoint.read_bytes()), 1)
    addresses, names = zip(*places, strict=True)
    counts = worker({"number": 0, "addresses": addresses, "names": names})
    assert counts | {"found": 0} == {"number": 0, "images": 22, "found": 0, "skipped": 1, "error": ""}
    store = Store(Path(f"{bucket}/run"))
    assert store.names() == [part_name(0)]
    found, skipped = from_parquet("part", store.read(part_name(0)))
    assert [each.file_name for each in found] == [image["file_name"] for image in whole["images"]]
    assert skipped[0][0] == "broken.jpg"
    assert opened_summary(store, part_name(0)) == {"images": 22, "found": counts["found"], "skipped": 1}


def opened_summary(store: Store, name: str) -> dict | None:
    with store.opened(name) as file:
        return summary(file)


def test_a_picture_that_is_refused_stops_the_run_and_is_not_called_unreadable(tmp_path, monkeypatch):
    from lmpnet_cli.discovery.ray import storage as remote

    class Refusing:
        tries = 0

        def get_file(self, *_):
            self.tries += 1
            raise PermissionError("ExpiredToken")

    monkeypatch.setattr(remote.time, "sleep", lambda _: None)
    system = Refusing()
    with pytest.raises(InputError, match=r"Cannot fetch birds/a.jpg: PermissionError: ExpiredToken.*--resume"):
        remote._fetch(system, "birds/a.jpg", tmp_path / "a")
    assert system.tries == remote.TRIES
    with pytest.raises(InputError, match="Do all machines see this folder"):
        list(local_copies(Path("/nowhere"), [("/nowhere/a.jpg", "a.jpg")], 5))


class Machines:
    """A Ray with these machines."""

    def __init__(self, *machines: dict):
        self.machines = machines

    def nodes(self):
        return [{"Alive": True, "Resources": each} for each in self.machines] + [
            {"Alive": False, "Resources": {"CPU": 99}}
        ]


@pytest.mark.parametrize(
    ("machines", "given", "expected"),
    [
        ([{"CPU": 2}], {}, (1, {"num_cpus": 2})),
        ([{"CPU": 2}], {"actors": 2}, (2, {"num_cpus": 1})),
        ([{"CPU": 2}] * 4, {}, (4, {"num_cpus": 2})),
        ([{"CPU": 8}] * 4, {"actors": 2}, (2, {"num_cpus": 4})),
        ([{"CPU": 16, "GPU": 2}, {"CPU": 64}], {"device": "auto"}, (2, {"num_gpus": 1, "num_cpus": 8})),
        ([{"CPU": 16, "GPU": 2}], {"device": "cpu"}, (4, {"num_cpus": 4})),
        ([{"CPU": 2}], {"actors": 3}, "room for 2 workers"),
        ([{"CPU": 8, "GPU": 1}], {"device": "auto", "actors": 2}, "room for 1 workers"),
        ([{"CPU": 8}], {"device": "cuda"}, "no machine of the cluster offers a GPU"),
    ],
)
def test_workers_fit_into_the_machines(machines, given, expected):
    config = DiscoverConfig(images="x", backend="ray", **({"device": "cpu"} | given))
    if isinstance(expected, str):
        with pytest.raises(OptionError, match=expected):
            cluster_machines.place_workers(Machines(*machines), config)
    else:
        assert cluster_machines.place_workers(Machines(*machines), config) == expected


def test_overwrite_removes_what_a_run_has_written_and_nothing_else(in_this_process, pictures, checkpoint, tmp_path):
    out = tmp_path / "out"
    (out / "part-x.parquet").mkdir(parents=True)
    for name in ("part-00000-spark.snappy.parquet", "part-000007.parquet", ".part-000001.parquet.123", "part-01.jpg"):
        (out / name).write_bytes(b"")
    run = {"checkpoint": checkpoint, "out": out, **OPTIONS}
    with pytest.raises(OutputError, match=r"already holds part-000007\.parquet"):
        discover_on_ray(pictures, **run)
    discover_on_ray(pictures, overwrite=True, **run)
    kept = ["manifest.json", "part-00000-spark.snappy.parquet", part_name(0), "part-01.jpg", "part-x.parquet"]
    assert sorted(path.name for path in out.iterdir()) == sorted(kept)


def test_a_relative_out_is_the_same_folder_for_all(in_this_process, pictures, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    discover_on_ray(pictures, checkpoint=checkpoint, out="run", **OPTIONS)
    assert (tmp_path / "run" / part_name(0)).exists()
    monkeypatch.setattr(cluster, "_worked", lambda *_: [{"number": 0, "images": 22, "found": 1, "skipped": 1}])
    with pytest.raises(OutputError, match="1 of 1 blocks are not in"):
        discover_on_ray(pictures, checkpoint=checkpoint, out="elsewhere", **OPTIONS)


def test_a_name_that_is_no_text_is_named_before_the_work(in_this_process, pictures, checkpoint, tmp_path):
    (tmp_path / "odd").mkdir()
    shutil.copy(next(pictures.rglob("*_0001.jpg")), os.fsencode(tmp_path / "odd") + b"/\xff.jpg")
    with pytest.raises(InputError, match="cannot be written into Parquet"):
        discover_on_ray(tmp_path / "odd", checkpoint=checkpoint, out=tmp_path / "out", **OPTIONS)


def test_pictures_of_a_bucket_are_fetched_ahead_and_removed(bucket):
    places = [*list_places([Path(f"{bucket}/pictures")]), ("birds/pictures/gone.jpg", "gone.jpg")]
    seen, folders = [], []
    for group in local_copies(Path(f"{bucket}/pictures"), places, 5):
        seen += [file.name for file in group]
        folders.append(group[0].path.parent)
        assert [file.path.exists() for file in group] == [file.name != "gone.jpg" for file in group]
        assert not any(folder.exists() for folder in folders[:-1])
    assert seen == [name for _, name in places]
    assert not folders[-1].exists()


def test_places_that_cannot_be_reached_are_one_message(bucket, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"Cannot list s3://nowhere/x: .*Check the name"):
        list_places([Path("s3://nowhere/x")])
    with pytest.raises(InputError, match="No images in s3://birds/empty"):
        list_places([Path("s3://birds/empty")])
    with pytest.raises(InputError, match="Cannot list nonsense://x"):
        list_places([Path("nonsense://x")])
    with pytest.raises(InputError, match="one remote folder at a time"):
        list_places([Path("s3://birds/pictures"), tmp_path])
    with pytest.raises(OutputError, match="Cannot write s3://nowhere/out/x"):
        Store(Path("s3://nowhere/out")).write("x", b"x")
    with pytest.raises(OutputError, match="Cannot read s3://birds/run/none"):
        Store(Path("s3://birds/run")).read("none")
    with pytest.raises(OutputError, match="Cannot write into nonsense"):
        Store(Path("nonsense://x"))


def test_a_disk_that_is_full_leaves_no_half_file(tmp_path, monkeypatch):
    store = Store(tmp_path / "out")
    store.write("a", b"first")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left on device"):
        store.write("a", b"second")
    assert store.names() == ["a"] and store.read("a") == b"first"


def test_parts_keep_every_number(whole, pictures, checkpoint):
    result = discover(pictures, checkpoint=checkpoint, workers=0, **OPTIONS)
    from lmpnet_cli.io.coco import to_coco

    content = to_parquet(result.keypoints, result.skipped)
    found, skipped = from_parquet("part", content)
    assert to_coco(found, {}, (), skipped) == to_coco(result.keypoints, {}, (), result.skipped)
    with pytest.raises(InputError, match="is no part of a result"):
        from_parquet("part", content[:-9])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": "s3://bucket/x"}, "s3://bucket/x is not a local path"),
        ({"out": "s3://bucket/x"}, "--out must be a local path, not s3://bucket/x"),
        ({"actors": 2}, "--actors cannot be combined with --backend torch"),
        ({"backend": "ray", "shard": "1/2"}, "--shard cannot be combined with"),
        ({"backend": "ray", "method": "saliency"}, "--method saliency cannot be combined with"),
        ({"backend": "ray", "device": "cuda:1"}, "--device cuda:1 cannot be combined with"),
        ({"backend": "ray", "resume": True, "overwrite": True}, "--resume cannot be combined with --overwrite"),
    ],
)
def test_what_does_not_go_together_is_refused(given, message):
    with pytest.raises(OptionError, match=message):
        DiscoverConfig(**{"images": "photos"} | given)


def test_all_unreadable_is_an_error_and_a_missing_out_is_one(in_this_process, checkpoint, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.jpg").write_text("no picture")
    with pytest.raises(InputError, match="None of the 1 images can be read"):
        discover_on_ray(tmp_path / "bad", checkpoint=checkpoint, out=tmp_path / "out", **OPTIONS)
    with pytest.raises(OptionError, match="discover_on_ray"):
        discover(tmp_path / "bad", backend="ray")
    with pytest.raises(OptionError, match="--out"):
        discover_on_ray(tmp_path / "bad", checkpoint=checkpoint, **OPTIONS)


def test_the_command(in_this_process, pictures, checkpoint, tmp_path):
    arguments = [
        "discover",
        str(pictures),
        "--backend",
        "ray",
        "-c",
        str(checkpoint),
        "--out",
        str(tmp_path / "run"),
        "--json",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["images"] == 22
    result = CliRunner().invoke(app, ["merge", str(tmp_path / "run"), "--out", str(tmp_path / "all")])
    assert result.exit_code == 0 and (tmp_path / "all/keypoints.json").exists()
