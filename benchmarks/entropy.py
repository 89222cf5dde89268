"""Show where the entropy of the maps comes from, for checkpoints and for the weights that they started from.

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
from pathlib import Path

import torch
from torch import Tensor

from lmpnet_cli.config import EvaluateConfig
from lmpnet_cli.data.annotations import read_annotations
from lmpnet_cli.data.listing import ListedImage
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.model.backbone import load_initial_weights
from lmpnet_cli.model.entropy import feature_map_entropy
from lmpnet_cli.progress import Progress


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
    sums = []
    for values in (entropy, share, (~entropy.isnan()).float()):
        ranked = values.nan_to_num(0.0).gather(1, order).chunk(4, 1)
        sums.append(torch.stack([values.nan_to_num(0.0).sum(), *(each.sum() for each in ranked)]).double())
    return sums[0], sums[1], sums[2]


def main() -> None:
    """Print one line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--init", type=Path, required=True)
    options = parser.parse_args()
    files = [ListedImage(image.path, image.name) for image in read_annotations(options.data).images]
    heads = ["network", "all filters", "strongest quarter", "second", "third", "weakest", "by softmax", "zeros"]
    heads += ["in the middle", "peak's share"]
    print(f"| {' | '.join(heads)} |\n{'| --- ' * len(heads)}|")
    for path in [None, *options.checkpoints]:
        runner = open_runner(EvaluateConfig(checkpoint=path or options.checkpoints[0], device="cpu"), replica=False)
        if path is None:
            load_initial_weights(runner.model.network.backbone, options.init)
        total = [torch.zeros(5, dtype=torch.float64) for _ in range(3)]
        others, count = torch.zeros(3, dtype=torch.float64), 0
        for _, output in runner.batches(files, Progress()):
            others += torch.stack(other_measures(output.maps.float())).double() * len(output.maps)
            count += len(output.maps)
            for whole, part in zip(total, quarters(output.maps.float()), strict=True):
                whole += part
        entropy, share = total[0] / total[2], total[1] / total[2]
        name = "initial weights" if path is None else path.parent.name
        softmax, zeros, middle = (others / count).tolist()
        cells = [f"{each:.3f}" for each in [*entropy.tolist(), softmax]]
        print(
            f"| {name} | {' | '.join(cells)} | {100 * zeros:.0f} % | {100 * middle:.0f} % | {share[1]:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
