"""Gathering features and choosing examples."""

from pathlib import Path

import numpy as np
import torch

from lmpnet_cli.config import PartsConfig
from lmpnet_cli.data.listing import ListedImage, list_images
from lmpnet_cli.inference.runner import open_runner
from lmpnet_cli.io.checkpoints import load_checkpoint
from lmpnet_cli.parts.fit import best_examples, gather_features
from lmpnet_cli.progress import Progress

OPTIONS = {"workers": 0, "device": "cpu", "precision": "32"}


def test_each_row_shows_the_best_of_every_group():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.3], [0.7, 0.4]], np.float32)
    places = np.zeros((4, 2, 2))
    places[2, 0] = 0.46431, 0.5
    files = [ListedImage(Path(f"{i}.png"), f"{i}.png") for i in range(4)]
    rows = best_examples(scores, places, files, 2)
    assert [[example.image.name for example in row] for row in rows] == [["2.png", "1.png"], ["0.png", "3.png"]]
    assert (rows[0][0].x, rows[0][0].y) == (0.5, 0.4643)


def test_features_do_not_depend_on_the_batch_size(birds, checkpoint):
    model = load_checkpoint(checkpoint)
    images = list_images([birds / "images"])[:12]
    banks = []
    for size in (3, 12):
        runner = open_runner(PartsConfig(data=birds, k=2, batch_size=size, workers=0), model, replica=False)
        banks.append(gather_features(runner, images, 5, Progress()).features)
    torch.testing.assert_close(banks[0].theta, banks[1].theta, rtol=0, atol=0)
    for name in ("original", "flipped", "warped"):
        # the activation only: rounding may swap components of equal variance
        one, other = (getattr(each, name)[..., -1].float() for each in banks)
        torch.testing.assert_close(one, other, rtol=0, atol=0.02)
