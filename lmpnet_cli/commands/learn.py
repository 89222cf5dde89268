"""Learn: `lmpnet train`, `lmpnet parts`."""

import shlex

import typer

from lmpnet_cli.commands.console import Terminal, model_line, print_note, resume_hint, skipped_line, written
from lmpnet_cli.commands.parameters import takes
from lmpnet_cli.config import PartsConfig, TrainConfig, default_out


@takes(TrainConfig, out=default_out("train"))
def train(config: TrainConfig, terminal: Terminal) -> None:
    """Train an LMPNet, network and replica, on class-labelled images.

    \b
    lmpnet train data/CUB
    lmpnet train photos/ --epochs 20 --out runs/herons
    lmpnet train photos/ --out runs/herons --resume
    """
    from lmpnet_cli.training.state import STATE
    from lmpnet_cli.training.train import train as run

    out = config.out or default_out("train")
    with resume_hint(out / STATE), terminal.progress() as progress:
        result = run(**vars(config), progress=progress)

    checkpoint = out / "lmpnet.safetensors"
    files = ("lmpnet.safetensors", "last.safetensors", "history.csv", "curves.png", "parts.png")
    accuracy, replica_accuracy = (
        None if value is None else round(value, 4) for value in (result.accuracy, result.replica_accuracy)
    )
    facts = {
        "epochs": result.epochs,
        "validation accuracy": "-" if accuracy is None else accuracy,
        "replica accuracy": "-" if replica_accuracy is None else replica_accuracy,
        "skipped": skipped_line(len(result.skipped)),
        "time": f"{result.seconds:.2f} s",
        "written": written(out, *files),
        "next": f"lmpnet discover IMAGES -c {checkpoint}",
    }
    document = {
        "epochs": result.epochs,
        "accuracy": accuracy,
        "replica_accuracy": replica_accuracy,
        "skipped": len(result.skipped),
        "seconds": round(result.seconds, 2),
        "complete": result.complete,
        "out": out,
    }
    terminal.finish("train", facts, document)

    if not result.complete:
        again = shlex.join(["lmpnet", "train", *map(str, config.data), "--out", str(out), "--resume"])
        print_note(f"Interrupted. {checkpoint} can be used as it is; to continue: {again}")
        raise typer.Exit(130)


@takes(PartsConfig, out=default_out("parts"))
def parts(config: PartsConfig, terminal: Terminal) -> None:
    """Learn the parts of an existing model, which are the same in every image, or rename them.

    \b
    lmpnet parts photos/ --k 8
    lmpnet parts -c results/parts/lmpnet.safetensors --names beak,crown,wing --out named
    """
    from lmpnet_cli.parts.learn_parts import learn_parts as run

    out = config.out or default_out("parts")
    with terminal.progress() as progress:
        result = run(**vars(config), progress=progress)

    spec, checkpoint = result.spec, out / "lmpnet.safetensors"
    naming = f"look at {out / 'parts.png'}, then: lmpnet parts -c {checkpoint} --names ... --out named"
    facts = {
        "parts": f"{spec.k}: {', '.join(spec.names)}",
        "images": spec.learned_from.get("images", spec.learned_from.get("pictures", "-")),
        "skipped": skipped_line(len(result.skipped)),
        "found from": f"a score of {spec.threshold:g}",
        "learned on": model_line(config),
        "time": f"{result.seconds:.1f} s",
        "written": written(out, "lmpnet.safetensors", "parts.png", "parts.json"),
        "next": naming if result.document else f"lmpnet discover IMAGES -c {checkpoint}",
    }
    document = {
        "k": spec.k,
        "names": spec.names,
        "threshold": spec.threshold,
        "out": out,
        "skipped": len(result.skipped),
        "seconds": round(result.seconds, 2),
    }
    terminal.finish("parts", facts, document)
