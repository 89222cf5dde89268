"""`lmpnet info [MODEL]`."""

from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import typer

from lmpnet_cli.commands import parameters as o
from lmpnet_cli.commands.console import print_json, print_summary


def info(
    model: Annotated[
        Path | None, typer.Argument(help="Checkpoint, or graph of `lmpnet export` (default: the bundled model).")
    ] = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Say what is in a checkpoint: network, classes, keypoints, training, origin.

    \b
    lmpnet info
    lmpnet info runs/herons/lmpnet.safetensors
    lmpnet info model.onnx --json
    """
    from lmpnet_cli.inference.inspect import info as run

    record = run(model)
    if json:
        print_json(record)
    elif not quiet:
        print_summary("info", _graph(record) if record["kind"] == "graph" else _checkpoint(record))


def _file(record: dict[str, Any]) -> dict[str, object]:
    return {"file": f"{record['file']} ({record['bytes'] / 1e6:.1f} MB)", "sha256": record["sha256"]}


def _list(names: list[str], most: int = 6) -> str:
    rest = f", ... {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{rest}" if names else "0"


def _checkpoint(record: dict[str, Any]) -> dict[str, object]:
    spec, training = record["spec"], record.get("training") or {}
    backbone = spec["backbone"]
    epsilon = f", epsilon {spec['epsilon']:g}" if spec["pooling"] == "leaky_max" else ""
    part_head = record.get("parts")
    accuracy = record.get("validation_accuracy") or {}
    parameters = record["parameters"]
    facts = {
        **_file(record),
        "network": f"{backbone['name']} to {backbone['layer']}, {spec['pooling'].replace('_', ' ')} pooling{epsilon}",
        "input": f"{spec['input_size']} x {spec['input_size']} pixels",
        "replica": f"mask radius {spec['mask_radius']:g} cells" if record["replica"] else "none",
        "parameters": ", ".join(f"{part} {count:,}" for part, count in parameters.items()),
        "classes": _list(list(spec["classes"])),
        "parts": _list(list(part_head["names"]), 16) if part_head else "none: `lmpnet parts` makes one",
        "trained on": ", ".join(dict.fromkeys(map(str, training.get("data") or ()))),
        "training": ", ".join(
            f"{name.replace('_', ' ')} {training[name]}"
            for name in ("epochs", "replica_epochs", "batch_size", "learning_rate", "seed")
            if name in training
        ),
        "held-out accuracy": ", ".join(f"{part} {value:.3f}" for part, value in accuracy.items() if value is not None),
        "initial weights": shorten(str(record.get("initial_weights") or ""), 200, placeholder=" ... (--json has all)"),
        "made with": ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items()),
    }
    return {name: fact for name, fact in facts.items() if fact}


def _graph(record: dict[str, Any]) -> dict[str, object]:
    options = ", ".join(f"{name} {value}" for name, value in record["options"].items() if value is not None)
    return {
        **_file(record),
        "input": f"pixels, (B, 3, {record['input_size']}, {record['input_size']}) RGB bytes",
        "maps": " x ".join(map(str, record["map_size"])),
        "keypoints": f"{record['order']}: {', '.join(record['names'])}",
        "classes": _list(list(record["classes"])),
        "options": options,
        "weights": f"{record['checkpoint'].get('name')} ({record['checkpoint'].get('sha256')})",
    }
