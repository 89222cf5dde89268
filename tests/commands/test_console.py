import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from lmpnet_cli.commands import console
from lmpnet_cli.commands.console import Terminal, common_facts, document_of, model_line, printable
from lmpnet_cli.config import DiscoverConfig, EvaluateConfig


def test_a_log_gets_lines_in_place_of_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(console, "SECONDS", 0.0)
    with console.ConsoleProgress() as progress:
        progress.start("discover", 40)
        progress.advance(10, "fine")
        progress.advance(30)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"discover: 10 of 40 images, [0-9.]+/s, [0-9:]+ left, fine", lines[0])
    assert re.fullmatch(r"discover: 40 of 40 images, [0-9.]+/s, fine", lines[1])

    monkeypatch.setattr(console, "SECONDS", 15.0)
    with console.ConsoleProgress() as progress:
        progress.start("discover", 40)
        progress.advance(40)
    assert capsys.readouterr().err == ""  # a short stage prints nothing


def test_a_summary_leaves_empty_facts_out(capsys):
    Terminal(quiet=False, json=False).show("merge", {"images": 0, "skipped": "", "device": None}, {"images": 0})
    shown = capsys.readouterr()
    assert shown.out == "" and "images" in shown.err
    assert "skipped" not in shown.err and "device" not in shown.err


def test_json_is_printed_in_place_of_the_summary_and_quiet_prints_nothing(capsys):
    Terminal(quiet=False, json=True).show("merge", {"images": 3}, {"images": 3})
    shown = capsys.readouterr()
    assert (json.loads(shown.out), shown.err) == ({"images": 3}, "")
    Terminal(quiet=True, json=False).show("merge", {"images": 3}, {"images": 3})
    assert capsys.readouterr() == ("", "")


def test_a_summary_names_the_model_that_ran():
    assert model_line(DiscoverConfig(images="x")) == "lmpnet-birds.safetensors (bundled)"
    assert model_line(DiscoverConfig(images="x", checkpoint="a/b.safetensors")) == "a/b.safetensors"
    assert model_line(DiscoverConfig(images="x", method="saliency", classifier="vgg16")) == "vgg16 (timm)"
    assert model_line(EvaluateConfig(predictions="points.json")) == ""


@dataclass
class Kettle:
    """The result of a command."""

    keypoints: list[object]
    skipped: list[str]
    names: tuple[str, ...]
    method: str
    seconds: float
    out: Path


def test_the_document_and_the_common_facts_follow_from_the_result():
    result = Kettle([object()] * 3, ["a.jpg"], ("lid",), "parts", 1.50001, Path("cup"))
    document = document_of(result)
    assert document == {
        "images": 3,
        "skipped": 1,
        "names": ("lid",),
        "method": "parts",
        "seconds": 1.5,
        "out": Path("cup"),
    }
    facts = common_facts(DiscoverConfig(images="x", checkpoint="a.safetensors"), result, None)
    assert (facts["images"], facts["skipped"], facts["method"]) == (3, "1 (listed in the results)", "parts (lid)")
    assert (facts["checkpoint"], facts["time"], facts["device"]) == ("a.safetensors", "1.5 s (2.0 images/s)", None)


@pytest.mark.parametrize(
    ("waited", "words"),
    [
        (None, "1.5 s (2.0 images/s)"),
        (4.0, "4.0 s (2.5 s to start, 2.0 images/s)"),
        (1.52, "1.5 s (2.0 images/s)"),
        (1.0, "1.5 s (2.0 images/s)"),
    ],
)
def test_the_time_is_what_the_user_waited(waited, words):
    result = Kettle([object()] * 3, [], ("lid",), "parts", 1.5, Path("cup"))
    assert common_facts(DiscoverConfig(images="x"), result, None, waited)["time"] == words


def test_a_summary_shows_the_files_that_exist(tmp_path, capsys):
    (tmp_path / "match.png").touch()
    result = Kettle([object()], [], ("lid",), "lmpnet", 2.0, tmp_path)
    config = DiscoverConfig(images="x", out=tmp_path)
    Terminal(quiet=False, json=False).summarize("match", config, result, {"device": "cup"}, ["match.png", "none.png"])
    shown = "".join(capsys.readouterr().err.split())
    assert "match.png" in shown and "none.png" not in shown
    assert "lmpnet(ranksineachimage;squareddistance)" in shown and "cup" in shown and "skipped0" in shown


def test_an_interruption_says_how_to_resume_only_where_work_is_kept(tmp_path, capsys):
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    for name in ("unfinished", "absent"):
        (tmp_path / "unfinished").touch()
        with pytest.raises(KeyboardInterrupt):
            Terminal(quiet=True, json=False).run(interrupted, DiscoverConfig(images="x"), tmp_path / name)
        assert ("--resume" in capsys.readouterr().err) == (name == "unfinished")


def test_file_names_cannot_move_the_cursor():
    assert printable("a\nb\x1b[31m") == "a b?[31m"
