"""Learn: `lmpnet train`, `lmpnet parts`, `lmpnet fit`."""

import shlex
from typing import Any

import typer

from lmpnet_cli.commands.console import Terminal, document_of, print_line
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config import CHECKPOINT, FitConfig, PartsConfig, TrainConfig, default_out


@takes(TrainConfig, out=default_out("train"))
def train(config: TrainConfig, terminal: Terminal) -> None:
    """Train an LMPNet, network and replica, on class-labelled images.

    \b
    lmpnet train data/CUB
    lmpnet train photos/ --recipe laptop --out runs/herons
    lmpnet train photos/ --out runs/herons --resume
    """
    from lmpnet_cli.training.state import STATE
    from lmpnet_cli.training.train import train as run

    result = terminal.run(run, config, unfinished=config.out and config.out / STATE)

    document = document_of(result)
    facts = {
        "epochs": result.epochs,
        "validation accuracy": document["accuracy"],
        "replica accuracy": document["replica_accuracy"],
        "next": f"lmpnet discover IMAGES -c {result.out}" if result.epochs else None,
    }
    files = (CHECKPOINT, "last.safetensors", "history.csv", "curves.png", "parts.png")
    terminal.summarize("train", config, result, facts, files)

    if not result.complete:
        again = shlex.join(["lmpnet", "train", *map(str, config.data), "--out", str(result.out), "--resume"])
        state = f"{result.out / CHECKPOINT} can be used as it is" if result.epochs else "No epoch is complete"
        print_line(f"Interrupted. {state}; to continue: {again}")
        raise typer.Exit(130)


@takes(PartsConfig, out=default_out("parts"))
def parts(config: PartsConfig, terminal: Terminal) -> None:
    """Give a trained model parts (keypoints that are the same in every image), or rename or remove some of them.

    \b
    lmpnet parts photos/ --k 3
    lmpnet parts -c results/parts --names beak,crown,wing --out named
    lmpnet parts -c named --drop wing --out fewer
    """
    from lmpnet_cli.parts.learn_parts import learn_parts as run

    result = terminal.run(run, config)

    spec, out = result.spec, config.out or default_out("parts")
    count = spec.learned_from.get("images")
    naming = f"look at {out}/parts.png, then: lmpnet parts -c {out} --names ... --out named"
    facts = {
        "learned from": count and f"{count} images",
        "parts": f"{spec.k}: {', '.join(spec.names)}, visible from a score of {spec.threshold:g}",
        "next": naming if result.document else f"lmpnet discover IMAGES -c {out}",
    }
    document = {"k": spec.k, "names": spec.names, "threshold": spec.threshold, "out": out, "seconds": result.seconds}
    files = (CHECKPOINT, "parts.png", "parts.json")
    terminal.summarize("parts", config, result, facts, files, document | {"skipped": len(result.skipped)})


@takes(FitConfig, out=default_out("fit"))
def fit(config: FitConfig, terminal: Terminal) -> None:
    """Learn your own landmarks, by name, from a few annotated images.

    \b
    lmpnet fit annotations.json
    lmpnet fit data/CUB_200_2011 --images 20 -c runs/herons
    lmpnet discover photos/ -c results/fit --method landmarks
    """
    from lmpnet_cli.landmarks.fit import fit as run

    result = terminal.run(run, config)

    checked, out = result.document["cross_validation"], config.out or default_out("fit")
    facts = {
        "learned from": f"{result.images} images",
        "landmarks": f"{len(result.names)}: {', '.join(result.names)}",
        "cross-validated": checked and _checked(checked["landmarks"], checked["mean_shape"]),
        "next": f"lmpnet discover IMAGES -c {out} --method landmarks",
    }
    files = (CHECKPOINT, "fit.json", "fit.png")
    terminal.summarize("fit", config, result, facts, files, result.document | {"out": out, "seconds": result.seconds})


def _checked(own: dict[str, Any], shape: dict[str, Any]) -> str:
    tolerance = f"within {own['alpha']:.0%} of the longer box side"
    return f"{own['pck']:.1f} % of the visible landmarks {tolerance} (mean position: {shape['pck']:.1f} %)"
