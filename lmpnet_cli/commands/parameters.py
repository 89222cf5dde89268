"""Derive the signature of a command, and with it its `--help`, from the options of its configuration."""

import inspect
from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from functools import wraps
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, get_args

import typer

from lmpnet_cli.commands.console import Terminal
from lmpnet_cli.config.options import (
    INPUT,
    LMPNET,
    METHOD,
    NETWORK,
    OUTPUT,
    RAY,
    RECIPE,
    REQUIRED,
    RUN,
    SALIENCY,
    Option,
    Options,
    flag_of,
    option,
    shape_of,
)

PANELS = (INPUT, METHOD, LMPNET, SALIENCY, NETWORK, RECIPE, OUTPUT, RUN, RAY)  # in the order of `--help`
Command = Callable[[Any, Terminal], None]


@dataclass(frozen=True, kw_only=True)
class TerminalOptions(Options):
    """Options of every command that only concern the terminal."""

    quiet: bool = option(
        False, "Print neither progress nor summary; errors are always printed.", panel=OUTPUT, short="-q"
    )
    json: bool = option(False, "Print one JSON object to stdout and nothing else.", panel=OUTPUT)


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


def _parameter(declared: Field[Any], default: Any) -> inspect.Parameter:
    described: Option = declared.metadata["option"]
    item, several, _ = shape_of(declared.type)
    default = declared.default if default is None else default
    about: dict[str, Any] = {"help": _help(described, declared.name, default), "show_default": False}

    # Typer has no lists of choices, so the configuration checks them
    choices: tuple[str, ...] = get_args(item) if several else ()
    if choices:
        about |= {"metavar": "|".join(choices), "autocompletion": _completion(choices)}
        item = str
    kind: Any = GenericAlias(list, (item,)) if several and not described.commas else item

    required = default is REQUIRED
    if not required and (default is None or several):
        default, kind = None, kind | None

    if described.positional:
        info: Any = typer.Argument(**about)
    else:
        info = typer.Option(*_spellings(described, declared.name, item), **about, rich_help_panel=described.panel)
    return inspect.Parameter(
        declared.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else default,
        annotation=Annotated[kind, info],
    )


def _completion(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def _spellings(described: Option, name: str, item: Any) -> list[str]:
    flag = flag_of(name)
    if item is bool and described.default is True:
        flag = f"{flag}/{flag_of(name, False)}"
    return [flag, described.short] if described.short else [flag]


def _help(described: Option, name: str, default: Any) -> str:
    """Return the help text with range and default, as in "Random seed. [at least 0; default: 0]"."""
    shown = described.default_text or _shown(name, described.default if default is None else default)
    notes = [described.range, f"default: {shown}" if shown else ""]
    note = "; ".join(note for note in notes if note)
    return f"{described.help} \\[{note}]" if note else described.help


def _shown(name: str, default: Any) -> str:
    if default is REQUIRED or default is None or default is False:
        return ""
    if default is True:
        return flag_of(name)
    if isinstance(default, tuple):
        return ", ".join(_shown(name, each) for each in default)
    return f"{default:.10g}" if isinstance(default, int | float) else str(default)
