"""The signature and the help of a command follow from the declared options."""

import inspect
import runpy
from dataclasses import fields
from pathlib import Path
from typing import Literal

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from lmpnet_cli.cli import app
from lmpnet_cli.commands import PANELS, SECOND_NAMES
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config import DiscoverConfig, EvaluateConfig, SaliencyHistogramConfig, TrainConfig, VisualizeConfig
from lmpnet_cli.config.options import REQUIRED, Options, argument, option

COMMANDS = {
    "train": TrainConfig,
    "discover": DiscoverConfig,
    "viz-filters": VisualizeConfig,
    "eval": EvaluateConfig,
    "salient": SaliencyHistogramConfig,
}


class Kettle(Options):
    """Options of a kettle."""

    shelf: tuple[Path, ...] = argument(REQUIRED, "Where the cups are.")
    cups: int | None = option(2, "Number of cups.", low=1, high=8, methods=("tea",))
    tea: tuple[Literal["green", "black"], ...] = option((), "Kinds of tea.")
    lid: bool = option(True, "Close the lid.")
    out: Path | None = option(None, "Where the tea goes.", short="-o")


def call(*arguments):
    """Return what a command with the options of `Kettle` is called with, and the result of its program."""
    received = []

    @takes(Kettle, out=Path("cup"))
    def brew(config, terminal):
        """Brew tea."""
        received.append((config, terminal))

    program = typer.Typer()
    program.command()(brew)
    return received, CliRunner().invoke(program, list(arguments))


def test_a_command_gets_a_configuration():
    ((config, terminal),), _ = call("a", "b", "--tea", "green", "--tea", "black", "--no-lid", "-o", "pot", "-q")
    assert config == Kettle(shelf=("a", "b"), tea=("green", "black"), lid=False, out="pot")
    assert (terminal.quiet, terminal.json) == (True, False)


def test_what_was_not_given_is_left_to_the_configuration():
    ((config, _),), _ = call("a")
    assert config == Kettle(shelf="a", out="cup")
    assert config.cups is None


def test_a_required_argument_is_required():
    received, result = call()
    assert received == [] and result.exit_code == 2


def test_help_shows_range_and_default():
    text = " ".join(call("--help")[1].stdout.replace("│", " ").split())
    assert "Number of cups. [1 to 8; default: 2]" in text
    assert "Where the tea goes. [default: cup]" in text
    assert "Close the lid. [default: --lid; off: --no-lid]" in text
    assert "green | black" in text and "Brew tea." in text


def test_help_of_training_shows_the_defaults_of_both_recipes():
    text = " ".join(CliRunner().invoke(app, ["train", "--help"]).stdout.replace("│", " ").split())
    for note in (
        "32 to 2048; default: 448; laptop: 224",
        "default: -1; laptop: layer3",
        "at least 0; default: --epochs; laptop: 10",
        "default: no; laptop: yes; off: --no-replica-from-network",
        "0 to 0.5; default: 0; laptop: 0.15",
    ):
        assert f"[{note}]" in text
    assert "training images set aside for validation, which are then not trained on" in text


@pytest.mark.parametrize("name", [name for commands in PANELS.values() for name in commands])
def test_help_breaks_no_name_and_no_choice_in_80_columns(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = CliRunner().invoke(app, [name, "--help"]).stdout
    words = set(text.replace("│", " ").split())
    assert "…" not in text
    for parameter in get_command(app).commands[name].params:
        assert words.issuperset(parameter.opts if parameter.param_type_name == "option" else ())
        assert words.issuperset((parameter.metavar or "").split(" | ") if "|" in (parameter.metavar or "") else ())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_every_option(command):
    text = CliRunner().invoke(app, [command, "--help"]).stdout
    for each in fields(COMMANDS[command]):
        if not each.metadata["option"].positional:
            assert f"--{each.name.replace('_', '-')}" in text, each.name
    for shared in ("--quiet", "--json", f"results/{command}"):
        assert shared in text


@pytest.mark.parametrize(("second", "first"), SECOND_NAMES.items())
def test_second_names_are_shown_and_take_the_same_options(second, first):
    listed = CliRunner().invoke(app, ["--help"]).stdout
    assert f"Same as {first}." in listed
    helps = [CliRunner().invoke(app, [name, "--help"]).stdout.splitlines() for name in (second, first)]
    assert helps[0][3:] == helps[1][3:]  # below the line of the usage


def test_commands_have_keyword_parameters_only():
    for commands in PANELS.values():
        for command in commands.values():
            kinds = {parameter.kind for parameter in inspect.signature(command).parameters.values()}
            assert kinds == {inspect.Parameter.KEYWORD_ONLY}


def test_every_option_is_in_the_documents():
    """The page is written by `python docs/options.py`; an option that is new or has changed must be in it."""
    written = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "options.py"))
    assert written["PAGE"].read_text(encoding="utf-8") == written["page"]()
    for command in get_command(app).commands.values():
        flags = {parameter.opts[0] for parameter in command.params if parameter.opts[0].startswith("-")}
        assert all(f"`{flag}`" in written["page"]() for flag in flags - {"--help"})
