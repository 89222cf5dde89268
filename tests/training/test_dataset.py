"""Training samples and their order."""

import torch

from lmpnet_cli.data.datasets import read_classes
from lmpnet_cli.training.dataset import EpochSampler, TrainingSet


def test_an_epoch_contains_every_image_once_whatever_the_number_of_processes():
    one = EpochSampler(20, 8, seed=3)
    halves = [EpochSampler(20, 4, seed=3, rank=rank, world=2) for rank in (0, 1)]
    whole = [index for batch in one for _, index in batch]
    assert len(whole) == len(set(whole)) == 16
    for batch, first, second in zip(one, *halves, strict=True):
        assert sorted(batch) == sorted(first + second)
    one.epoch = 1
    assert [index for batch in one for _, index in batch] != whole


def test_background_images_have_the_label_none(few_birds):
    data = read_classes([few_birds])
    dataset = TrainingSet(data.samples, data.classes, 64, seed=0, background=0.3, max_pixels=10**6)
    labels = [dataset[epoch, index][1] for epoch in range(5) for index in range(12)]
    assert labels.count(len(data.classes)) in range(8, 30)
    assert dataset[0, 0][0].shape == (3, 64, 64)
    assert torch.equal(dataset[0, 5][0], dataset[0, 5][0])
    assert not torch.equal(dataset[0, 5][0], dataset[1, 5][0])
