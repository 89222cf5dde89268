import numpy as np
import pytest
import torch

from lmpnet_cli.data.backgrounds import corner_background, paste
from lmpnet_cli.training.augmentation import Augmentation

SHAPES = [(40, 60), (1, 1), (1, 300), (300, 1), (2, 500), (7, 5)]


def noise_image(height, width):
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rgb.setflags(write=False)  # as Pillow hands them out
    return rgb


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_step_takes_any_image(shape):
    rgb, augmentation = noise_image(*shape), Augmentation(32)
    cropped = augmentation.crop(rgb, 0)
    assert cropped.shape == (3, 32, 32) and cropped.dtype == torch.uint8
    ground = corner_background(rgb, 32, generator())
    pasted, _ = paste(rgb, ground, generator())
    for result in (ground, pasted):
        assert result.shape == (32, 32, 3) and result.dtype == np.uint8
    whole = augmentation.whole(pasted, 0)
    assert whole.shape == (3, 32, 32) and whole.dtype == torch.uint8


@pytest.mark.parametrize("step", ["crop", "whole"])
def test_the_seed_alone_decides_and_the_global_state_is_left_alone(step):
    rgb, apply = noise_image(32, 32), getattr(Augmentation(32), step)
    torch.manual_seed(1)
    first = apply(rgb, 5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = apply(rgb, 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, apply(rgb, 6))


def test_a_whole_image_is_flipped_and_recoloured_but_not_moved():
    rgb = np.full((32, 32, 3), 20, np.uint8)
    rgb[:8, :8] = 200  # top left
    sides = set()
    for seed in range(12):
        grey = Augmentation(32).whole(rgb, seed).float().mean(0)
        quarters = {"left": grey[:8, :8].mean().item(), "right": grey[:8, 24:].mean().item()}
        sides.add(max(quarters, key=quarters.get))
        assert max(quarters.values()) > 100 > 60 > grey[8:].max().item()
    assert sides == {"left", "right"}


def test_without_jitter_the_colours_stay():
    rgb = np.full((50, 80, 3), (10, 120, 230), np.uint8)
    cropped = Augmentation(24, jitter=0.0).crop(rgb, 0)
    assert (cropped == torch.tensor([10, 120, 230])[:, None, None]).all()
    jittered = [Augmentation(24).crop(rgb, seed).float().mean() for seed in range(5)]
    assert len(set(jittered)) == 5


def test_a_crop_shows_a_part_of_the_area():
    """A ramp from 0 to 255 across: the crop's own range tells which share of the width it shows."""
    rgb = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], 256, 0).repeat(3, 2)
    spans = []
    for seed in range(30):
        crop = Augmentation(64, smallest_crop=0.5, jitter=0.0).crop(rgb, seed)
        spans.append((crop.amax() - crop.amin()).item() / 255)
    assert min(spans) < 0.85 and max(spans) > 0.9
    assert min(spans) > 0.5  # half the area at an aspect of 3:4 is 61 % of the width


def test_a_background_comes_from_a_corner():
    rgb = np.zeros((100, 100, 3), np.uint8)
    rgb[31:69, 31:69] = 255  # the object; corners reach to 30 %
    corners = [(slice(0, 31), slice(0, 31)), (slice(0, 31), slice(69, 100))]
    corners += [(rows, columns) for rows in [slice(69, 100)] for _, columns in corners]
    for number, corner in enumerate(corners):
        rgb[corner] = 40 * (number + 1)
    seen = {tuple(np.unique(corner_background(rgb, 48, generator(seed)))) for seed in range(40)}
    assert seen == {(40,), (80,), (120,), (160,)}


@pytest.mark.parametrize("shape", [(60, 60), (20, 90), (90, 20)])
def test_paste_keeps_the_image_inside_and_the_background_outside(shape):
    red, blue = np.full((*shape, 3), (255, 0, 0), np.uint8), np.full((128, 128, 3), (0, 0, 255), np.uint8)
    for seed in range(10):
        result, (left, top, width, height) = paste(red, blue, generator(seed), area=(0.2, 0.4))
        assert result.shape == blue.shape
        share_of_red = result[..., 0] / 255
        np.testing.assert_allclose(result[..., 2] / 255, 1 - share_of_red, atol=0.01)  # nothing but the two
        assert ((share_of_red > 0.1) & (share_of_red < 0.9)).any()  # soft edges
        rows, columns = np.nonzero(share_of_red.max(1))[0], np.nonzero(share_of_red.max(0))[0]
        assert (rows.min(), np.ptp(rows) + 1) == (top, height) and (columns.min(), np.ptp(columns) + 1) == (left, width)
        assert share_of_red[int(rows.mean()), int(columns.mean())] == 1
        assert 0.1 < height * width / 128**2 < 0.42  # the background's border may cut the longer side
        outside = np.ones((128, 128), bool)
        outside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = False
        assert (result[outside] == (0, 0, 255)).all()
    assert (blue == (0, 0, 255)).all()


def test_paste_shows_the_whole_image_upright():
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:32, :32], rgb[:32, 32:], rgb[32:, :32], rgb[32:, 32:] = 60, 120, 180, 240
    result = paste(rgb, np.zeros((96, 96, 3), np.uint8), generator(1), area=(0.5, 0.5))[0][..., 0]
    rows, columns = np.nonzero(result.max(1))[0], np.nonzero(result.max(0))[0]
    inner = result[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    h, w = inner.shape
    assert [inner[h // 3, w // 3], inner[h // 3, 2 * w // 3]] == [60, 120]
    assert [inner[2 * h // 3, w // 3], inner[2 * h // 3, 2 * w // 3]] == [180, 240]


def test_paste_is_seeded():
    rgb, ground = noise_image(30, 40), np.zeros((64, 64, 3), np.uint8)
    assert (paste(rgb, ground, generator(3))[0] == paste(rgb, ground, generator(3))[0]).all()
    assert (paste(rgb, ground, generator(3))[0] != paste(rgb, ground, generator(4))[0]).any()
