"""Options that commands share. Defaults come from the dataclasses of `config/`."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from lmpnet_cli.config import CONVERT_FORMATS

INPUT, METHOD, SALIENCY, OUTPUT, RUN = "Input", "Method", "Method saliency", "Output", "Run"
RAY = "Backend ray"


class Precision(str, Enum):
    """Number format of the convolutions."""

    auto = "auto"
    float32 = "32"
    bf16 = "bf16"


class Method(str, Enum):
    """How keypoints are found."""

    lmpnet = "lmpnet"
    parts = "parts"
    saliency = "saliency"


class Split(str, Enum):
    """Part of the official split."""

    test = "test"
    train = "train"
    all = "all"


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.", rich_help_panel=OUTPUT)]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace results that are there; a report and exports of the earlier run go.",
        rich_help_panel=OUTPUT,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=RUN)]
Precise = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Of the convolutions; auto is 32, in training and for occluded copies bf16 where that is faster.",
        rich_help_panel=RUN,
    ),
]
BatchSize = Annotated[int, typer.Option(help="Images, or occluded copies, in one forward pass.", rich_help_panel=RUN)]
Workers = Annotated[int | None, typer.Option(help="Decoding processes (default: by processors).", rich_help_panel=RUN)]
Seed = Annotated[int, typer.Option(help="Of everything that is left to chance.", rich_help_panel=RUN)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, no summary; errors always show.", rich_help_panel=OUTPUT)
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout and nothing else.", rich_help_panel=OUTPUT)
]

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint", "-c", help="Weights of `lmpnet train` (default: the bundled model).", rich_help_panel=METHOD
    ),
]
K = Annotated[
    int | None,
    typer.Option(
        "--k", help="Keypoints to look for on each image (default: 5, or the vocabulary's).", rich_help_panel=METHOD
    ),
]
Replica = Annotated[
    bool,
    typer.Option(
        "--replica/--no-replica",
        help="Leave the replica out: half the time (not in the paper).",
        rich_help_panel=METHOD,
    ),
]
Filters = Annotated[
    int, typer.Option(help="Strongest filters kept of each network, on each image.", rich_help_panel=METHOD)
]
Margin = Annotated[
    int,
    typer.Option(
        help="Outermost map cells without a vote, where padding answers (not in the paper).", rich_help_panel=METHOD
    ),
]
Iterations = Annotated[
    int, typer.Option(help="Inner iterations of Algorithm 1; positions do not depend on them.", rich_help_panel=METHOD)
]
MethodOption = Annotated[Method, typer.Option("--method", help="How keypoints are found.", rich_help_panel=METHOD)]
Classifier = Annotated[
    str | None,
    typer.Option(
        help="timm name of the classifier to look into (default: the network of the checkpoint).",
        rich_help_panel=SALIENCY,
    ),
]
ClassifierWeights = Annotated[
    Path | None,
    typer.Option(help="Its weights, a safetensors file (default: timm's own).", rich_help_panel=SALIENCY),
]
TargetClass = Annotated[
    str | None,
    typer.Option(help="Name of the class to explain (default: the predicted one).", rich_help_panel=SALIENCY),
]
Draws = Annotated[
    int, typer.Option(help="Random colours for every patch, averaged; time grows with them.", rich_help_panel=SALIENCY)
]
Patch = Annotated[int, typer.Option(help="Side of the occluder, in input pixels.", rich_help_panel=SALIENCY)]
CoarseStride = Annotated[
    int, typer.Option(help="Of the occluder, in input pixels; larger takes less time.", rich_help_panel=SALIENCY)
]
CoarseWeight = Annotated[
    float, typer.Option(help="Of the occlusion map; the guided gradients get the rest.", rich_help_panel=SALIENCY)
]
NmsRadius = Annotated[
    float,
    typer.Option(
        help="Points nearer than this to a stronger one are dropped, in input pixels.", rich_help_panel=SALIENCY
    ),
]
Keep = Annotated[float, typer.Option(help="Share of the points kept, by confidence.", rich_help_panel=SALIENCY)]
Panels = Annotated[
    bool,
    typer.Option("--panels", help="Draw relevance maps and points side by side, as panels/.", rich_help_panel=SALIENCY),
]
Report = Annotated[bool, typer.Option("--report", help="Make report.html of the results, too.", rich_help_panel=OUTPUT)]
Pictures = Annotated[
    list[Path] | None,
    typer.Option(help="Where the pictures are (default: where run.json says).", rich_help_panel=INPUT),
]
SplitOption = Annotated[Split, typer.Option("--split", help="Part of an official split.", rich_help_panel=INPUT)]
Alpha = Annotated[float, typer.Option(help="Tolerance as a share of the shorter image side.", rich_help_panel=METHOD)]
Size = Annotated[
    int | None, typer.Option(help="Side of the network input in pixels (default: as trained).", rich_help_panel=METHOD)
]
MaxPixels = Annotated[int, typer.Option(help="Larger pictures are skipped and named.", rich_help_panel=INPUT)]
FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        help="Read what links lead to outside the folder, too; else it is skipped and named.",
        rich_help_panel=INPUT,
    ),
]


def formats(incomplete: str) -> list[str]:
    """Formats of `convert` that begin like this, for the shell's completion."""
    return [name for name in CONVERT_FORMATS if name.startswith(incomplete)]


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """Enumeration members as their values."""
    return {key: value.value if isinstance(value, Enum) else value for key, value in options.items()}


def skipped_line(count: int) -> str:
    """For the summary."""
    return f"{count} (listed in the results)" if count else "0"


def written(out: Path, *names: str) -> str:
    """The results that are there, for the summary."""
    return ", ".join(str(out / name) for name in names if (out / name).exists())
