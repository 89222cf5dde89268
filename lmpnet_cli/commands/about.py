"""Describe checkpoints and this installation: `lmpnet info`, `lmpnet doctor`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import typer

from lmpnet_cli.commands.console import Terminal, print_line
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config.options import Options, argument


class InfoConfig(Options):
    """Options of `lmpnet info`."""

    model: Path | None = argument(
        None, "Checkpoint or its folder, or ONNX model of `lmpnet export`.", shown="the bundled model"
    )


@takes(InfoConfig)
def info(config: InfoConfig, terminal: Terminal) -> None:
    """Describe a checkpoint: network, classes, parts, training, origin.

    \b
    lmpnet info
    lmpnet info runs/herons
    lmpnet info model.onnx --json
    """
    from lmpnet_cli.inference.inspect import info as run

    record = run(config.model)

    facts = {"file": f"{record['file']} ({record['bytes'] / 1e6:.1f} MB)", "sha256": record["sha256"]}
    facts |= _checkpoint(record) if record["kind"] == "checkpoint" else _onnx_model(record)
    terminal.show("info", facts, record)


def _list(names: Sequence[str], most: int = 6) -> str:
    rest = f", ... {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{rest}" if names else "0"


def _pairs(values: Mapping[str, Any] | None, form: str = "") -> str:
    """Return names and values, such as "epochs 30, seed 0", without those that are None."""
    given = {name: value for name, value in (values or {}).items() if value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {value:{form}}" for name, value in given.items())


def _checkpoint(record: dict[str, Any]) -> dict[str, str]:
    spec, training, backbone = record["spec"], record.get("training") or {}, record["spec"]["backbone"]
    epsilon = f", epsilon {spec['epsilon']:g}" if spec["pooling"] == "leaky_max" else ""
    parts, landmarks = record.get("parts"), record.get("landmarks")
    settings = ("epochs", "replica_epochs", "batch_size", "learning_rate", "seed")
    weights = str(record.get("initial_weights") or "")

    return {
        "network": f"{backbone['name']} to {backbone['layer']}, {spec['pooling'].replace('_', ' ')} pooling{epsilon}",
        "input": f"{spec['input_size']} x {spec['input_size']} pixels",
        "replica": f"mask radius {spec['mask_radius']:g} cells" if record["replica"] else "none",
        "parameters": _pairs(record["parameters"], ","),
        "classes": _list(spec["classes"]),
        "parts": _list(parts["names"], 16) if parts else "none; learn them with `lmpnet parts`",
        "landmarks": _list(landmarks["names"], 16) if landmarks else "none; learn them with `lmpnet fit`",
        "trained on": ", ".join(dict.fromkeys(map(str, training.get("data") or ()))),
        "training": _pairs({name: training.get(name) for name in settings}),
        "validation accuracy": _pairs(record.get("validation_accuracy"), ".3f"),
        "initial weights": shorten(weights, 200, placeholder=" ... (--json has all)"),
        "made with": _pairs(record.get("versions")),
    }


def _onnx_model(record: dict[str, Any]) -> dict[str, str]:
    return {
        "input": f"pixels, (B, 3, {record['input_size']}, {record['input_size']}) RGB bytes",
        "maps": " x ".join(map(str, record["map_size"])),
        "method": record["method"],
        "keypoints": ", ".join(record["names"]),
        "classes": _list(record["classes"]),
        "options": _pairs(record["options"]),
        "weights": f"{record['checkpoint'].get('name')} ({record['checkpoint'].get('sha256')})",
    }


@takes(Options)
def doctor(_: Options, terminal: Terminal) -> None:
    """Check this installation, and list versions, devices and the optional features that are unavailable.

    \b
    lmpnet doctor
    lmpnet doctor --json > for-the-bug-report.json
    """
    from lmpnet_cli.io.doctor import doctor as run

    findings = run()
    facts = {each.name: each.says if each.state == "ok" else f"{each.state}: {each.says}" for each in findings}
    document = {each.name: {"state": each.state, "says": each.says} for each in findings}
    terminal.show("doctor", facts, document)

    broken = ", ".join(each.name for each in findings if each.state == "broken")
    if terminal.shows_summary:
        print_line(f"Broken: {broken}." if broken else "Nothing is broken.")
    if broken:
        raise typer.Exit(1)
