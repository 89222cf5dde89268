"""Derive the signature of a command, and with it its `--help`, from the options of its configuration."""

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from functools import wraps
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, get_args

import typer

from lmpnet_cli.commands.console import Terminal
from lmpnet_cli.config.options import OUTPUT, PANELS, REQUIRED, Option, Options, flag_of, option, shape_of

Command = Callable[[Any, Terminal], None]


class TerminalOptions(Options):
    """Options of every command that only concern the terminal."""

    quiet: bool = option(False, "Print only warnings and errors.", OUTPUT, short="-q")
    json: bool = option(False, "Print one JSON object to stdout and nothing else.", OUTPUT)


def takes(config: type[Options], out: Path | None = None) -> Callable[[Command], Callable[..., None]]:
    """Give a command the options of `config` as its parameters.

    The command itself is called with a configuration and the terminal. Options that were not given are not passed to
    the configuration, so that it alone fills in defaults and finds wrong combinations. This happens before the command
    imports torch, which takes seconds.

    Args:
        out: folder that the command writes to when --out is not given.
    """
    declared = [*fields(config), *fields(TerminalOptions)]
    declared.sort(key=lambda each: PANELS.index(each.metadata["option"].panel))
    signature = inspect.Signature([_parameter(each, out if each.name == "out" else None) for each in declared])

    def decorate(command: Command) -> Callable[..., None]:
        @wraps(command)
        def called_by_typer(quiet: bool, json: bool, **options: Any) -> None:
            given = {name: value for name, value in options.items() if value not in (None, [])}
            command(config(**given), Terminal(quiet, json))

        called_by_typer.__signature__ = signature  # type: ignore[attr-defined]
        called_by_typer.__annotations__ = {}
        return called_by_typer

    return decorate


def _parameter(declared: Field[Any], out: Path | None) -> inspect.Parameter:
    described: Option = declared.metadata["option"]
    item, several, _ = shape_of(declared.type)
    default = declared.default if out is None else out
    about: dict[str, Any] = {"help": _help(declared, out), "show_default": False}

    choices = get_args(item)
    if choices:
        about["metavar"] = " | ".join(choices)  # with spaces, where lines are broken
    if choices and several:  # Typer has no lists of choices, so the configuration checks them
        about["autocompletion"] = lambda incomplete: [each for each in choices if each.startswith(incomplete)]
        kind: Any = list[str]
    else:  # several texts are given as one, with commas between them
        kind = GenericAlias(list, (item,)) if several and item is not str else item

    if default is REQUIRED:
        default = inspect.Parameter.empty
    elif default is None or several:
        default, kind = None, kind | None

    if described.positional:
        info: Any = typer.Argument(**about)
    else:
        flag = flag_of(declared.name)
        both = f"{flag}/{flag_of(declared.name, False)}" if _has_two_flags(declared) else flag
        info = typer.Option(*filter(None, (both, described.short)), **about, rich_help_panel=described.panel)
    kind = Annotated[kind, info]
    return inspect.Parameter(declared.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _has_two_flags(declared: Field[Any]) -> bool:
    """Return whether an option is a switch that can be on without being given, so that it needs `--no-...`."""
    described: Option = declared.metadata["option"]
    return shape_of(declared.type)[0] is bool and (described.default is True or described.filled_in)


def _help(declared: Field[Any], out: Path | None) -> str:
    """Return the help text with range and default, as in "Random seed. [at least 0; default: 0]"."""
    described: Option = declared.metadata["option"]
    default = described.shown or _shown(declared.name, out or described.default)
    off = f"off: {flag_of(declared.name, False)}" if _has_two_flags(declared) else ""
    note = "; ".join(filter(None, (described.range, default and f"default: {default}", off)))
    return f"{described.help} \\[{note}]" if note else described.help


def _shown(name: str, default: Any) -> str:
    if default is REQUIRED or default is None or default is False:
        return ""
    if default is True:
        return flag_of(name)
    if isinstance(default, tuple):
        return ", ".join(_shown(name, each) for each in default)
    return f"{default:.10g}" if isinstance(default, int | float) else str(default)
