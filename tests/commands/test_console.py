import json
import re

from lmpnet_cli.commands import console
from lmpnet_cli.commands.console import Terminal, method_line, model_line, printable, skipped_line
from lmpnet_cli.config import DiscoverConfig


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
    Terminal(quiet=False, json=False).finish("merge", {"images": 0, "skipped": "", "device": None}, {"images": 0})
    shown = capsys.readouterr()
    assert shown.out == "" and "images" in shown.err
    assert "skipped" not in shown.err and "device" not in shown.err


def test_json_is_printed_in_place_of_the_summary_and_quiet_prints_nothing(capsys):
    Terminal(quiet=False, json=True).finish("merge", {"images": 3}, {"images": 3})
    shown = capsys.readouterr()
    assert (json.loads(shown.out), shown.err) == ({"images": 3}, "")
    Terminal(quiet=True, json=False).finish("merge", {"images": 3}, {"images": 3})
    assert capsys.readouterr() == ("", "")


def test_facts_of_a_summary():
    assert method_line("parts", ["breast", "crown"]) == "parts (breast, crown)"
    assert method_line("lmpnet", ["kp1", "kp2"]) == "lmpnet (ranks in each image)"
    assert model_line(DiscoverConfig(images="x")) == "lmpnet-birds.safetensors (bundled)"
    assert model_line(DiscoverConfig(images="x", checkpoint="a/b.safetensors")) == "a/b.safetensors"
    assert model_line(DiscoverConfig(images="x", method="saliency", classifier="vgg16")) == "vgg16 (timm)"
    assert (skipped_line(0), skipped_line(2)) == ("0", "2 (listed in the results)")


def test_file_names_cannot_move_the_cursor():
    assert printable("a\nb\x1b[31m") == "a b?[31m"
