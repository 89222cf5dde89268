"""`discover --backend ray` on two workers of this machine, and on a bucket: as `discover`, and resumable."""

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
from fsspec.implementations.memory import MemoryFileSystem
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.config import DiscoverConfig
from lmpnet_cli.discovery.discover import discover
from lmpnet_cli.discovery.merge import merge
from lmpnet_cli.discovery.ray import resources as cluster_machines
from lmpnet_cli.discovery.ray import run as cluster
from lmpnet_cli.discovery.ray import storage
from lmpnet_cli.discovery.ray.run import discover_on_ray
from lmpnet_cli.discovery.ray.storage import SourceImage, list_sources, local_copies
from lmpnet_cli.discovery.ray.worker import Worker, chunk_row
from lmpnet_cli.discovery.store import ChunkStore, chunk_name
from lmpnet_cli.errors import InputError, OptionError, OutputError
from lmpnet_cli.export.onnx import export_onnx
from lmpnet_cli.io.storage import open_folder
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
def images(birds, tmp_path_factory) -> Path:
    return copy_some(birds, tmp_path_factory.mktemp("images"), 22)


@pytest.fixture(scope="module")
def whole(images, checkpoint, tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("whole") / "out"
    discover(images, checkpoint=checkpoint, out=out, overlays=False, workers=0, **OPTIONS)
    return without_date(out)


@pytest.fixture
def in_this_process(monkeypatch):
    """A Ray that computes chunks here, one after the other, for what does not depend on its processes."""
    monkeypatch.setattr(cluster, "load_ray", lambda: RayInThisProcess)


class RayInThisProcess:
    """What `run.py` calls of Ray."""

    is_initialized = staticmethod(lambda: True)
    nodes = staticmethod(lambda: [{"Alive": True, "Resources": {"CPU": 2}}])

    class data:  # noqa: N801
        ActorPoolStrategy = dict

        def __init__(self, rows):
            self.rows = rows

        @classmethod
        def from_items(cls, rows, **_):
            return cls(rows)

        def map(self, worker, fn_constructor_kwargs, **_):
            return type(self)(list(map(worker(**fn_constructor_kwargs), self.rows)))

        def iter_rows(self):
            return self.rows


def without_date(out: Path) -> dict:
    document = json.loads((out / "keypoints.json").read_text())
    document["info"].pop("date_created")
    return document


def test_two_workers_give_what_one_process_gives_and_a_run_is_resumed(two_workers, images, checkpoint, whole, tmp_path):
    run = {"checkpoint": checkpoint, "out": tmp_path / "run", "chunk": 8, "batch_size": 4, "actors": 2, **OPTIONS}
    result = discover_on_ray(images, **run)
    assert (result.images, result.skipped, result.chunks, result.done_before) == (22, 1, 3, 0)
    merge(tmp_path / "run", out=tmp_path / "all")
    assert without_date(tmp_path / "all") == whole

    with pytest.raises(OutputError, match=r"already holds a run with 3 of 3 chunks\. Add --resume"):
        discover_on_ray(images, **run)
    with pytest.raises(InputError, match=r"different images or options \(thr\)"):
        discover_on_ray(images, **run | {"resume": True, "thr": 2})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("chunk-*")}
    (tmp_path / "run" / chunk_name(1)).unlink()
    (tmp_path / "run" / chunk_name(2)).write_bytes(b"interrupted")
    with pytest.raises(InputError, match=r"Chunks missing in .*: 1 of 3, for example chunk-000001\.jsonl\."):
        merge(tmp_path / "run")
    with pytest.raises(InputError, match=r"is damaged .* with --resume"):
        ChunkStore(open_folder(tmp_path / "run")).read(2)
    counted = []

    class Counting(Progress):
        def advance(self, count: int, note: str = "") -> None:
            counted.append(count)

    result = discover_on_ray(images, progress=Counting(), **run | {"resume": True})
    assert (result.images, result.skipped, result.done_before) == (22, 1, 1)
    assert counted[0] == 8 and sum(counted) == 23
    first = tmp_path / "run" / chunk_name(0)
    assert first.stat().st_mtime_ns == before[first]  # not repeated
    merge(tmp_path / "run", out=tmp_path / "again")
    assert without_date(tmp_path / "again") == whole


def test_a_killed_worker_loses_and_doubles_nothing(two_workers, images, checkpoint, whole, tmp_path):
    import psutil

    killed = []

    def kill() -> None:
        while not list((tmp_path / "run").glob("chunk-*")):  # one chunk is done, others are not
            time.sleep(0.02)
        for process in psutil.process_iter(["cmdline"]):
            if "ray::MapWorker" in " ".join(process.info["cmdline"] or []) and not killed:
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    discover_on_ray(images, checkpoint=checkpoint, out=tmp_path / "run", chunk=2, batch_size=2, actors=1, **OPTIONS)
    thread.join()
    assert killed
    merge(tmp_path / "run", out=tmp_path / "all")
    assert without_date(tmp_path / "all") == whole


def test_an_error_of_a_worker_is_one_message(two_workers, images, checkpoint, tmp_path, monkeypatch):
    class Failing(Worker):
        def __call__(self, row):
            return super().__call__(row | {"images": json.dumps([["/nowhere/a.jpg", "a.jpg"]])})

    monkeypatch.setattr(cluster, "Worker", Failing)
    with pytest.raises(InputError, match=r"^None of the images exists on this machine \(for example /nowhere/a\.jpg\)"):
        discover_on_ray(images, checkpoint=checkpoint, out=tmp_path / "run", actors=1, **OPTIONS)


def test_an_error_of_ray_is_one_message(images, checkpoint, tmp_path, monkeypatch):
    class Lost:
        def is_initialized(self):
            return True

        def nodes(self):
            raise RuntimeError("\x1b[36mray::worker()\x1b[39m (pid=1)\n  Traceback\nThe actor died")

    monkeypatch.setattr(cluster, "load_ray", Lost)
    with pytest.raises(InputError, match=r"^A worker failed: RuntimeError: The actor died\. .*--resume\.$"):
        discover_on_ray(images, checkpoint=checkpoint, out=tmp_path / "run", **OPTIONS)


@pytest.fixture(scope="module")
def bucket(images):
    """Serve a bucket with the images on this machine."""
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
        system.put(f"{images}/", "birds/images/", recursive=True)
        yield "s3://birds"
    server.stop()


def test_a_worker_reads_from_a_bucket_and_writes_into_it(bucket, checkpoint, whole, tmp_path):
    sources = list_sources([Path(f"{bucket}/images")])
    assert [source.name for source in sources] == sorted(
        [image["file_name"] for image in whole["images"]] + ["broken.jpg"]
    )
    config = DiscoverConfig(images=f"{bucket}/images", out=f"{bucket}/run", backend="ray", batch_size=4, **OPTIONS)
    worker = Worker(config, [("lmpnet.safetensors", checkpoint.read_bytes())], 1)
    counts = worker(chunk_row(0, sources))
    assert counts | {"found": 0} == {"number": 0, "images": 22, "found": 0, "skipped": 1, "error": ""}
    chunk = ChunkStore(open_folder(Path(f"{bucket}/run"))).read(0)
    assert [each.file_name for each in chunk.keypoints] == [image["file_name"] for image in whole["images"]]
    assert chunk.skipped[0][0] == "broken.jpg"
    assert chunk.counts == {"images": 22, "found": counts["found"], "skipped": 1}


def test_a_run_in_a_bucket_is_resumed_and_merged(in_this_process, bucket, checkpoint, whole, tmp_path):
    run = {"checkpoint": checkpoint, "out": f"{bucket}/chunks", "chunk": 8, "batch_size": 4, **OPTIONS}
    discover_on_ray(f"{bucket}/images", **run)
    folder = open_folder(Path(f"{bucket}/chunks"))
    folder.remove([chunk_name(1)])
    with pytest.raises(InputError, match="Chunks missing in s3://birds/chunks: 1 of 3, for example chunk-000001"):
        merge(f"{bucket}/chunks")
    assert discover_on_ray(f"{bucket}/images", resume=True, **run).done_before == 2
    merge(f"{bucket}/chunks", out=tmp_path / "all")
    assert without_date(tmp_path / "all") == whole
    discover_on_ray(f"{bucket}/images", **run | {"overwrite": True, "chunk": 16})
    assert folder.names() == [chunk_name(0), chunk_name(1), "manifest.json"]


def test_an_image_that_storage_refuses_stops_the_run_and_is_not_skipped(tmp_path, monkeypatch):
    attempts = []

    def refuse(self, path, target, **_):
        attempts.append(path)
        raise PermissionError("ExpiredToken")

    monkeypatch.setattr(storage.time, "sleep", lambda _: None)
    monkeypatch.setattr(MemoryFileSystem, "get_file", refuse)
    with pytest.raises(InputError, match=r"Cannot fetch /birds/a.jpg: PermissionError: ExpiredToken.*--resume"):
        list(local_copies(Path("memory://birds"), [SourceImage("/birds/a.jpg", "a.jpg")], 5))
    assert len(attempts) == storage.ATTEMPTS
    with pytest.raises(InputError, match="Use a folder that all machines share"):
        list(local_copies(Path("/nowhere"), [SourceImage("/nowhere/a.jpg", "a.jpg")], 5))


class Machines:
    """A Ray cluster of these machines."""

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
        ([{"CPU": 2}], {"actors": 3}, "resources for 2 workers"),
        ([{"CPU": 8, "GPU": 1}], {"device": "auto", "actors": 2}, "resources for 1 workers"),
        ([{"CPU": 8}], {"device": "cuda"}, "no machine of the cluster has a GPU"),
    ],
)
def test_workers_fit_into_the_machines(machines, given, expected):
    config = DiscoverConfig(images="x", backend="ray", **({"device": "cpu"} | given))
    if isinstance(expected, str):
        with pytest.raises(OptionError, match=expected):
            cluster_machines.place_workers(Machines(*machines), config)
    else:
        assert cluster_machines.place_workers(Machines(*machines), config) == expected


def test_overwrite_removes_what_a_run_has_written_and_nothing_else(in_this_process, images, checkpoint, tmp_path):
    out = tmp_path / "out"
    (out / "chunk-x.jsonl").mkdir(parents=True)
    for name in ("chunk-00000-spark.jsonl", "chunk-000007.jsonl", ".lmpnet-1-2.jsonl", "chunk-01.jpg"):
        (out / name).write_bytes(b"")
    run = {"checkpoint": checkpoint, "out": out, **OPTIONS}
    with pytest.raises(OutputError, match=r"already holds chunk-000007\.jsonl"):
        discover_on_ray(images, **run)
    discover_on_ray(images, overwrite=True, **run)
    kept = ["manifest.json", "chunk-00000-spark.jsonl", chunk_name(0), "chunk-01.jpg", "chunk-x.jsonl"]
    assert sorted(path.name for path in out.iterdir()) == sorted(kept)


def test_workers_run_an_onnx_model(in_this_process, images, checkpoint, whole, tmp_path):
    model = tmp_path / "model.onnx"
    export_onnx(model, checkpoint=checkpoint, method="lmpnet")
    discover_on_ray(images, checkpoint=model, out=tmp_path / "run", device="cpu")
    merge(tmp_path / "run", out=tmp_path / "merged")
    document = json.loads((tmp_path / "merged/keypoints.json").read_text())
    for got, expected in zip(document["annotations"], whole["annotations"], strict=True):
        assert got["keypoints"] == pytest.approx(expected["keypoints"], abs=0.01)


def test_a_relative_out_is_the_same_folder_for_all(in_this_process, images, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    discover_on_ray(images, checkpoint=checkpoint, out="run", **OPTIONS)
    assert (tmp_path / "run" / chunk_name(0)).exists()
    monkeypatch.setattr(ChunkStore, "write", lambda *_: None)  # into another folder of the same path
    with pytest.raises(OutputError, match="1 of 1 chunks are not in"):
        discover_on_ray(images, checkpoint=checkpoint, out="elsewhere", **OPTIONS)


def test_a_name_that_is_not_utf_8_is_an_image_like_any_other(two_workers, images, checkpoint, tmp_path):
    (tmp_path / "odd").mkdir()
    shutil.copy(next(images.rglob("*_0001.jpg")), os.fsencode(tmp_path / "odd") + b"/\xff.jpg")
    discover_on_ray(tmp_path / "odd", checkpoint=checkpoint, out=tmp_path / "run", actors=1, **OPTIONS)
    assert [each.file_name for each in merge(tmp_path / "run").keypoints] == ["\udcff.jpg"]


def test_images_of_a_bucket_are_fetched_ahead_and_removed(bucket):
    sources = [*list_sources([Path(f"{bucket}/images")]), SourceImage("birds/images/gone.jpg", "gone.jpg")]
    seen, folders = [], []
    for group in local_copies(Path(f"{bucket}/images"), sources, 5):
        seen += [file.name for file in group]
        folders.append(group[0].path.parent)
        assert [file.path.exists() for file in group] == [file.name != "gone.jpg" for file in group]
        assert not any(folder.exists() for folder in folders[:-1])
    assert seen == [source.name for source in sources]
    assert not folders[-1].exists()


def test_folders_that_cannot_be_reached_are_one_message(bucket, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"Cannot list s3://nowhere/x: .*Check the name"):
        list_sources([Path("s3://nowhere/x")])
    with pytest.raises(InputError, match="No images in s3://birds/empty"):
        list_sources([Path("s3://birds/empty")])
    with pytest.raises(InputError, match="Cannot list nonsense://x"):
        list_sources([Path("nonsense://x")])
    with pytest.raises(InputError, match="one remote folder at a time"):
        list_sources([Path("s3://birds/images"), tmp_path])
    with pytest.raises(OutputError, match="Cannot write s3://nowhere/out/x"):
        open_folder(Path("s3://nowhere/out")).write("x", b"x")
    with pytest.raises(InputError, match="Cannot read s3://birds/run/none"):
        open_folder(Path("s3://birds/run")).read("none")
    with pytest.raises(OutputError, match="Cannot write into nonsense"):
        open_folder(Path("nonsense://x"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": "s3://bucket/x"}, "s3://bucket/x is not a local path"),
        ({"out": "s3://bucket/x"}, "--out must be a local path, not s3://bucket/x"),
        ({"actors": 2}, "--actors needs --backend ray"),
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
    (tmp_path / "bad/a.jpg").write_text("not an image")
    with pytest.raises(InputError, match="None of the 1 images can be read"):
        discover_on_ray(tmp_path / "bad", checkpoint=checkpoint, out=tmp_path / "out", **OPTIONS)
    with pytest.raises(OptionError, match="discover_on_ray"):
        discover(tmp_path / "bad", backend="ray")
    with pytest.raises(OptionError, match="--out"):
        discover_on_ray(tmp_path / "bad", checkpoint=checkpoint, **OPTIONS)


def test_the_command(in_this_process, images, checkpoint, tmp_path):
    arguments = [
        "discover",
        str(images),
        "--backend",
        "ray",
        "--method",
        "lmpnet",
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


class Told(Progress):
    """Collects what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, message: str) -> None:
        self.lines.append(message)


def test_what_is_left_out_of_a_bucket_is_counted(bucket):
    system = pytest.importorskip("s3fs").S3FileSystem()
    junk = ("@eaDir/a.jpg/SM.jpg", "@eaDir/b.jpg/SM.jpg", "sub/#recycle/c.jpg")
    for name in ("a.jpg", *junk, "sub/photo", "photo.dat", ".hidden", ".git/b"):
        system.pipe(f"birds/junk/{name}", b"x")
    told = Told()
    assert [source.name for source in list_sources([Path(f"{bucket}/junk")], progress=told)] == ["a.jpg"]
    assert told.lines == [
        "Left out: 2 folders with copies, thumbnails or deleted files (1 @eaDir, 1 #recycle).",
        f"Left out: 2 files of {bucket}/junk without the extension of an image, such as .jpg or .png (for example "
        "photo.dat).",
    ]
