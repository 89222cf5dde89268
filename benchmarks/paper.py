"""Reproduce the tables and figures of the LMPNet paper: train, score, and write docs/results/paper*.

    python benchmarks/paper.py DATA --init WEIGHTS --work FOLDER [--layer layer4 --freeze layer3] [--every 3]

DATA is a CUB folder; every third class of it is used (`--every 1` takes all). Trained models are stored in FOLDER. To
resume after an interruption, start the program again; completed steps are not repeated. Every step is a command that
you can type; the commands are printed and recorded. The tables of each layer are a section of paper.md and a file,
paper-LAYER.json.

- Table 1: accuracy with average, max and leaky max pooling, epsilon 0.1 and 0.01, all by the same recipe.
- Table 2: greedy PCK at thr 3, 2, 1, the supervised network of `fcn.py` (5 of its 15 landmarks, sampled in two ways by
  `sample_landmarks.py`) and the baselines.
- Figure 6: entropy of the maps. Figures 4 and 5: `lmpnet viz-filters`, with images in FOLDER.
- The cost of the pooling, by PyTorch's own counter of operations.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from cub_subset import write_subset
from program import run_program
from timing import RESULTS, commit
from torch.utils.flop_counter import FlopCounterMode

from lmpnet_cli.data.datasets import cub_root, read_table
from lmpnet_cli.io.files import write_json
from lmpnet_cli.io.run_record import now, versions

HERE = Path(__file__).parent
END = "<!-- end -->"
POOLINGS = {
    "average": ["--pooling", "average"],
    "max": ["--pooling", "max"],
    "leaky max, epsilon 0.1": ["--pooling", "leaky_max", "--epsilon", "0.1"],
    "leaky max, epsilon 0.01": ["--pooling", "leaky_max", "--epsilon", "0.01"],
}
MAIN = "leaky max, epsilon 0.1"
PAPER_ACCURACY = {"average": 85.0, "max": 86.1, "leaky max, epsilon 0.1": 81.4, "leaky max, epsilon 0.01": 85.3}


def subset(data: Path, folder: Path, step: int) -> Path:
    """Copy every `step`-th class of a CUB folder, unless that was done before."""
    if (folder / "images.txt").exists():
        return folder
    data = cub_root(data) or data

    classes = {number for number, _ in read_table(data / "classes.txt", 2)[::step]}
    labels = dict(read_table(data / "image_class_labels.txt", 2))
    split = read_table(data / "train_test_split.txt", 2)
    return write_subset(
        data, folder, {number: training == "1" for number, training in split if labels[number] in classes}
    )


class Steps:
    """Runs each command once and stores its result together with the command."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.commands: list[str] = []

    def __call__(self, result: Path, *command: Any, resume: bool = False) -> None:
        """Run a command unless `result` exists; stop if another command made it."""
        words = [str(word) for word in command]
        text = shlex.join(words)
        self.commands.append(text)

        record = self.work / "commands" / result.relative_to(self.work).as_posix().replace("/", "-")
        if record.exists() and record.read_text() != text:
            sys.exit(f"{result} comes from another command:\n{record.read_text()}\nUse another --work folder.")
        if record.exists() and result.exists():
            return

        print(f"$ {text}", flush=True)
        programs = {"lmpnet": [sys.executable, "-m", "lmpnet_cli"], "python": [sys.executable]}
        own = {f"benchmarks/{name}": str(HERE / name) for name in ("fcn.py", "sample_landmarks.py")}
        more = ["--resume"] if resume else ["--overwrite"] if words[0] == "lmpnet" else []
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(text)
        arguments = [own.get(word, word) for word in words[1:]]
        if subprocess.run([*programs[words[0]], *arguments, *more], check=False).returncode:
            sys.exit(f"This command failed, see its message above:\n{text}\nThe next start resumes with it.")

    def train(self, out: Path, data: Path, *options: Any) -> None:
        """Run `lmpnet train`; resume it if it was interrupted."""
        record = out / "run.json"
        if record.exists() and not json.loads(record.read_text())["complete"]:
            record.unlink()
        resume = (out / "last.state").exists() and not record.exists()
        self(record, "lmpnet", "train", data, "--out", out, *options, resume=resume)


def flops_of_pooling() -> dict[str, float]:
    """Count the operations of ResNet-50 at 448 pixels, and of leaky max pooling on its 2048 maps of 14 x 14, per image.

    A multiply-add counts two. Pooling compares and adds each cell once, which the counter does not see, so it is
    counted by hand: argmax and sum take one operation per cell, the formula a few per map.
    """
    import timm

    network = timm.create_model("resnet50", pretrained=False, num_classes=0, global_pool="").eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 448, 448))
    backbone = float(counter.get_total_flops())
    cells = 2048 * 14 * 14
    return {"backbone": backbone, "average": float(cells), "leaky max": 2.0 * cells + 4 * 2048}


def start(layer: str) -> str:
    """Return the line of paper.md after which the tables of a layer begin."""
    return f"<!-- {layer}, written by benchmarks/paper.py -->"


def accuracy_table(document: dict[str, Any]) -> list[str]:
    """Return table 1 and figure 6, the paper's and the measured figures side by side."""
    accuracy, entropy, count = document["accuracy"], document["entropy"], document["images"]
    lines = [
        "| pooling | accuracy, paper | accuracy, measured | 95 % | map entropy, nats |",
        "| --- | --- | --- | --- | --- |",
    ]

    for name in POOLINGS:
        share = accuracy[name]
        half = 1.96 * (share * (1 - share) / count) ** 0.5
        interval = f"{100 * (share - half):.1f}-{100 * (share + half):.1f}"
        lines.append(f"| {name} | {PAPER_ACCURACY[name]} | {100 * share:.1f} | {interval} | {entropy[name]:.3f} |")
    return lines


def pck_table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return the measured rows of table 2."""
    names = ["KP 1", "KP 2", "KP 3", "KP 4", "KP 5", "AVG", "95 %", "one-to-one", "coverage", "found"]
    lines = ["| | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
    for name, row in rows.items():
        any_match = row["greedy_pck"]
        cells = [f"{each:.1f}" for each in [*any_match["kp"], any_match["mean"]]]
        cells += ["{:.1f}-{:.1f}".format(*any_match["ci95"]), f"{row['greedy_pck_one_to_one']['mean']:.1f}"]
        cells += [f"{row['coverage']:.1f}", f"{row['found']:.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def markdown(document: dict[str, Any]) -> str:
    """Return the section of paper.md for one layer: its data and machine, the tables, and the commands."""
    cost = document["flops"]
    share = {name: 100 * cost[name] / cost["backbone"] for name in ("average", "leaky max")}
    lines = [
        start(document["layer"]),
        f"Data: {document['data']}. Maps of {document['layer']}, {document['map_size'][0]} x {document['map_size'][1]} "
        f"cells. {document['hardware']}, torch {document['versions']['torch']}, timm "
        f"{document['versions']['timm']}, commit {document['commit']}, seed {document['seed']}, {document['date']}.",
        "",
        "**Table 1 and figure 6**",
        "",
        *accuracy_table(document),
        "",
        "**Table 2**",
        "",
        *pck_table(document["table_2"]),
        "",
        f"**Cost of the pooling**: ResNet-50 at 448 pixels takes {cost['backbone'] / 1e9:.2f} billion operations for "
        f"an image, leaky max pooling {cost['leaky max'] / 1e6:.2f} million on top, {share['leaky max']:.4f} %, and "
        f"average pooling {share['average']:.4f} %. The paper says 0.05 %.",
        "",
        "Commands, in this order:",
        "",
        *[f"    {command}" for command in document["commands"]],
        END,
    ]
    return "\n".join(lines)


def slug(name: str) -> str:
    """Return the name as a folder name."""
    return name.replace(", ", "-").replace(" ", "-")


def measure(options: argparse.Namespace, step: Steps) -> dict[str, Any]:
    """Train and score what is missing; return the figures of the document."""
    work: Path = options.work
    data = subset(options.data, work / f"every-{options.every}", options.every)
    network = ["--layer", options.layer, "--init", options.init, "--freeze", options.freeze]
    recipe = ["--backbone", "resnet50", *network, "--stride-in-1x1", "--caffe-pooling"]
    recipe += ["--size", 224, "--epochs", options.epochs, "--learning-rate", 0.02]
    recipe += ["--val-fraction", 0, "--seed", options.seed]
    replica = ["--replica-epochs", options.replica_epochs, "--replica-from-network"]
    paper_method = ["--method", "lmpnet", "--objects", "none", "--thr", 3, "--thr", 2, "--thr", 1]
    weights = {name: work / slug(name) / "lmpnet.safetensors" for name in POOLINGS}

    def evaluated(folder: Path, *arguments: Any) -> dict[str, Any]:
        step(folder / "metrics.json", "lmpnet", "eval", data, "-o", folder, *arguments)
        found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
        return found

    # table 1 and figure 6
    measured = {}
    for name, pooling in POOLINGS.items():
        step.train(work / slug(name), data, *recipe, *pooling, *(replica if name == MAIN else ["--replica-epochs", 0]))
        measured[name] = evaluated(work / slug(name) / "eval", "-c", weights[name], *paper_method)

    # table 2
    alone = evaluated(work / "without-replica", "-c", weights[MAIN], *paper_method, "--no-replica")
    landmarks = work / "fcn-landmarks.json"
    fcn = ["-o", landmarks, *network, "--epochs", options.fcn_epochs, "--seed", options.seed, "--bf16"]
    step(landmarks, "python", "benchmarks/fcn.py", data, *fcn)
    evaluated(work / "fcn-landmarks", "--predictions", landmarks)

    supervised = {}
    accuracies = ["--sorted-by", work / "fcn-landmarks" / "metrics.json"]
    for name, order in (("by part number", []), ("parts sorted by accuracy", accuracies)):
        sample = work / f"fcn-{slug(name)}.json"
        step(sample, "python", "benchmarks/sample_landmarks.py", landmarks, "-o", sample, *order)
        scores = evaluated(sample.with_suffix(""), "--predictions", sample)
        supervised[f"FCN, supervised, {name}"] = scores["results"][0]

    # figures 4 and 5
    compared = ["-c", weights["average"], "--compare", weights["max"], "--compare", weights[MAIN], "--rows", 3]
    for folder, shown in (("figure-5", compared), ("figure-4", ["-c", weights[MAIN]])):
        record = work / folder / "filters.json"
        step(record, "lmpnet", "viz-filters", data / "images", "-o", work / folder, *shown)

    main_run = measured[MAIN]
    table = {f"thr {row['thr']:g}": row for row in main_run["results"]}
    table |= {f"thr {row['thr']:g}, no replica": row for row in alone["results"]}
    for name in ("average", "max"):
        table |= {f"thr {row['thr']:g}, {name} pooling": row for row in measured[name]["results"]}
    table |= supervised
    table |= {name.replace("_", " "): row for name, row in main_run["baselines"].items()}
    classes, images = len(read_table(data / "classes.txt", 2)), main_run["images"]
    return {
        "data": f"{options.data.name}, one class in {options.every}: {classes} classes, {images} test images",
        "images": images,
        "layer": options.layer,
        "map_size": main_run["map_size"],
        "accuracy": {name: each["accuracy"] for name, each in measured.items()},
        "entropy": {name: each["entropy"] for name, each in measured.items()},
        "replica_accuracy": main_run["replica_accuracy"],
        "table_2": table,
    }


def main() -> None:
    """Do what is missing, then write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--init", type=Path, required=True, help="ResNet-50 (v1) weights, safetensors")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--layer", choices=("layer3", "layer4"), default="layer3", help="layer whose maps are used")
    parser.add_argument("--freeze", default="layer2", help="last layer that stays frozen")
    parser.add_argument("--every", type=int, default=3, help="use every N-th class")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--replica-epochs", type=int, default=8)
    parser.add_argument("--fcn-epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of paper.md and paper-LAYER.json")
    options = parser.parse_args()

    step = Steps(options.work)
    figures = measure(options, step)

    # as a user would type them in the folder of the data, without the paths of this machine
    paths = {str(options.work): "work", str(options.data): options.data.name, str(options.init): options.init.name}
    commands = step.commands
    for path, name in paths.items():
        commands = [command.replace(path, name) for command in commands]

    document = figures | {
        "flops": flops_of_pooling(),
        "commands": commands,
        "hardware": f"{platform.machine()}, {os.cpu_count()} processors",
        "versions": versions(),
        "commit": commit(),
        "seed": options.seed,
        "date": now(),
    }
    options.results.mkdir(parents=True, exist_ok=True)
    write_json(options.results / f"paper-{options.layer}.json", document)
    target = options.results / "paper.md"
    text = target.read_text(encoding="utf-8") if target.exists() else ""
    before, _, rest = text.partition(start(options.layer))
    target.write_text(before + markdown(document) + rest.partition(END)[2], encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    run_program(main)
