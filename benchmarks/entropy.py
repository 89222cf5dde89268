"""Show which maps the entropy comes from, for checkpoints and for the weights that they started from.

    python benchmarks/entropy.py DATA CHECKPOINT... --init WEIGHTS

Figure 6 of the paper has one number for each pooling, the mean over all filters. This program also prints the mean for
quarters of the filters, ranked on each image by strength, to show whether training made peaks higher or only silenced
maps. Further columns:

- the entropy after a softmax over the cells, another normalisation, which depends on the scale of the maps;
- the share of cells that are exactly zero;
- the share of maps whose strongest cell lies in the middle ninth of the image;
- the share of a map's sum that lies in its strongest cell, for the strongest quarter.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from program import run_program
from torch import Tensor

from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.inference.runner import ModelRunner, open_runner
from lmpnet_cli.model.entropy import feature_map_entropy
from lmpnet_cli.progress import Progress
from lmpnet_cli.training.initial_weights import load_initial_weights


def other_measures(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return means over the maps of a batch: entropy after softmax, cells at zero, maxima in the middle ninth."""
    entropy = torch.special.entr(maps.flatten(2).softmax(2)).sum(2)  # (B, C)

    height, width = maps.shape[2:]
    best = maps.flatten(2).argmax(2)
    row, column = (best // width + 0.5) / height, (best % width + 0.5) / width
    middle = ((row - 0.5).abs() < 1 / 6) & ((column - 0.5).abs() < 1 / 6)
    return entropy.mean(), (maps <= 0).float().mean(), middle.float().mean()


def quarters(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums over all filters and over quarters by strength: entropy, share of the peak, number of maps; (5,)."""
    entropy = feature_map_entropy(maps)  # (B, C)
    strength = maps.amax((2, 3))
    share = strength / maps.sum((2, 3))
    order = strength.argsort(1, descending=True)

    def sums(values: Tensor) -> Tensor:
        values = values.nan_to_num(0.0)
        ranked = values.gather(1, order).chunk(4, 1)
        return torch.stack([values.sum(), *(quarter.sum() for quarter in ranked)]).double()

    return sums(entropy), sums(share), sums((~entropy.isnan()).float())


def row(name: str, runner: ModelRunner, files: Sequence[ListedImage]) -> str:
    """Return the line of one network."""
    entropy, share, count = (torch.zeros(5, dtype=torch.float64) for _ in range(3))
    others, images = torch.zeros(3, dtype=torch.float64), 0

    for _, output in runner.batches(files, Progress()):
        maps = output.maps.float()
        others += torch.stack(other_measures(maps)).double() * len(maps)
        images += len(maps)

        batch_entropy, batch_share, batch_count = quarters(maps)
        entropy += batch_entropy
        share += batch_share
        count += batch_count

    softmax, zeros, middle = (others / images).tolist()
    cells = [f"{value:.3f}" for value in [*(entropy / count).tolist(), softmax]]
    peak_share = (share / count)[1]
    return f"| {name} | {' | '.join(cells)} | {100 * zeros:.0f} % | {100 * middle:.0f} % | {peak_share:.3f} |"


def main() -> None:
    """Print one line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--init", type=Path, required=True)
    given = parser.parse_args()

    files = [image.listed for image in read_annotations(given.data).images]
    heads = ["network", "all filters", "strongest quarter", "second", "third", "weakest", "by softmax", "zeros"]
    heads += ["in the middle", "peak's share"]
    print(f"| {' | '.join(heads)} |\n{'| --- ' * len(heads)}|")

    runner = open_runner(EvaluateConfig(checkpoint=given.checkpoints[0], device="cpu"), replica=False)
    load_initial_weights(runner.model.network.backbone, given.init)
    print(row("initial weights", runner, files), flush=True)

    for path in given.checkpoints:
        runner = open_runner(EvaluateConfig(checkpoint=path, device="cpu"), replica=False)
        print(row(path.parent.name, runner, files), flush=True)


if __name__ == "__main__":
    run_program(main)
