"""How long a training takes, in numbers, in words, and when it is said."""

import pytest
from runs import TINY, same

from lmpnet_cli.config import TrainConfig
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.forecast import Pace, Work, forecast, in_words, seconds, work_left
from lmpnet_cli.training.stages import StageProgress, title
from lmpnet_cli.training.train import train


class Heard(Progress):
    """Notes stages and messages."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int, str]] = []
        self.told: list[str] = []
        self.counts: list[int] = []

    def start(self, task: str, total: int, unit: str = "images") -> None:
        self.stages.append((task, total, unit))
        self.counts.append(0)

    def advance(self, count: int, note: str = "") -> None:
        self.counts[-1] += count

    def tell(self, message: str) -> None:
        self.told.append(message)


def config(**options):
    return TrainConfig(data="data", **options)


def test_the_replica_looks_at_every_batch_through_the_network_first():
    work = Work(epochs=2, replica_epochs=3, steps=10, validation=4, parts=5)
    assert seconds(work, Pace(step=6, forward=2)) == {
        "storing maps": 0,
        "network": 2 * (10 * 6 + 4 * 2),
        "replica": 3 * (10 * (6 + 2) + 4 * (2 + 2)),
        "parts": 5 * 2,
    }


def test_with_stored_maps_it_does_so_once_for_each_view():
    work = Work(epochs=2, replica_epochs=3, steps=10, validation=4, stored=20, replica_stored=30, parts=5)
    assert seconds(work, Pace(step=6, forward=7, store=3)) == {
        "storing maps": 20 * 3 + 30 * (3 + 7),
        "network": 20 * 3 + 2 * (10 * 6 + 4 * 2),
        "replica": 30 * (3 + 7) + 3 * (10 * 6 + 4 * 2),
        "parts": 5 * 7,
    }


def test_the_work_of_a_training():
    given = config(epochs=10, replica_epochs=20)
    assert work_left(given, 100, 20, batch=8, done=0, replica_done=0) == Work(10, 20, 12, 2.5, parts=300 / 8)
    assert work_left(given, 100, 20, batch=8, done=10, replica_done=5) == Work(0, 15, 12, 2.5, parts=300 / 8)
    assert work_left(config(parts=0), 100, 20, batch=8, done=0, replica_done=0).parts == 0
    assert work_left(config(), 6000, 0, batch=8, done=0, replica_done=0).parts == 3 * 3000 / 8  # the largest number

    given = config(epochs=10, replica_epochs=3, freeze="layer3", stored_maps=4)
    work = work_left(given, 100, 20, batch=8, done=0, replica_done=0)
    assert (work.stored, work.replica_stored) == ((4 * 100 + 20) / 8, (3 * 100 + 20) / 8)
    work = work_left(given, 100, 20, batch=8, done=10, replica_done=1)
    assert (work.stored, work.replica_stored) == (0, (3 * 100 + 20) / 8)


WORK, PACE = Work(epochs=30, replica_epochs=30, steps=100, validation=10, parts=60), Pace(step=6, forward=2)
WHOLE = "The whole training takes about 12 h 12 min (network 5 h 10 min, replica 7 h 0 min, parts 2 min)."


@pytest.mark.parametrize(
    ("options", "on_cpu", "expected"),
    [
        ({}, False, WHOLE),
        ({"recipe": "laptop"}, True, WHOLE),
        (
            {},
            True,
            f"{WHOLE} On a CPU, --recipe laptop is faster: it trains a smaller network, partly frozen. If you only use "
            "--method parts, --replica-epochs 0 halves the time: parts need no replica.",
        ),
        (
            {"replica_epochs": 3},
            True,
            f"{WHOLE} On a CPU, --recipe laptop is faster: it trains a smaller network, partly frozen. If you only use "
            "--method parts, --replica-epochs 0 saves the time of the replica: parts need no replica.",
        ),
        (
            {"replica_epochs": 0},
            True,
            f"{WHOLE} On a CPU, --recipe laptop is faster: it trains a smaller network, partly frozen.",
        ),
        ({"resume": True}, True, WHOLE.replace("The whole", "The rest of the")),
    ],
)
def test_the_line(options, on_cpu, expected):
    assert forecast(config(**options), WORK, PACE, on_cpu) == expected


def test_the_line_names_the_time_for_storing_maps_and_leaves_out_stages_that_do_not_run():
    work = Work(epochs=1, replica_epochs=0, steps=100, validation=0, stored=600)
    line = forecast(config(freeze="layer3", stored_maps=6), work, Pace(step=6, forward=2, store=1), on_cpu=False)
    assert line == "The whole training takes about 20 min (network 20 min). Storing maps takes 10 min of it."


@pytest.mark.parametrize(
    ("duration", "words"),
    [(0.2, "less than a minute"), (60, "1 min"), (61, "2 min"), (3600, "1 h 0 min"), (86400 + 3601, "1 day 2 h")],
)
def test_durations_in_words(duration, words):
    assert in_words(duration) == words


def test_stages_are_numbered():
    assert title(config(), "replica") == "stage 2 of 3: replica"
    assert title(config(replica_epochs=0), "parts") == "stage 2 of 2: parts"
    assert title(config(replica_epochs=0, parts=0), "network") == "stage 1 of 1: network"

    heard = Heard()
    inner = StageProgress(heard, "stage 3 of 3: parts")
    inner.start("learn parts", 7, "steps")
    inner.advance(3, "loss 1.0")
    inner.tell("hello")
    assert (heard.stages, heard.counts, heard.told) == (
        [("stage 3 of 3: parts, learn parts", 7, "steps")],
        [3],
        ["hello"],
    )


@pytest.mark.usefixtures("no_curves", "short_learning")
@pytest.mark.parametrize("stored_maps", [None, 1])
def test_a_training_says_once_how_long_it_takes_and_counts_what_it_says(few_birds, tmp_path, stored_maps):
    """Twelve images in batches of two: six steps in an epoch."""
    heard = Heard()
    options = TINY | {"batch_size": 2, "parts": 2, "freeze": "layer2", "stored_maps": stored_maps}
    train(few_birds, out=tmp_path, progress=heard, **options)

    (line,) = heard.told
    assert line.startswith("The whole training takes less than a minute (network less than a minute, replica")
    assert "--recipe laptop" in line and "--replica-epochs 0 halves the time" in line
    assert ("Storing maps takes" in line) == bool(stored_maps)

    storing = [
        (f"stage {number} of 3: {name}, storing maps", 12, "images")
        for number, name in ((1, "network"), (2, "replica"))
    ]
    assert [stage for stage in heard.stages if stage not in storing] == [
        ("stage 1 of 3: network", 6, "steps"),
        ("stage 2 of 3: replica", 6, "steps"),
        ("stage 3 of 3: parts, look for objects", 12, "images"),
        ("stage 3 of 3: parts, learn what is object", 6, "images"),
        ("stage 3 of 3: parts, compute features", 12, "images"),
        ("stage 3 of 3: parts, learn parts", 50, "steps"),
    ]
    assert len([stage for stage in heard.stages if stage in storing]) == (2 if stored_maps else 0)
    assert heard.counts == [total for _, total, _ in heard.stages]


@pytest.mark.usefixtures("no_curves")
def test_a_measurement_changes_no_weight(few_birds, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("lmpnet_cli.training.forecast.MEASURED", 10**6)
    train(few_birds, out=tmp_path, **TINY | {"epochs": 2})
    assert same(whole / "last.safetensors", tmp_path / "last.safetensors")


@pytest.mark.usefixtures("no_curves")
def test_a_resumed_training_speaks_of_the_rest(few_birds, tmp_path):
    class Stop(Heard):
        def tell(self, message: str) -> None:
            raise KeyboardInterrupt

    options = TINY | {"batch_size": 2, "epochs": 2}
    assert not train(few_birds, out=tmp_path, progress=Stop(), **options).complete
    heard = Heard()
    train(few_birds, out=tmp_path, resume=True, progress=heard, workers=0, device="cpu")
    assert [line.split(" takes")[0] for line in heard.told] == ["The rest of the training"]
