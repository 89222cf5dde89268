"""Damage checkpoints, annotations and results in every way, and read them as the commands do."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutations import CHANGES, Random

WEIRD: tuple[Any, ...] = (
    None, True, "", -1, 0, 1, 3, 2**31, 2**63, 10**30, 1e308, -1e308, 0.5, float("nan"), float("inf"), [], {}, [[]],
    "../../outside.jpg", "/etc/passwd", "a\0b", "x" * 5000, "\ud800", "line\nbreak", "<script>alert(1)</script>",
    [1, 2, 3], {"a": 1}, [None], "hf-hub:stranger/network", "vit_giant_patch14_dinov2", ["x"] * 3, 1e-320, "1", "auto",
)  # fmt: skip


REFUSALS = {  # the errors that the readers of each kind may raise, and no others
    "checkpoint": ("CheckpointError",),
    "state": ("CheckpointError", "TrainingError"),
    "coco": ("DatasetError",),
    "cub": ("DatasetError",),
    "keypoints": ("DatasetError", "InputError"),
    "results": ("DatasetError", "InputError"),
    "chunks": ("InputError",),
}


def _places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, ...]] = []
    if isinstance(document, dict):
        inner = [place for key in document for place in _places(document[key], (*at, key))]
    elif isinstance(document, list):
        inner = [place for index in range(min(len(document), 4)) for place in _places(document[index], (*at, index))]
    return [at, *inner]


def damaged(document: Any, random: Random) -> Any:
    """Return the document with one to three of its parts replaced, removed or duplicated."""
    document = json.loads(json.dumps(document))
    for _ in range(int(random.choice([1, 1, 2, 3]))):
        places = [place for place in _places(document) if place]
        if not places:
            break
        *way, last = places[int(random.integers(len(places)))]
        inside = document
        for step in way:
            inside = inside[step]
        action = random.random()
        if action < 0.7:
            inside[last] = copy.deepcopy(WEIRD[int(random.integers(len(WEIRD)))])
        elif action < 0.85:
            del inside[last]
        elif isinstance(inside, list):
            inside.append(copy.deepcopy(inside[last]))
        else:
            inside[f"{last}2"] = copy.deepcopy(inside[last])
    return document


def _bytes(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(int(random.choice([1, 2, 4]))):
        changed = CHANGES[int(random.integers(len(CHANGES)))](changed, random, data) or bytearray(b"\0")
    return bytes(changed)


class Documents:
    """Writes whole files into a folder; damages and reads each kind of them."""

    def __init__(self, folder: Path) -> None:
        from draw_birds import write_cub

        from lmpnet_cli.config import TrainConfig
        from lmpnet_cli.discovery.discover import discover
        from lmpnet_cli.io.checkpoints import save_checkpoint
        from lmpnet_cli.model.backbone import BackboneSpec
        from lmpnet_cli.model.lmpnet import NetworkSpec, build
        from lmpnet_cli.model.part_head import PartHeadSpec
        from lmpnet_cli.training.state import STATE, TrainingState

        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        write_cub(folder / "cub", per_species=2, seed=3, size=40, species=2)
        spec = NetworkSpec(BackboneSpec("test_resnet", "layer3"), ("a", "b"), input_size=64)
        model = build(spec, replica=False, part_head=PartHeadSpec(("x", "y"), 96, 4))
        self.checkpoint = folder / "whole.safetensors"
        save_checkpoint(self.checkpoint, model.eval(), {"training": {}})
        model = build(spec, replica=True)
        state = TrainingState(folder, TrainConfig(data=(folder / "cub",), out=folder), model, "none", "0" * 64, True)
        columns = ("learning_rate", "epsilon", "mean_activation", "seconds", "images_per_second")
        quantities = [f"{subset}_{quantity}" for subset in ("train", "val") for quantity in ("loss", "accuracy")]
        state.history = [{"phase": "network", "epoch": 1} | dict.fromkeys([*columns, *quantities], 0.5)]
        state.write()
        self.state = folder / STATE
        self.model = model
        images = [folder / "cub" / "images"]
        options = {"checkpoint": self.checkpoint, "device": "cpu", "workers": 0, "method": "lmpnet"}
        discover(images, out=folder / "found", shard="1/1", **options)
        self.found = json.loads((folder / "found" / "keypoints.json").read_text())
        self.run = json.loads((folder / "found" / "run.json").read_text())
        shutil.rmtree(folder / "found" / "overlays")
        self.kinds: tuple[tuple[str, Callable[[Random], None]], ...] = (
            ("checkpoint", self._checkpoint), ("checkpoint", self._checkpoint), ("checkpoint", self._checkpoint),
            ("state", self._state), ("coco", self._coco), ("cub", self._cub), ("keypoints", self._keypoints),
            ("results", self._results), ("chunks", self._chunks),
        )  # fmt: skip

    def attempt(self, number: int) -> str:
        """Damage and read one file, and return its kind; a refusal must be of a type that its reader may raise."""
        from lmpnet_cli import errors

        kind, read = self.kinds[number % len(self.kinds)]
        try:
            read(np.random.default_rng(number))
        except errors.LmpnetError as error:
            assert type(error) in {getattr(errors, name) for name in REFUSALS[kind]}, f"{kind}: {error!r:.200}"
            raise
        return kind

    def _tensors(self, source: Path, random: Random) -> Path:
        """Write a safetensors file whose bytes, header or own description is damaged."""
        data = source.read_bytes()
        place = self.folder / f"damaged{source.suffix}"
        length = int.from_bytes(data[:8], "little")
        header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
        how = random.random()
        if how < 0.2:
            place.write_bytes(_bytes(data, random))
            return place
        if how < 0.7:
            own = damaged(json.loads(header["__metadata__"]["lmpnet"]), random)
            header["__metadata__"]["lmpnet"] = json.dumps(own)
        elif how < 0.8:
            values = np.frombuffer(rest[: len(rest) // 4 * 4], np.float32).copy()
            values[int(random.integers(len(values)))] = random.choice([np.nan, np.inf, -np.inf])
            rest = values.tobytes()
        elif how < 0.85:
            header["__metadata__"]["lmpnet"] = "[" * 100_000
        else:
            header = damaged(header, random)
        text = json.dumps(header).encode()
        place.write_bytes(len(text).to_bytes(8, "little") + text + rest)
        return place

    def _checkpoint(self, random: Random) -> None:
        from lmpnet_cli.inference.inspect import info
        from lmpnet_cli.io.checkpoints import load_checkpoint

        place = self._tensors(self.checkpoint, random)
        model = load_checkpoint(place)
        assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
        info(place)

    def _state(self, random: Random) -> None:
        from lmpnet_cli.config import TrainConfig
        from lmpnet_cli.training.state import STATE, TrainingState

        out = self.folder / "resumed"
        out.mkdir(exist_ok=True)
        shutil.move(self._tensors(self.state, random), out / STATE)
        config = TrainConfig(data=(self.folder / "cub",), out=out, resume=True)
        TrainingState.stored_config(out, config)
        TrainingState(out, config, self.model, "none", "0" * 64, writes=False).load()

    def _json(self, document: Any, random: Random, place: Path) -> Path:
        place.parent.mkdir(exist_ok=True)
        how = random.random()
        if how < 0.03:
            place.write_text(json.dumps(document)[:-1] + ', "more": ' + "[" * 100_000)
        elif how < 0.06:
            place.write_text(json.dumps(damaged(document, random)).replace("Infinity", "1e999"))
        elif how < 0.25:
            place.write_bytes(_bytes(json.dumps(document).encode(), random))
        else:
            place.write_text(json.dumps(damaged(document, random)))
        return place

    def _coco(self, random: Random) -> None:
        from lmpnet_cli.data.annotations import read_annotations
        from lmpnet_cli.data.coco_predictions import read_predictions

        place = self._json(self.found, random, self.folder / "cub" / "images" / "damaged.json")
        found = read_annotations(place)
        for image in found.images:
            image.path.resolve().relative_to(self.folder.resolve())
            assert np.isfinite(image.visible).all()
        read_predictions(place, found.listed, {image.name for image in found.images})

    def _cub(self, random: Random) -> None:
        from lmpnet_cli.data.annotations import read_annotations
        from lmpnet_cli.data.datasets import read_classes

        copy = self.folder / "damaged-cub"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder / "cub", copy)
        tables = sorted(copy.rglob("*.txt"))
        table = tables[int(random.integers(len(tables)))]
        if random.random() < 0.4:
            table.write_bytes(_bytes(table.read_bytes(), random))
        else:
            cells = [line.split() for line in table.read_text().splitlines()]
            row = cells[int(random.integers(len(cells)))]
            row[int(random.integers(len(row)))] = str(WEIRD[int(random.integers(len(WEIRD)))])
            table.write_text("\n".join(map(" ".join, cells)), encoding="utf-8", errors="surrogatepass")
        for sample in read_classes([copy]).samples:
            sample.path.resolve().relative_to(copy.resolve())
        for image in read_annotations(copy, "all").images:
            image.path.resolve().relative_to(copy.resolve())

    def _keypoints(self, random: Random) -> None:
        from lmpnet_cli.config import CONVERT_FORMATS
        from lmpnet_cli.discovery.merge import merge
        from lmpnet_cli.export.convert import convert
        from lmpnet_cli.io.coco import read_keypoints

        place = self._json(self.found, random, self.folder / "damaged" / "keypoints.json")
        out = self.folder / "converted"
        shutil.rmtree(out, ignore_errors=True)
        if random.random() < 0.3:
            merge(place)
            read_keypoints(place)
            return
        name = CONVERT_FORMATS[int(random.integers(len(CONVERT_FORMATS)))]
        convert(place, to=name, out=out, images=[self.folder / "cub" / "images"])

    def _results(self, random: Random) -> None:
        from lmpnet_cli.export.report.report import report

        folder = self.folder / "damaged-results"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder / "found", folder)
        which = ("keypoints.json", "run.json")[int(random.random() < 0.5)]
        self._json(self.found if which == "keypoints.json" else self.run, random, folder / which)
        page = report(folder, limit=3).path.read_text(encoding="utf-8", errors="replace")
        assert "<script>alert" not in page

    def _chunks(self, random: Random) -> None:
        from lmpnet_cli.discovery.merge import merge
        from lmpnet_cli.discovery.provenance import Manifest, names_sha256
        from lmpnet_cli.discovery.store import Chunk, ChunkStore, chunk_name
        from lmpnet_cli.io.coco import read_keypoints
        from lmpnet_cli.io.storage import open_folder

        folder = self.folder / "chunks"
        shutil.rmtree(folder, ignore_errors=True)
        store, found = ChunkStore(open_folder(folder)), read_keypoints(self.folder / "found" / "keypoints.json")
        names = [each.file_name for each in found]
        listed = {"inputs": ["photos"], "count": len(names), "names_sha256": names_sha256(names)}
        manifest = Manifest(listed, 1, ["kp1"], {"k": 1}, {"thr": 3.0})
        store.begin(manifest)
        for number, each in enumerate(found):
            store.write(number, Chunk([each]))

        path = folder / ("manifest.json", chunk_name(0))[int(random.random() < 0.5)]
        if random.random() < 0.3:
            path.write_bytes(_bytes(path.read_bytes(), random))
        else:
            path.write_text(json.dumps(damaged(json.loads(path.read_text()), random)))
        store.intact(0, names[:1])
        merge(folder, out=folder / "merged")
        store.check_same(manifest)
