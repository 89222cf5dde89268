"""Arrange the options, versions and checksums of a run as tables of text."""

from pathlib import Path
from typing import Any

from lmpnet_cli.io.json_input import dict_in
from lmpnet_cli.io.run_record import read_run

MAX_CLASSES = 5  # class names that are listed


def settings_tables(folder: Path, info: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return a title and rows of names and values for each table that has any.

    Args:
        folder: the results; its `run.json` is read.
        info: the `info` section of `keypoints.json`; empty where there is none.
    """
    run = read_run(folder)
    options, versions = dict_in(run.pop("options", None)), dict_in(run.pop("versions", None))
    run.pop("skipped", None)  # the report has a section of its own for them

    classes = info.get("classes")
    info = {key: value for key, value in info.items() if key != "classes"}
    if isinstance(classes, list):
        info["classes"] = f"{len(classes)}: {', '.join(map(str, classes[:MAX_CLASSES]))}..."

    tables = [("Keypoints", info), ("Run", run), ("Options", options), ("Versions", versions)]
    return [(title, [(str(key), _as_text(value)) for key, value in rows.items()]) for title, rows in tables if rows]


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_as_text(each)}" for key, each in value.items())
    if isinstance(value, list):
        return " ".join(map(_as_text, value))
    return "-" if value is None else str(value)
