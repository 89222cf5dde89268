"""Write the document of `gpu.py` from what it measured."""

from collections.abc import Sequence
from typing import Any

from paper import MAIN, PAPER_ACCURACY

PAPER_PCK = (86.0, 86.5, 91.5)  # at thr 3, 2 and 1, leaky max with epsilon 0.1
GOALS = "at least 82, 87 and 93 on cub-full"
MARK = "**A rehearsal: a few tiny images on a CPU. Its figures mean nothing.**"


def markdown(document: dict[str, Any]) -> str:
    """Return the whole document."""
    steps = {name: each["result"] for name, each in document["steps"].items()}
    pace = steps["pace"]
    scores = {name.removeprefix("scores of "): each for name, each in steps.items() if name.startswith("scores of ")}
    lines = [
        "# Results of a GPU",
        "",
        *([MARK, ""] if document["rehearsal"] else []),
        f"`benchmarks/gpu.py` (`docs/gpu.md`): {pace['device']}, {document['date']}, commit {document['commit']}, "
        f"torch {document['versions']['torch']}, {document['setting']['size']} pixels, {pace['images']} training "
        "images, seed 0. Trained on crops of the objects, put on backgrounds at a fifth to nine tenths of the side, "
        "and on whole photos. Every tenth training image was held out, to choose by.",
        "",
        "## Accuracy and entropy (Table 1, figure 6)",
        "",
        *accuracy_table(steps, scores),
        "",
        "## Keypoints (Table 2)",
        "",
        f"Greedy PCK in percent, by one look at the whole image (`--objects none`). The goal is {GOALS}.",
        "",
        *pck_table(scores),
        "",
        "## What was best",
        "",
        *best_lines(steps),
        "",
        "## Speed",
        "",
        *speed_lines(steps),
        "",
        "## How long each step took, and what is missing",
        "",
        *[f"- {name}: {each['seconds']:.0f} s" for name, each in document["steps"].items()],
        *[f"- left out: {each}" for each in document["left out"]],
        *[f"- {name} failed: {text.strip().splitlines()[-1]}" for name, text in document["errors"].items()],
    ]
    return "\n".join(lines) + "\n"


def row(cells: Sequence[object]) -> str:
    """Return a line of a table."""
    return "| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"


def rule(columns: int) -> str:
    """Return the line below the head of a table."""
    return "| --- " * columns + "|"


def percent(share: float | None) -> str:
    """Return a share as percent; empty where it is None."""
    return "" if share is None else f"{100 * share:.1f}"


def tests(scores: dict[str, Any]) -> dict[str, Any]:
    """Return the scores on test images, by data set."""
    return {name.removesuffix(", test"): each for name, each in scores.items() if name.endswith(", test")}


def accuracy_table(steps: dict[str, Any], scores: dict[str, Any]) -> list[str]:
    """Return table 1 and figure 6 for every trained model."""
    data = sorted(tests(next(iter(scores.values())))) if scores else []
    head = ["pooling", "accuracy, paper", "epochs"]
    head += [f"{what}, {name}" for name in data for what in ("accuracy", "map entropy")]
    lines = [row(head), rule(len(head))]
    for name, each in scores.items():
        epochs = (steps.get(name) or {}).get("epochs")
        cells: list[object] = [name, PAPER_ACCURACY.get(name), epochs and f"{epochs[0]} + {epochs[1]}"]
        for of_data in (tests(each).get(key, {}) for key in data):
            entropy = of_data.get("entropy")
            cells += [percent(of_data.get("accuracy")), None if entropy is None else f"{entropy:.3f}"]
        lines.append(row(cells))
    return lines


def pck_table(scores: dict[str, Any]) -> list[str]:
    """Return table 2 for every model and data set, with the baselines."""
    head = ["data", "model", "thr", "greedy PCK", "95 %", "one-to-one", "coverage"]
    lines = [row(head), rule(len(head))]
    data = sorted({key for each in scores.values() for key in tests(each)})
    for key in data:
        for name, each in scores.items():
            for result in tests(each)[key]["results"]:
                lines.append(row([key, name, f"{result['thr']:g}", *figures(result)]))
        first = tests(next(iter(scores.values())))[key]
        for name, result in (first["baselines"] or {}).items():
            lines.append(row([key, name.replace("_", " "), "", *figures(result)]))
    for thr, pck in zip("321", PAPER_PCK, strict=True):
        lines.append(row(["paper, all of CUB", MAIN, thr, pck, "", "", ""]))
    return lines


def figures(result: dict[str, Any]) -> list[str]:
    """Return greedy PCK with its interval, one-to-one and coverage."""
    greedy = result["greedy_pck"]
    interval = "{:.1f} to {:.1f}".format(*greedy["ci95"]) if greedy.get("ci95") else ""
    others = ((result.get("greedy_pck_one_to_one") or {}).get("mean"), result.get("coverage"))
    return [f"{greedy['mean']:.1f}", interval, *("" if each is None else f"{each:.1f}" for each in others)]


def best_lines(steps: dict[str, Any]) -> list[str]:
    """Return what was chosen, and whether it beats the bundled model on the held-out training images."""
    best = steps.get("best")
    if best is None:
        return ["No model was trained to its end."]
    name, bundled = best["name"], best["bundled"]
    rows = [row([key, f"{value:.1f}"]) for key, value in best.items() if key != "name"]
    verdict = "beats" if best[name] > bundled else "does not beat"
    return [
        row(["model", "greedy PCK at thr 3, held-out training images"]),
        rule(2),
        *rows,
        "",
        f"Chosen: {name}. It {verdict} the bundled model, which was trained on these images.",
    ]


def speed_lines(steps: dict[str, Any]) -> list[str]:
    """Return a table of each measurement of speed."""
    lines: list[str] = []
    for name, result in steps.items():
        if not name.startswith("speed, "):
            continue
        lines += [f"**{name.removeprefix('speed-').capitalize()}**", ""]
        if "lines" in result:
            lines += [*result["lines"].splitlines(), ""]
        elif all(isinstance(value, dict) for value in result.values()):
            columns = list(dict.fromkeys(key for value in result.values() for key in value))
            lines += [row(["images/s", *columns]), rule(len(columns) + 1)]
            lines += [row([key, *(value.get(column) for column in columns)]) for key, value in result.items()] + [""]
        else:
            lines += [row(["", "images/s"]), rule(2)]
            lines += [row([key, value if isinstance(value, str) else f"{value:.1f}"]) for key, value in result.items()]
            lines.append("")
    return lines[:-1] or ["Nothing was measured."]
