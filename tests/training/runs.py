"""Options of a small training, and what the tests read from its folder."""

import csv
from pathlib import Path

import torch
from conftest import SMALL

from lmpnet_cli.io.checkpoints import load_checkpoint

TINY = SMALL | {"batch_size": 4, "val_fraction": 0.0}  # three batches per epoch of `few_birds`


def history(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path).state_dict()


def same(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
