"""Describe checkpoints and this installation: `lmpnet info`, `lmpnet doctor`."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import typer

from lmpnet_cli.commands.console import Terminal, print_note
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config.options import Options, argument


@dataclass(frozen=True, kw_only=True)
class InfoConfig(Options):
    """Options of `lmpnet info`."""

    model: Path | None = argument(
        None, "Checkpoint, or ONNX model of `lmpnet export`.", default_text="the bundled model"
    )


@takes(InfoConfig)
def info(config: InfoConfig, terminal: Terminal) -> None:
    """Describe a checkpoint: network, classes, parts, training, origin.

    \b
    lmpnet info
    lmpnet info runs/herons/lmpnet.safetensors
    lmpnet info model.onnx --json
    """
    from lmpnet_cli.inference.inspect import info as run

    record = run(config.model)

    facts = {"file": f"{record['file']} ({record['bytes'] / 1e6:.1f} MB)", "sha256": record["sha256"]}
    facts |= _checkpoint(record) if record["kind"] == "checkpoint" else _onnx_model(record)
    terminal.finish("info", facts, record)


def _list(names: list[str], most: int = 6) -> str:
    rest = f", ... {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{rest}" if names else "0"


def _checkpoint(record: dict[str, Any]) -> dict[str, str]:
    spec, training = record["spec"], record.get("training") or {}
    backbone = spec["backbone"]
    epsilon = f", epsilon {spec['epsilon']:g}" if spec["pooling"] == "leaky_max" else ""
    pooling = f"{spec['pooling'].replace('_', ' ')} pooling{epsilon}"
    part_head = record.get("parts")
    settings = ("epochs", "replica_epochs", "batch_size", "learning_rate", "seed")
    accuracy = {part: value for part, value in (record.get("validation_accuracy") or {}).items() if value is not None}

    return {
        "network": f"{backbone['name']} to {backbone['layer']}, {pooling}",
        "input": f"{spec['input_size']} x {spec['input_size']} pixels",
        "replica": f"mask radius {spec['mask_radius']:g} cells" if record["replica"] else "none",
        "parameters": ", ".join(f"{part} {count:,}" for part, count in record["parameters"].items()),
        "classes": _list(list(spec["classes"])),
        "parts": _list(list(part_head["names"]), 16) if part_head else "none; learn them with `lmpnet parts`",
        "trained on": ", ".join(dict.fromkeys(map(str, training.get("data") or ()))),
        "training": ", ".join(f"{name.replace('_', ' ')} {training[name]}" for name in settings if name in training),
        "held-out accuracy": ", ".join(f"{part} {value:.3f}" for part, value in accuracy.items()),
        "initial weights": shorten(str(record.get("initial_weights") or ""), 200, placeholder=" ... (--json has all)"),
        "made with": ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items()),
    }


def _onnx_model(record: dict[str, Any]) -> dict[str, str]:
    options = record["options"]
    return {
        "input": f"pixels, (B, 3, {record['input_size']}, {record['input_size']}) RGB bytes",
        "maps": " x ".join(map(str, record["map_size"])),
        "method": str(record.get("method") or record.get("order")),
        "keypoints": ", ".join(record["names"]),
        "classes": _list(list(record["classes"])),
        "options": ", ".join(f"{name} {value}" for name, value in options.items() if value is not None),
        "weights": f"{record['checkpoint'].get('name')} ({record['checkpoint'].get('sha256')})",
    }


@takes(Options)
def doctor(_: Options, terminal: Terminal) -> None:
    """Check this installation: versions, devices, and which optional features are unavailable.

    \b
    lmpnet doctor
    lmpnet doctor --json > for-the-bug-report.json
    """
    from lmpnet_cli.io.doctor import doctor as run

    findings = run()
    broken = [finding.name for finding in findings if finding.state == "broken"]

    facts = {each.name: each.says if each.state == "ok" else f"{each.state}: {each.says}" for each in findings}
    document = {finding.name: {"state": finding.state, "says": finding.says} for finding in findings}
    terminal.finish("doctor", facts, document)

    if terminal.shows_summary:
        print_note(f"Broken: {', '.join(broken)}." if broken else "All checks passed.")
    if broken:
        raise typer.Exit(1)
