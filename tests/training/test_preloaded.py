"""Images that are kept on the device are augmented as Pillow and torchvision do it, from the same draws."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from lmpnet_cli.data.datasets import Sample
from lmpnet_cli.training.dataset import EpochSampler, TrainingSet
from lmpnet_cli.training.preloaded import PreloadedBatches, StoredImages, recoloured

SHAPES = [(180, 240), (300, 200), (256, 256), (90, 400)]


def smooth(shape, seed) -> np.ndarray:
    """An image without fine detail, so that interpolations agree."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize(shape[::-1], Image.Resampling.BICUBIC))


@pytest.fixture
def samples(tmp_path):
    made = []
    for number, shape in enumerate(SHAPES):
        path = tmp_path / f"{number}.png"
        Image.fromarray(smooth(shape, number)).save(path)
        made.append(Sample(path, "ab"[number % 2], "train", path.name))
    return made


def batches_of(training, batch_size=2):
    stored = StoredImages.load(training, torch.device("cpu"), 0)
    return PreloadedBatches(stored, training, EpochSampler(len(training), batch_size, seed=0))


def both(samples, background, smallest=None, epochs=12):
    """Every sample of some epochs, drawn one by one and together."""
    training = TrainingSet(samples, "ab", 96, seed=1, background=background, max_pixels=10**7, smallest=smallest)
    keys = [(epoch, index) for epoch in range(epochs) for index in range(len(samples))]
    one_by_one = [training[key] for key in keys]
    together, labels = batches_of(training).batch(keys)
    assert labels.tolist() == [label for _, label in one_by_one]
    return torch.stack([image for image, _ in one_by_one]), together, labels


@pytest.mark.parametrize(("background", "smallest"), [(0.0, None), (0.25, None), (0.25, 0.2)])
def test_they_are_drawn_as_one_by_one(samples, background, smallest):
    expected, found, labels = both(samples, background, smallest)
    assert found.dtype == torch.uint8 and found.shape == expected.shape
    difference = (found.float() - expected.float()).abs()
    assert difference.mean() < 1.5 and difference.mean((1, 2, 3)).max() < 4
    assert ((labels == 2).any() == (background > 0)).item()


def test_colours_change_as_torchvision_changes_them():
    images = torch.from_numpy(np.stack([smooth((40, 50), seed).transpose(2, 0, 1) for seed in range(8)]))
    jitter = v2.ColorJitter(0.3, 0.3, 0.3)
    expected, parameters = [], []
    for seed, image in enumerate(images):
        torch.manual_seed(seed)
        expected.append(jitter(image))
        torch.manual_seed(seed)
        parameters.append(jitter.make_params([]))
    found = recoloured(images.float(), parameters, torch.device("cpu"))
    assert (found - torch.stack(expected).float()).abs().max() <= 1


def test_batches_follow_the_order_of_the_sampler(samples):
    training = TrainingSet(samples, "ab", 32, seed=0, background=0.0, max_pixels=10**7)
    batches = batches_of(training)
    batches.sampler.epoch = 3
    first, second = batches
    assert len(batches) == 2
    for (images, labels), keys in zip((first, second), batches.sampler, strict=True):
        again, same = batches.batch(keys)
        assert torch.equal(images, again) and torch.equal(labels, same)
        assert labels.tolist() == [index % 2 for _, index in keys]


def test_small_copies_are_made_from_smaller_images(samples):
    """A chessboard of single pixels is grey from afar, not a pattern."""
    board = (np.indices((192, 192)).sum(0) % 2 * 255).astype(np.uint8)
    for sample in samples:
        Image.fromarray(np.stack([board] * 3, 2)).save(sample.path)
    training = TrainingSet(samples, "ab", 84, seed=0, background=0.0, max_pixels=10**7)
    small = StoredImages.load(training, torch.device("cpu"), 0).levels[2].float()
    assert small.shape[-1] == 24 and (small - 127.5).abs().max() < 4


def test_what_they_need_is_known_before(samples):
    training = TrainingSet(samples, "ab", 112, seed=0, background=0.0, max_pixels=10**7)
    stored = StoredImages.load(training, torch.device("cpu"), 0)
    taken = sum(level.numel() for level in stored.levels)
    assert taken == pytest.approx(StoredImages.bytes_for(4, 112), rel=0.01)
