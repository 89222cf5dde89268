"""What `gpu.py run` does, step by step: the trainings of the paper's setting, their scores, and the speed.

A step is done once; its result is a file of the work folder. A run that was stopped, killed or out of time continues
with the first step that is missing.
"""

import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gpu_speed
import torch
from cub_subset import write_subset
from timing import commit

from lmpnet_cli import evaluate, learn_parts, train
from lmpnet_cli.data.datasets import read_table
from lmpnet_cli.io.checkpoints import load_checkpoint, read_header, save_checkpoint
from lmpnet_cli.io.run_record import now, versions

FLOOR = 60.0  # training images a second at 448 pixels; a tenth of what an H100 should reach
HELD_OUT = 10  # every so many training images of a class are held out, to choose by
MARK = "one time\n"  # in the files that count kills and failures
RESERVE = 30.0  # seconds at the end, to write the results
FAILURES, KILLS = 2, 5  # of a step, after which it is left out


@dataclass
class Setting:
    """Sizes of a run; a rehearsal has the smallest that go through everything."""

    size: int = 448
    batch: int = 64
    images: int | None = None  # of each split of a class
    classes: int | None = None  # of each data set
    epochs: int = 1000  # at most
    stride: int | None = None  # of the occlusion; None for the usual one
    copies: tuple[int, ...] = (8, 64, 256)  # in a forward pass of captum's occlusion
    repeats: int = 5
    batches: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    options: dict[str, Any] = field(default_factory=dict)


REHEARSAL = Setting(
    size=64,
    batch=8,
    images=4,
    classes=3,
    epochs=1,
    stride=16,
    copies=(32,),
    repeats=1,
    batches=(2,),
    options={"workers": 0},
)


@dataclass(frozen=True)
class Training:
    """A training of the plan.

    Attributes:
        weights: 0 for initial weights up to layer3, 1 for complete ones.
        cost: of a step, as a multiple of that of the letter.
        share: of the minutes, for network and replica together.
    """

    name: str
    options: dict[str, Any]
    weights: int = 1
    cost: float = 1.0
    share: float = 0.08
    replica: bool = False


MAIN = Training("leaky max, epsilon 0.1", {"pooling": "leaky_max", "epsilon": 0.1}, share=0.16, replica=True)
LETTER = [
    MAIN,
    Training("average", {"pooling": "average"}),
    Training("max", {"pooling": "max"}),
    Training("leaky max, epsilon 0.01", {"pooling": "leaky_max", "epsilon": 0.01}),
]
OTHERS = [
    Training("layer3", {"layer": "layer3"}, weights=0, cost=0.7, share=0.1, replica=True),
    Training("stride 16", {"output_stride": 16}, cost=1.6, share=0.12, replica=True),
]
REPLICA_COST = 4 / 3  # of an epoch of the network: the network looks at every image first
SPEED_SHARE = 0.1


class Run:
    """One run: its clock, and steps that are done once, whatever kills the program between them."""

    def __init__(self, work: Path, minutes: float, setting: Setting) -> None:
        self.work, self.setting = work, setting
        self.ends = time.monotonic() + 60 * minutes - RESERVE
        self.left_out: list[str] = []
        (work / "steps").mkdir(parents=True, exist_ok=True)

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.ends - time.monotonic()

    def step(self, name: str, needs: float, action: Callable[[], Any]) -> Any:
        """Return the result of a step; None where it failed before, or too little time is left.

        Args:
            needs: seconds without which it is not begun.
            action: returns what is stored as JSON; None where it was stopped before its end.
        """
        stored = self.work / "steps" / f"{as_file(name)}.json"
        if stored.exists():
            return json.loads(stored.read_text())["result"]
        begun, failed = stored.with_suffix(".begun"), stored.with_suffix(".error")
        kills, failures = (len(path.read_text().split(MARK)) - 1 if path.exists() else 0 for path in (begun, failed))
        gives_up = kills >= KILLS or failures >= FAILURES
        if gives_up or self.left() < needs:
            self.left_out.append(f"{name}: {'it failed' if gives_up else 'too little time'}")
            print(f"left out: {self.left_out[-1]}", flush=True)
            return None

        begun.write_text(MARK * (kills + 1))
        started = time.monotonic()
        try:
            with interrupted_after(self.left()):
                result = action()
        except KeyboardInterrupt:
            if self.left() > 0:
                raise  # the user's own
            result = None
        except Exception:
            failed.write_text(MARK * (failures + 1) + traceback.format_exc())
            print(f"{name}: failed\n{traceback.format_exc()}", flush=True)
            return None
        finally:
            begun.unlink()  # it has not killed the program
        if result is None:  # stopped by the clock: no failure, so that a later run goes on
            self.left_out.append(f"{name}: stopped when the minutes were over")
            return None

        seconds = round(time.monotonic() - started, 1)
        stored.write_text(json.dumps({"name": name, "seconds": seconds, "result": result}, indent=1, default=str))
        print(f"{name}: {seconds:.0f} s, {self.left():.0f} s left", flush=True)
        return result


def as_file(name: str) -> str:
    """Return a name as it is in the names of files."""
    return name.replace(", ", "-").replace(" ", "-")


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Interrupt what runs after so many seconds, as Ctrl-C does: a training then stops with its state written."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def with_split(data: Path, out: Path, chosen: Callable[[int, bool], tuple[bool, bool]], setting: Setting) -> Path:
    """Make a CUB folder of the same images with another split, unless that was done before.

    Args:
        chosen: for the number of an image within its class and split, and whether it is a training image: whether it is
            in the new folder, and whether it is a training image there.
    """
    if (out / "images.txt").exists():
        return out
    labels = dict(read_table(data / "image_class_labels.txt", 2))
    classes = list(dict.fromkeys(labels.values()))[: setting.classes]
    counted: dict[tuple[str, str], int] = {}
    kept = {}
    for number, is_training in read_table(data / "train_test_split.txt", 2):
        place = counted[labels[number], is_training] = counted.get((labels[number], is_training), -1) + 1
        is_kept, training = chosen(place, is_training == "1")
        if is_kept and labels[number] in classes and place < (setting.images or place + 1):
            kept[number] = training
    return write_subset(data, out, kept)


def splits(run: Run) -> dict[str, list[Path]]:
    """Return the folders to train on, to choose by, and to score on."""
    folders: dict[str, list[Path]] = {"train": [], "chosen by": [], "test": []}
    for data in sorted((run.work / "data").iterdir()):
        for name, chosen in {
            "train": lambda place, training: (training and place % HELD_OUT != 0, True),
            "chosen by": lambda place, training: (training and place % HELD_OUT == 0, False),
            "test": lambda _, training: (not training, False),
        }.items():
            out = run.work / "splits" / f"{data.name}, {name}"
            folders[name].append(with_split(data, out, chosen, run.setting))
    return folders


def weights_of(run: Run, number: int) -> Path:
    """Return a file of initial weights."""
    return sorted((run.work / "weights").iterdir())[number]


def folder_of(run: Run, name: str) -> Path:
    """Return the folder of a training."""
    return run.work / "trained" / as_file(name)


def train_step(run: Run, training: Training, epochs: tuple[int, int], data: list[Path]) -> dict[str, Any] | None:
    """Train, or go on; return what `run.json` says, None where the clock stopped it."""
    out, setting = folder_of(run, training.name), run.setting
    recipe: dict[str, Any] = {
        "backbone": "resnet50",
        "layer": "layer4",
        "init": str(weights_of(run, training.weights)),
        "size": setting.size,
        "batch_size": setting.batch,
        "epochs": epochs[0],
        "replica_epochs": epochs[1] if training.replica else 0,
        "background": 0.1,
        "paste_smallest": 0.2,
        "preload": True,
        "val_fraction": 0.0,
        "parts": 0,
        "weight_bits": "16",
    }
    shared: dict[str, Any] = {"out": out, "save_every": 120, "device": run_device()} | setting.options
    resumed = (out / "last.state").exists()
    result = train(data, **({"resume": True} if resumed else recipe | training.options), **shared)
    if not result.complete:
        return None
    return {"epochs": epochs, "seconds": result.seconds, "options": training.options}


def run_device() -> str:
    """Return the device of the run."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def score_step(run: Run, checkpoint: Path | None, folders: dict[str, list[Path]]) -> dict[str, Any]:
    """Score a checkpoint on the held-out training images and on the test images, by one look at the whole image."""
    scores: dict[str, Any] = {}
    for kind in ("chosen by", "test"):
        for data in folders[kind]:
            metrics = evaluate(
                data,
                checkpoint=checkpoint,
                method="lmpnet",
                objects="none",
                thr=(3.0, 2.0, 1.0),
                parts=False,
                device=run_device(),
                **run.setting.options,
            ).metrics
            kept = ("images", "accuracy", "replica_accuracy", "entropy", "map_size", "results", "baselines")
            scores[data.name] = {name: metrics.get(name) for name in kept}
    return scores


def choice(scores: dict[str, Any]) -> float:
    """Return what decides between models: the mean of greedy PCK at thr 3 on the held-out training images."""
    figures = [each["results"][0]["greedy_pck"]["mean"] for name, each in scores.items() if "chosen by" in name]
    return float(sum(figures) / len(figures))


def plan_epochs(training: Training, seconds: float, images: int, rate: float, most: int) -> tuple[int, int]:
    """Return the epochs of network and replica that fit into so many seconds, at least one each and at most `most`.

    Args:
        images: number of training images.
        rate: training images a second.
    """
    epoch = images / rate * training.cost
    each = seconds / epoch / (1 + REPLICA_COST * training.replica)
    epochs = min(most, max(1, int(each)))
    return epochs, epochs * training.replica


def work_through(run: Run, minutes: float) -> None:
    """Do what is missing until the minutes are over."""
    device = torch.device(run_device())
    setting = run.setting
    folders = splits(run)
    images = sum(len((folder / "images.txt").read_text().splitlines()) for folder in folders["train"])

    def pace() -> dict[str, Any]:
        rate = gpu_speed.training_rate(device, setting.size, setting.batch, setting.repeats)
        print(f"{gpu_speed.memory_of(device)}: {rate:.1f} training images a second", flush=True)
        return {"device": gpu_speed.memory_of(device), "rate": rate, "images": images, "minutes": minutes}

    planned = run.step("pace", 0, pace)
    if planned is None:
        sys.exit("The rate of training could not be measured; see the error above.")
    if setting is not REHEARSAL and planned["rate"] < FLOOR:
        sys.exit(f"{planned['rate']:.0f} training images a second are too few (at least {FLOOR:.0f}). Is the GPU free?")
    rate, budget = 0.85 * planned["rate"], 60 * planned["minutes"]  # augmentation and validation take the rest

    scores: dict[str, Any] = {}
    scores["bundled"] = run.step("scores of bundled", 0, lambda: score_step(run, None, folders))
    letter = plan_epochs(MAIN, budget * MAIN.share, images, rate, setting.epochs)
    for training in [*LETTER, *OTHERS]:
        # the four poolings have the same recipe, so the same epochs
        epochs = (
            letter
            if training in LETTER
            else plan_epochs(training, budget * training.share, images, rate, setting.epochs)
        )
        trained(run, training, epochs, folders, scores)

    names = [each.name for each in [MAIN, *OTHERS] if scores.get(each.name)]
    if names:
        best = max(names, key=lambda name: choice(scores[name]))
        winner = next(each for each in [MAIN, *OTHERS] if each.name == best)
        longer = Training(f"{best}, longer", winner.options, winner.weights, winner.cost, replica=True)
        seconds = run.left() - budget * SPEED_SHARE
        trained(
            run, longer, stored_epochs(run, plan_epochs(longer, seconds, images, rate, setting.epochs)), folders, scores
        )
        pairs = {name: choice(each) for name, each in scores.items() if each and name in (*names, longer.name)}
        final = max(pairs, key=lambda name: pairs[name])
        run.step("best", 0, lambda: {"name": final, "bundled": choice(scores["bundled"]), **pairs})
        if run.step("parts", 20, lambda: small_step(run, final, folders)):
            small = run.work / "best" / "lmpnet.safetensors"
            scores["best, 8 bits"] = run.step("scores of best, 8 bits", 10, lambda: score_step(run, small, folders))
        measure_speed(run, folder_of(run, final) / "lmpnet.safetensors", folders["test"][0])


def stored_epochs(run: Run, epochs: tuple[int, int]) -> tuple[int, int]:
    """Return the epochs of the longer training; those of an earlier run where there was one."""
    first, second = run.step("longer", 0, lambda: list(epochs)) or epochs
    return first, second


def trained(
    run: Run, training: Training, epochs: tuple[int, int], folders: dict[str, list[Path]], scores: dict[str, Any]
) -> None:
    """Train and score, where time is left."""
    done = run.step(training.name, 20, lambda: train_step(run, training, epochs, folders["train"]))
    if done is not None:
        checkpoint = folder_of(run, training.name) / "lmpnet.safetensors"
        scores[training.name] = run.step(f"scores of {training.name}", 10, lambda: score_step(run, checkpoint, folders))


def small_step(run: Run, name: str, folders: dict[str, list[Path]]) -> dict[str, Any]:
    """Store the best model with 8 bits, and learn parts for it, from training images only."""
    checkpoint, out = folder_of(run, name) / "lmpnet.safetensors", run.work / "best"
    described = {"format_version", "spec", "replica", "shared", "parts", "object_head", "landmarks", "versions"}
    record = {key: value for key, value in read_header(checkpoint).items() if key not in described}
    out.mkdir(exist_ok=True)
    small = out / "8-bits.safetensors"
    save_checkpoint(small, load_checkpoint(checkpoint), record, bits=8)
    learn_parts(folders["train"], checkpoint=small, out=out, device=run_device(), overwrite=True, **run.setting.options)
    return {"of": name, "bytes": (out / "lmpnet.safetensors").stat().st_size}


def measure_speed(run: Run, checkpoint: Path, data: Path) -> None:
    """Measure what is worth knowing of the device's speed."""
    device, setting = torch.device(run_device()), run.setting
    folder = data / "images"
    first = sorted(folder.rglob("*.jpg"))[0]
    with_parts = run.work / "best" / "lmpnet.safetensors"
    best = with_parts if with_parts.exists() else checkpoint
    for name, action in {
        "speed, training": lambda: gpu_speed.training(device, setting.size, setting.batch, setting.repeats),
        "speed, forward": lambda: gpu_speed.forward(best, device, setting.batches, setting.repeats),
        "speed, decoding": lambda: {"images/s": gpu_speed.decoding(folder, setting.size, 1)},
        "speed, discover": lambda: gpu_speed.discovering(folder, best, device, 1),
        "speed, occlusion": lambda: gpu_speed.occlusion_map(
            first, device, setting.stride, setting.copies, setting.repeats
        ),
        "speed, Ray": lambda: gpu_speed.by_ray(folder, best),
    }.items():
        run.step(name, 10, action)


def record(run: Run, rehearsal: bool) -> dict[str, Any]:
    """Return everything that was measured."""
    stored = [json.loads(path.read_text()) for path in sorted((run.work / "steps").glob("*.json"), key=modified)]
    errors = {path.stem: path.read_text().replace(MARK, "") for path in sorted((run.work / "steps").glob("*.error"))}
    return {
        "rehearsal": rehearsal,
        "date": now(),
        "commit": commit(),
        "versions": versions(),
        "setting": asdict(run.setting),
        "steps": {each.pop("name"): each for each in stored},
        "errors": errors,
        "left out": run.left_out,
    }


def modified(path: Path) -> int:
    """Return when a file was written."""
    return path.stat().st_mtime_ns
