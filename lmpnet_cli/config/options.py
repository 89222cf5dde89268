"""Declare each option once, in the configuration that uses it.

`option()` and `argument()` describe a field: default, range, help text, panel, method. Everything else is derived from
them: the signature and `--help` of the command (`commands/parameters.py`), the checks below with their messages, the
record in `run.json` and the comparison of two runs.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import partial
from inspect import formatannotation
from numbers import Integral, Real
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin

from lmpnet_cli.errors import OptionError

INPUT, METHOD, LMPNET, SALIENCY = "Input", "Method", "Method lmpnet", "Method saliency"
NETWORK, RECIPE, OUTPUT, RUN, RAY = "Network", "Recipe", "Output", "Run", "Backend ray"
PANELS = (INPUT, METHOD, LMPNET, SALIENCY, NETWORK, RECIPE, OUTPUT, RUN, RAY)  # in the order of `--help`
REQUIRED: Any = MISSING
Paths = str | Path | Sequence[str | Path]  # what Python functions take for the positional arguments of commands
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a command."""

    help: str  # sentence for `--help`, without default and range
    default: Any  # value that is used when the option is not given; `REQUIRED` for none
    shown: str | None = None  # what `--help` shows in place of `default`
    panel: str = METHOD  # heading in `--help` that the option stands under
    short: str | None = None  # second spelling, such as -o
    low: float | None = None  # smallest allowed number
    high: float | None = None  # largest allowed number
    above: float | None = None  # largest number that is too small, in place of `low`
    methods: tuple[str, ...] = ()  # methods that the option belongs to; empty for an option of no method in particular
    shared: bool = False  # the other methods also accept the option; their default is None
    filled_in: bool = False  # the dataclass default is None, "not given", and `default` replaces it where it is used
    decides: bool = False  # keypoints depend on the value
    positional: bool = False  # the value is given by its position, without --NAME
    file: str | None = None  # name of the file that is meant where the value is a folder

    @property
    def range(self) -> str:
        """Return the allowed numbers in words; empty where every number is allowed."""
        if self.above is not None:
            return f"above {self.above:.10g}" + ("" if self.high is None else f", at most {self.high:.10g}")
        if self.low is None:
            return ""
        return f"at least {self.low:.10g}" if self.high is None else f"{self.low:.10g} to {self.high:.10g}"

    def allows(self, value: Any) -> bool:
        """Return whether a number is finite and within the range."""
        return (
            -math.inf < value < math.inf
            and (self.above is None or value > self.above)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
        )


def option(default: Any, help: str, panel: str = METHOD, **details: Any) -> Any:
    """Return a dataclass field for an option; `details` are further attributes of `Option`.

    The dataclass default of an option that belongs to a method is None, so that it is known whether it was given.
    """
    filled_in = bool(details.get("methods"))
    return _field(Option(default=default, help=help, panel=panel, **{"filled_in": filled_in} | details))


def argument(default: Any, help: str, **details: Any) -> Any:
    """Return a dataclass field for a positional argument."""
    return option(default, help, INPUT, positional=True, **details)


# options of one method, on which its keypoints depend unless `decides` says otherwise
of_lmpnet = partial(option, panel=LMPNET, methods=("lmpnet",), decides=True)
of_saliency = partial(option, panel=SALIENCY, methods=("saliency",), decides=True)


def same_as(owner: type, name: str, **changes: Any) -> Any:
    """Return a dataclass field for the same option as in another configuration, with some attributes changed."""
    return _field(replace(options_of(owner)[name], **changes))


def _field(described: Option) -> Any:
    return field(default=None if described.filled_in else described.default, metadata={"option": described})


def options_of(config: Any) -> dict[str, Option]:
    """Return the declared options of a configuration, class or instance, by name."""
    return {each.name: each.metadata["option"] for each in fields(config)}


@dataclass_transform(kw_only_default=True, frozen_default=True)
@dataclass(frozen=True, kw_only=True)
class Options:
    """The base of all configurations: it converts and checks every value by its declaration.

    Every subclass becomes a frozen dataclass with keyword arguments, and its docstring lists the options.
    """

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        _append(cls, "Attributes", cls)

    def __post_init__(self) -> None:
        for each in fields(self):
            self._set(each.name, _converted(each, getattr(self, each.name)))
        self._fill_in()
        self._check()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _fill_in(self) -> None:
        """Give the options that are used, but were not given, their defaults."""

    def _check(self) -> None:
        """Check what several options must satisfy together; every override calls the one of its base."""

    @staticmethod
    def _not_with(other: str) -> str:
        """Return the end of the message about an option that `other` excludes."""
        return f"cannot be combined with {other}; remove one of them"

    def _refuse(self, other: str, *names: str, **values: Any) -> None:
        """Raise `OptionError` where one of the options `names`, or one of the `values`, is combined with `other`."""
        given = {name: getattr(self, name) for name in names if getattr(self, name) not in (None, False, ())}
        given |= {name: value for name, value in values.items() if getattr(self, name) == value}
        for name, value in given.items():
            shown = written(name, value) if name in values else flag_of(name, value)
            raise OptionError(f"{shown} {self._not_with(other)}.")

    def options(self) -> dict[str, Any]:
        """Return all options with plain values, for `run.json`; None stands for an option that was not used."""
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}

    def deciding_options(self) -> dict[str, Any]:
        """Return the options that change keypoints; with the same weights and images they make it the same run."""
        return {name: plain(getattr(self, name)) for name, each in options_of(self).items() if each.decides}


def takes_options(config: type[Options]) -> Callable[[Function], Function]:
    """Return a decorator that lists the options of `config` in the docstring of the function that takes them."""

    def document(function: Function) -> Function:
        _append(function, "Options", config)
        return function

    return document


def _append(target: Any, title: str, config: type[Options]) -> None:
    """Append a section to a docstring: each option with its type, default, help text and range."""
    lines = [f"\n\n    {title}:"]
    for declared in fields(config):
        described: Option = declared.metadata["option"]
        if described.positional and title == "Options":
            continue
        kind = formatannotation(declared.type).replace("typing.", "").replace("pathlib.", "")
        default = "" if described.default is REQUIRED else f" = {plain(described.default)!r}"
        allowed = f" Allowed: {described.range}." if described.range else ""
        lines.append(f"        {declared.name} ({kind}{default}): {described.help}{allowed}")
    target.__doc__ = (target.__doc__ or "").rstrip() + "\n".join(lines) + "\n    "


def shape_of(hint: Any) -> tuple[Any, bool, bool]:
    """Return the type of one item of a field, whether it holds several, and whether it may be None."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    (inner,) = (member for member in members if member is not NoneType)
    several = get_origin(inner) is tuple
    return get_args(inner)[0] if several else inner, several, NoneType in members


def flag_of(name: str, value: Any = None) -> str:
    """Return how an option is written on the command line; `value` False gives the form that turns it off."""
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"


def written(name: str, value: Any) -> str:
    """Return an option with its value as they are written on the command line."""
    return flag_of(name, value) if isinstance(value, bool) else f"{flag_of(name)} {value}"


def _converted(declared: Field[Any], value: Any) -> Any:
    described: Option = declared.metadata["option"]
    item, several, optional = shape_of(declared.type)
    flag = declared.name.upper() if described.positional else flag_of(declared.name)
    if value is None:
        if optional:
            return None
        raise OptionError(f"{flag} needs a value.")
    if not several:
        return _converted_item(flag, described, item, value)

    if item is str:  # texts may be given as one, with commas between them
        texts = value.split(",") if isinstance(value, str) else value
        return tuple(text.strip() for text in texts)
    if item is Path:
        return tuple(_converted_item(flag, described, item, path) for path in as_paths(value))
    values = [value] if isinstance(value, str | Real) else value
    return tuple(_converted_item(flag, described, item, each) for each in values)


def _converted_item(flag: str, described: Option, item: Any, value: Any) -> Any:
    if item is Path:
        return file_in(value, described.file) if described.file else Path(value)
    if get_origin(item) is Literal and value not in get_args(item):
        raise OptionError(f"{flag} {value} is unknown: choose one of {', '.join(get_args(item))}.")
    return _number(flag, described, item, value) if item in (int, float) else value


def _number(flag: str, described: Option, kind: type[int] | type[float], value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or (kind is int and not isinstance(value, Integral)):
        raise OptionError(f"{flag} {value!r} is not a {'whole ' if kind is int else ''}number.")
    if not described.allows(value):
        allowed = described.range or "every finite number"
        raise OptionError(f"{flag} {value} is out of range; allowed: {allowed}.")
    return int(value) if isinstance(value, Integral) and kind is int else float(value)


def url_of(path: Path) -> str | None:
    """Return the address of a remote folder that was given as a path, such as s3://bucket/folder, or None.

    `Path` turns two slashes into one, so an address without a host looks the same as one with a host.
    """
    found = re.fullmatch(r"([a-z][a-z0-9+.-]+):/+(.*)", path.as_posix())
    return f"{found[1]}://{found[2]}" if found else None


def file_in(path: str | Path, name: str) -> Path:
    """Return the file `name` in a folder; any other path stays as it is.

    A folder that cannot be read counts as a file, so that reading it says what is wrong.
    """
    path = Path(path)
    try:
        return path / name if path.is_dir() else path
    except OSError:
        return path


def as_paths(paths: Paths) -> tuple[Path, ...]:
    """Return one path, or several, as the configurations hold them."""
    return (Path(paths),) if isinstance(paths, str | PurePath) else tuple(map(Path, paths))


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: paths as text, tuples as lists."""
    if isinstance(value, Path):
        return url_of(value) or value.as_posix()
    return [plain(item) for item in value] if isinstance(value, tuple) else value
